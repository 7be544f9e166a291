// SPDX-License-Identifier: GPL-3.0-or-later
// Numbers as people read them: minus is U+2212, thousands and decimal sign by locale, ranges with an en dash, unit after a
// space, an en dash for what is unknown (NaN). Files never go through here (core/base/text.h is theirs). Decimals are fixed per
// quantity and round half to even on the decimal value nearest to the double, as printf does.
#pragma once
#include <QString>
#include <cstdint>
#include <span>

namespace nibble {

QString unknownText();                                         // "–"
QString formatFixed(double value, int decimals);               // "−0.4"
QString formatSigned(double value, int decimals);              // "+0.140", "−0.037"
QString formatSignificant(double value, int digits);           // "0.0541", "7.16", "175"
QString formatCount(std::uint64_t count);                      // "147 456"
QString formatRange(std::uint64_t first, std::uint64_t last);  // "64–127"
QString formatShape(std::span<const std::uint64_t> shape);     // "384 × 384"; one dimension: "384"; none: "scalar"

QString formatBpw(double bitsPerWeight);                       // "4.50"
QString formatSqnr(double decibel, int decimals = 2);          // "21.05"; infinite: "∞"; the unit stands in the header
QString formatSqnrWithUnit(double decibel, int decimals = 2);  // "21.05 dB"
QString formatPower(int exponent);                             // "10⁻⁵"
QString formatMse(double mse, int digits = 3);                 // alone: "7.16·10⁻⁵"
int commonPower(std::span<const double> values);        // the power of ten of a column: that of its median positive value
QString formatScaled(double value, int power);          // value / 10^power with 3 digits, for a column
QString formatRatio(double ratio);                      // "0.97×", "24.5×", "0.008×"
QString formatMaxError(double value);                   // 4 decimals
QString formatCosine(double value);                     // 5 decimals
QString formatPercent(double share, int decimals = 2);  // 0.0887 -> "8.87 %"
QString formatDuration(double seconds);                 // "0:12", "1:02:03": an ETA
QString formatMilliseconds(double seconds);             // 0.0646 -> "64.6"

enum class SizeUnit : std::uint8_t { Bytes, KiB, MiB, GiB };
SizeUnit sizeUnitFor(std::uint64_t bytes);  // KiB under 1 MiB, MiB under 1 GiB
QString name(SizeUnit unit);
QString formatSizeNumber(std::uint64_t bytes, SizeUnit unit);  // KiB 1 decimal, MiB and GiB 2
QString formatSize(std::uint64_t bytes);                       // "288.0 KiB", "3.77 MiB"

// Ticks of an axis: as many decimals as the step needs. Log axes: "1", "10", "10k" or powers "10⁻²".
QString formatTick(double value, double step);

}  // namespace nibble
