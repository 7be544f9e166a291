// SPDX-License-Identifier: GPL-3.0-or-later
#include "ui/forms/number_field.h"

#include <cmath>

namespace nibble {
namespace {

constexpr int allDecimals = 60;  // values are rounded to these: no digit of a number of 1e-40 is lost
constexpr double smallest = 1e-6;

}  // namespace

NumberField::NumberField(QWidget* parent) : QDoubleSpinBox(parent) { setDecimals(allDecimals); }

QString NumberField::textFromValue(double value) const { return locale().toString(value, 'g', QLocale::FloatingPointShortest); }

double NumberField::valueFromText(const QString& text) const { return locale().toDouble(text); }

QValidator::State NumberField::validate(QString& text, int&) const {
  bool good = false;
  const double value = locale().toDouble(text, &good);
  if (good) return value >= minimum() && value <= maximum() ? QValidator::Acceptable : QValidator::Intermediate;
  const QString begun = text.trimmed();  // of a number: "", "-", "1e", "1e-"
  (void)locale().toDouble(begun + QStringLiteral("1"), &good);
  return begun.isEmpty() || good ? QValidator::Intermediate : QValidator::Invalid;
}

void NumberField::stepBy(int steps) {
  const double now = value(), size = now == 0 ? smallest : std::abs(now);
  setValue(now + steps * std::pow(10.0, std::floor(std::log10(size * 1.0000001)) - 1));
}

}  // namespace nibble
