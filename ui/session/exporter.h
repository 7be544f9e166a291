// SPDX-License-Identifier: GPL-3.0-or-later
// Export as the window offers it: which formats can hold the current choice and why others cannot, what each loader of the format
// asks for (pre-flight, on the newest-wins lane), and the export itself (on the queue). Nothing is written before start(). GUI thread.
#pragma once
#include "core/export/export.h"
#include "ui/session/exploration.h"
#include "ui/session/job_lane.h"
#include "ui/session/session_state.h"

namespace nibble {

class Session;

// One rule over all loaders of the format.
struct PreflightRow {
  struct Answer {
    bool asked = false, ok = false;
    std::string detail;
  };
  std::string rule, detail, source;
  std::vector<Answer> answers;  // by runtime
};

struct Preflight {
  std::vector<std::string> runtimes;   // columns; one empty name where no runtime loads the format
  std::vector<PreflightRow> rows;
  std::size_t checkedLayers = 0, layers = 0;  // fewer checked: a sample of a large model
  std::string problem;                 // why there is no table
};

struct ExportProgress {
  ExportStage stage = ExportStage::Preflight;
  std::size_t done = 0, total = 0;
};

class Exporter : public QObject {
  Q_OBJECT
 public:
  explicit Exporter(Session& session);
  // Of the newest exploration; every format without a refusal while there is none.
  [[nodiscard]] std::vector<FormatOffer> offers() const;
  [[nodiscard]] const Format* format() const;          // the chosen one, or the first that fits
  [[nodiscard]] std::string runtime() const;           // the chosen one, or the format's first
  [[nodiscard]] std::filesystem::path out() const;     // the chosen one, or a name beside the source
  [[nodiscard]] std::vector<std::string> tensors() const;  // what would be exported
  [[nodiscard]] bool keepsCodes() const;               // packed layers shown as stored are converted, nothing is quantized anew

  [[nodiscard]] const Preflight* preflight() const { return m_preflight.get(); }  // null: being made
  [[nodiscard]] const ExportResult* result() const { return m_result.get(); }     // of the last export; null: none
  [[nodiscard]] const std::string& failure() const { return m_failure; }
  [[nodiscard]] const ExportProgress& progress() const { return m_progress; }
  [[nodiscard]] bool busy() const { return m_lane.busy(); }
  [[nodiscard]] JobLane& lane() { return m_lane; }
  [[nodiscard]] JobLane& preflightLane() { return m_preflightLane; }
  void start();

 signals:
  void changed();

 private:
  void follow(const SessionState& before);
  void startPreflight();
  void clearResult();
  [[nodiscard]] bool explored() const;  // the newest exploration is of the current tensor and choice

  Session& m_session;
  JobLane m_preflightLane{JobLane::Policy::Newest};
  JobLane m_lane{JobLane::Policy::Queue};
  std::shared_ptr<const Preflight> m_preflight;
  std::shared_ptr<const ExportResult> m_result;
  std::string m_failure;
  ExportProgress m_progress;
};

}  // namespace nibble
