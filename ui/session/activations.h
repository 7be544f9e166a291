// SPDX-License-Identifier: GPL-3.0-or-later
// What the current layer does with quantized inputs: the largest |input| and |weight| per channel, both after smoothing with any
// alpha, and the error of the outputs for several weight and activation choices side by side, plain and smoothed
// (core/layers/linear_study.h). Inputs come from a file, or are drawn with some outlier channels. Work begins while Compare shows
// activations: plain figures once, smoothed ones again for each alpha, the newest wins. GUI thread.
#pragma once
#include "core/layers/linear_study.h"
#include "ui/session/job_lane.h"
#include "ui/session/session_state.h"

#include <optional>

namespace nibble {

class Session;

// Where weights and inputs come from: view options "act.inputs" (empty: drawn), "act.rows", "act.outliers".
struct ActivationSource {
  std::shared_ptr<const OpenedFile> file;
  std::string tensor, reading, inputs;
  std::optional<Choice> choice;  // of the weights; none: as stored
  std::uint64_t rows = 128, outliers = 4;
  bool operator==(const ActivationSource&) const = default;
  static ActivationSource of(const SessionState& state);
};

struct ActivationFacts {
  Tensor inputs, weights;
  std::vector<float> bias;
  std::optional<QuantizedTensor> packed;
  std::vector<float> inputMax, weightMax;  // per channel
};

struct LinearFigures {
  double sqnrDb = 0, mse = 0, maxError = 0, cosine = 0;
  bool integer = false;
  std::string reason;   // why no integers
  std::string problem;  // not empty: there are no figures, and why
};

struct LinearRow {
  std::optional<Choice> weights, activations;  // none: as the file has them; float
  std::optional<LinearFigures> plain, smoothed;
};

class Activations : public QObject {
  Q_OBJECT
 public:
  explicit Activations(Session& session);
  [[nodiscard]] std::shared_ptr<const ActivationFacts> facts() const { return m_facts; }  // null: not known yet
  [[nodiscard]] const std::vector<LinearRow>& rows() const { return m_rows; }
  [[nodiscard]] const std::string& problem() const { return m_problem; }
  [[nodiscard]] bool busy() const { return m_plain.busy() || m_smooth.busy(); }
  [[nodiscard]] JobLane& plainLane() { return m_plain; }
  [[nodiscard]] JobLane& smoothLane() { return m_smooth; }
  // s_j of the current alpha; empty before the facts are known.
  [[nodiscard]] std::vector<float> scales() const;
  static double alpha(const SessionState& state);

 signals:
  void changed();

 private:
  void follow();
  void start(const ActivationSource& source);
  void startSmoothed();
  void takeRow(std::size_t row, LinearFigures figures, bool smoothed);

  Session& m_session;
  JobLane m_plain{JobLane::Policy::Newest}, m_smooth{JobLane::Policy::Newest};
  std::optional<ActivationSource> m_source;
  double m_alpha = -1;  // of the smoothed figures
  std::shared_ptr<const ActivationFacts> m_facts;
  std::vector<LinearRow> m_rows;
  std::string m_problem;
};

// A channel whose largest |value| is above six times the median of all channels.
std::vector<std::size_t> outlierChannels(const std::vector<float>& maxima);

}  // namespace nibble
