// SPDX-License-Identifier: GPL-3.0-or-later
#include "core/train/number_type.h"

#include <array>
#include <cmath>
#include <limits>
#include <utility>

namespace nibble::train {
namespace {

constexpr std::array<std::pair<NumberType, std::string_view>, 4> names = {
    {{NumberType::F64, "f64"}, {NumberType::F32, "f32"}, {NumberType::BF16, "bf16"}, {NumberType::F16, "f16"}}};

// Significant bits with the hidden one, exponent of the smallest normal number, of the largest.
struct Precision {
  int bits, lowest, highest;
};
Precision precisionOf(NumberType type) {
  switch (type) {
    case NumberType::F64:
      return {53, -1022, 1023};
    case NumberType::F32:
      return {24, -126, 127};
    case NumberType::BF16:
      return {8, -126, 127};
    case NumberType::F16:
      break;
  }
  return {11, -14, 15};
}

// The exponent of the last place of numbers as large as `value`.
int lastPlace(const Precision& precision, double value) {
  const int exponent = value == 0 ? precision.lowest : std::max(std::ilogb(value), precision.lowest);
  return exponent - (precision.bits - 1);
}

}  // namespace

std::string_view name(NumberType type) {
  return names[static_cast<std::size_t>(type)].second;
}

std::optional<NumberType> numberTypeFromName(std::string_view name) {
  for (const auto& [type, text] : names)
    if (text == name) return type;
  return std::nullopt;
}

double storedAs(NumberType type, double value) {
  if (type == NumberType::F64 || !std::isfinite(value) || value == 0) return value;
  if (type == NumberType::F32) return static_cast<double>(static_cast<float>(value));
  const Precision precision = precisionOf(type);
  const int place = lastPlace(precision, value);
  const double rounded = std::ldexp(std::nearbyint(std::ldexp(value, -place)), place);
  if (std::fabs(rounded) >= std::ldexp(1.0, precision.highest + 1))
    return std::copysign(std::numeric_limits<double>::infinity(), value);
  return rounded;
}

double halfUlp(NumberType type, double value) {
  return std::ldexp(1.0, lastPlace(precisionOf(type), value) - 1);
}

}  // namespace nibble::train
