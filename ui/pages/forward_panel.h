// SPDX-License-Identifier: GPL-3.0-or-later
// One output of the chosen run's layer as its formula with the current numbers in it: y = g m (w x + s b (A x)) / |w + s b A| + bias.
// The output row is the session's selected row, the input one of the rows of data.
#pragma once
#include "ui/forms/panel.h"

#include <memory>
#include <optional>

class QHBoxLayout;
class QLabel;
class QSpinBox;

namespace nibble {

class Session;
struct TrainSnapshot;

// The numbers of the formula. Without a magnitude m and the norm do not count.
struct ForwardTerms {
  double y = 0, gain = 1, magnitude = 0, base = 0, adapter = 0, norm = 0, bias = 0, target = 0;
  bool hasMagnitude = false, hasBias = false, hasTarget = false;
};
// Nothing: the snapshot has no such input or output, or is not of a low-rank adapter.
std::optional<ForwardTerms> forwardTerms(const TrainSnapshot& snapshot, std::uint64_t input, std::uint64_t output);

class ForwardPanel : public Panel {
  Q_OBJECT
 public:
  explicit ForwardPanel(Session& session, QWidget* parent = nullptr);
  void showSnapshot(const std::shared_ptr<const TrainSnapshot>& snapshot);

 private:
  struct Term {
    QWidget* part;
    QLabel *value, *caption;
  };
  Term addTerm(QHBoxLayout* line, const char* objectName, const QString& sign);
  void set(const Term& term, double value, const QString& caption, bool shown = true);
  void showNow();

  Session& m_session;
  std::shared_ptr<const TrainSnapshot> m_snapshot;
  QSpinBox *m_input, *m_output;
  Term m_y, m_gain, m_magnitude, m_base, m_adapter, m_norm, m_bias, m_target, m_difference;
};

}  // namespace nibble
