// SPDX-License-Identifier: GPL-3.0-or-later
// The figures of every candidate on the session's current tensor. What is known is kept; what is missing is computed one candidate
// after the other in a queue and arrives one by one. Work begins when the Compare page is open or a candidate is added, and stops
// when the tensor changes. GUI thread.
#pragma once
#include "core/quant/layout.h"
#include "core/report/bound.h"
#include "core/report/error_report.h"
#include "ui/session/job_lane.h"
#include "ui/session/session_state.h"

#include <map>
#include <set>

namespace nibble {

class Session;

struct CandidateResult {
  ErrorReport report;
  StorageSize size;
  double bitsPerWeight = 0, seconds = 0;
  std::uint64_t weights = 0;
  std::string problem;  // not empty: impossible here, and why
};

class Comparer : public QObject {
  Q_OBJECT
 public:
  explicit Comparer(Session& session);
  // Null: not known yet.
  [[nodiscard]] const CandidateResult* result(const Choice& choice) const;
  // Of the current tensor, made with the first figures; null: not known yet.
  [[nodiscard]] const MemorylessBound* bound() const { return m_bound.get(); }
  // llama.cpp's named mixes that make this of the current tensor; empty as a rule, and while nothing is computed.
  [[nodiscard]] std::vector<std::string> mixes(const Choice& choice) const;
  [[nodiscard]] JobLane& lane() { return m_lane; }

  void add(const std::vector<Choice>& choices, const QString& what);  // candidates that are not there yet, as one undo step
  void remove(std::size_t index);
  // Candidates whose true size on this tensor is nearest to `bitsPerWeight`, one for each scheme that can.
  void addNear(double bitsPerWeight);

 signals:
  void changed();
  void finished(int candidates, double seconds);

 private:
  void follow(const SessionState& before);
  void startMissing();

  Session& m_session;
  JobLane m_lane{JobLane::Policy::Queue};
  std::map<std::string, std::shared_ptr<const CandidateResult>> m_results;  // by canonical text, of m_tensor
  std::shared_ptr<const MemorylessBound> m_bound;
  std::map<std::string, std::vector<std::string>> m_mixes;  // by canonical text, of m_tensor
  std::set<std::string> m_running;
  std::string m_tensor, m_reading;
  std::shared_ptr<const OpenedFile> m_file;
};

}  // namespace nibble
