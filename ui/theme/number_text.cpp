// SPDX-License-Identifier: GPL-3.0-or-later
#include "ui/theme/number_text.h"

#include <QCoreApplication>
#include <QLocale>
#include <algorithm>
#include <cmath>
#include <vector>

namespace nibble {
namespace {

constexpr QChar minusSign(0x2212), enDash(0x2013), timesSign(0x00D7), middleDot(0x00B7), infinitySign(0x221E);

// The exponent of the leading digit once `digits` digits are kept: 9.996 with three digits is 10.0, exponent 1.
int leadingExponent(double value, int digits) {
  if (value == 0) return 0;
  int exponent = static_cast<int>(std::floor(std::log10(std::abs(value))));
  const double kept = std::nearbyint(std::abs(value) / std::pow(10.0, exponent - digits + 1));
  if (kept >= std::pow(10.0, digits)) ++exponent;
  return exponent;
}

}  // namespace

QString unknownText() {
  return QString(enDash);
}

QString formatFixed(double value, int decimals) {
  if (std::isnan(value)) return unknownText();
  if (std::isinf(value)) return (value < 0 ? QString(minusSign) : QString()) + infinitySign;
  const QString digits = QLocale().toString(std::abs(value), 'f', decimals);
  const bool isZero = std::none_of(digits.begin(), digits.end(), [](QChar c) { return c.isDigit() && c.digitValue() != 0; });
  return value < 0 && !isZero ? minusSign + digits : digits;
}

QString formatSigned(double value, int decimals) {
  const QString text = formatFixed(value, decimals);
  return value >= 0 || (!text.startsWith(minusSign) && !std::isnan(value)) ? QLatin1Char('+') + text : text;
}

QString formatSignificant(double value, int digits) {
  if (!std::isfinite(value) || value == 0) return formatFixed(value, 0);
  return formatFixed(value, std::clamp(digits - 1 - leadingExponent(value, digits), 0, 12));
}

QString formatCount(std::uint64_t count) {
  return QLocale().toString(static_cast<qulonglong>(count));
}

QString formatRange(std::uint64_t first, std::uint64_t last) {
  return formatCount(first) + enDash + formatCount(last);
}

QString formatShape(std::span<const std::uint64_t> shape) {
  if (shape.empty()) return QCoreApplication::translate("nibble", "scalar");
  QStringList parts;
  for (const std::uint64_t extent : shape) parts << QString::number(extent);
  return parts.join(QStringLiteral(" %1 ").arg(timesSign));
}

QString formatBpw(double bitsPerWeight) {
  return formatFixed(bitsPerWeight, 2);
}
QString formatSqnr(double decibel, int decimals) {
  return formatFixed(decibel, decimals);
}
QString formatSqnrWithUnit(double decibel, int decimals) {
  return formatSqnr(decibel, decimals) + QStringLiteral(" dB");
}

QString formatPower(int exponent) {
  static const QString digits = QStringLiteral("⁰¹²³⁴⁵⁶⁷⁸⁹");
  QString text = exponent < 0 ? QStringLiteral("10⁻") : QStringLiteral("10");
  for (const QChar digit : QString::number(std::abs(exponent))) text += digits[digit.digitValue()];
  return text;
}

QString formatMse(double mse, int digits) {
  if (!std::isfinite(mse) || mse == 0) return formatFixed(mse, 0);
  const int exponent = leadingExponent(mse, digits);
  if (exponent >= -1 && exponent <= 2) return formatSignificant(mse, digits);
  return formatSignificant(mse / std::pow(10.0, exponent), digits) + middleDot + formatPower(exponent);
}

int commonPower(std::span<const double> values) {
  std::vector<double> positive;
  for (const double value : values) {
    if (std::isfinite(value) && value > 0) positive.push_back(value);
  }
  if (positive.empty()) return 0;
  const auto middle = positive.begin() + static_cast<std::ptrdiff_t>(positive.size() / 2);
  std::nth_element(positive.begin(), middle, positive.end());
  return leadingExponent(*middle, 3);
}

QString formatScaled(double value, int power) {
  return formatSignificant(value / std::pow(10.0, power), 3);
}

QString formatRatio(double ratio) {
  if (!std::isfinite(ratio)) return formatFixed(ratio, 0);
  const double size = std::abs(ratio);
  const int decimals = size < 0.0995 ? 3 : size < 9.995 ? 2 : size < 99.95 ? 1 : 0;
  return formatFixed(ratio, decimals) + timesSign;
}

QString formatMaxError(double value) {
  return formatFixed(value, 4);
}
QString formatCosine(double value) {
  return formatFixed(value, 5);
}

QString formatPercent(double share, int decimals) {
  const QString text = formatFixed(share * 100, decimals);
  return std::isnan(share) ? text : text + QStringLiteral(" %");
}

QString formatDuration(double seconds) {
  if (!std::isfinite(seconds) || seconds < 0) return unknownText();
  const auto whole = static_cast<long long>(std::ceil(seconds));
  const QString minutesSeconds = QStringLiteral("%1:%2")
                                     .arg(whole / 60 % 60, whole >= 3600 ? 2 : 1, 10, QLatin1Char('0'))
                                     .arg(whole % 60, 2, 10, QLatin1Char('0'));
  return whole >= 3600 ? QString::number(whole / 3600) + QLatin1Char(':') + minutesSeconds : minutesSeconds;
}

QString formatMilliseconds(double seconds) {
  return formatFixed(seconds * 1000, 1);
}

SizeUnit sizeUnitFor(std::uint64_t bytes) {
  return bytes < (1ULL << 20) ? SizeUnit::KiB : bytes < (1ULL << 30) ? SizeUnit::MiB : SizeUnit::GiB;
}

QString name(SizeUnit unit) {
  switch (unit) {
    case SizeUnit::Bytes:
      return QCoreApplication::translate("nibble", "bytes");
    case SizeUnit::KiB:
      return QStringLiteral("KiB");
    case SizeUnit::MiB:
      return QStringLiteral("MiB");
    case SizeUnit::GiB:
      return QStringLiteral("GiB");
  }
  return {};
}

QString formatSizeNumber(std::uint64_t bytes, SizeUnit unit) {
  if (unit == SizeUnit::Bytes) return formatCount(bytes);
  return formatFixed(static_cast<double>(bytes) / std::pow(1024.0, static_cast<int>(unit)), unit == SizeUnit::KiB ? 1 : 2);
}

QString formatSize(std::uint64_t bytes) {
  const SizeUnit unit = sizeUnitFor(bytes);
  return formatSizeNumber(bytes, unit) + QLatin1Char(' ') + name(unit);
}

QString formatTick(double value, double step) {
  int decimals = 0;
  for (double scaled = std::abs(step); decimals < 10 && std::abs(scaled - std::nearbyint(scaled)) > 1e-6 * scaled;
       scaled *= 10) {
    ++decimals;
  }
  return formatFixed(value, decimals);
}

}  // namespace nibble
