// SPDX-License-Identifier: GPL-3.0-or-later
// A spin box for numbers of any size: as many digits as the number has, powers of ten where it is very small or large ("1.25e-05"),
// steps of a tenth of the value. A text that is typed keeps all its digits.
#pragma once
#include <QDoubleSpinBox>

namespace nibble {

class NumberField : public QDoubleSpinBox {
  Q_OBJECT
 public:
  explicit NumberField(QWidget* parent = nullptr);
  [[nodiscard]] QString textFromValue(double value) const override;
  [[nodiscard]] double valueFromText(const QString& text) const override;
  QValidator::State validate(QString& text, int& position) const override;
  void stepBy(int steps) override;
};

}  // namespace nibble
