// SPDX-License-Identifier: GPL-3.0-or-later
// Small floating-point formats, inline for host and device: exact widening to float32 and rounding to nearest even from
// float32. F16 and BF16 overflow to infinity as IEEE does. E4M3 (fn: no infinity, max 448) and E5M2 saturate at their largest
// finite value, infinities included. Sources: IEEE 754, OCP 8-bit Floating Point Specification 1.0.
#pragma once
#include <bit>
#include <cmath>
#include <cstdint>

namespace nibble::kernels {

enum class FloatType : std::uint8_t { F32, F16, BF16, F8E4M3, F8E5M2 };

inline float halfToFloat(std::uint16_t bits) {
  const std::uint32_t sign = static_cast<std::uint32_t>(bits & 0x8000u) << 16;
  const std::uint32_t exponent = (bits >> 10) & 0x1Fu;
  const std::uint32_t fraction = bits & 0x3FFu;
  if (exponent == 0x1F) return std::bit_cast<float>(sign | 0x7F800000u | (fraction << 13));
  if (exponent != 0) return std::bit_cast<float>(sign | ((exponent + 112u) << 23) | (fraction << 13));
  const float magnitude = static_cast<float>(fraction) * 0x1p-24f;  // exact: zero and subnormals
  return std::bit_cast<float>(sign | std::bit_cast<std::uint32_t>(magnitude));
}

inline std::uint16_t floatToHalf(float value) {
  const std::uint32_t bits = std::bit_cast<std::uint32_t>(value);
  const auto sign = static_cast<std::uint16_t>((bits >> 16) & 0x8000u);
  const std::uint32_t magnitude = bits & 0x7FFFFFFFu;
  if (magnitude > 0x7F800000u) return static_cast<std::uint16_t>(sign | 0x7E00u | ((magnitude >> 13) & 0x3FFu));
  if (magnitude >= 0x477FF000u) return static_cast<std::uint16_t>(sign | 0x7C00u);  // 65520 and above round to infinity
  if (magnitude < 0x38800000u) {  // below the smallest normal half: the sum's last bit is 2^-24, so the adder rounds to even
    const float shifted = std::bit_cast<float>(magnitude) + 0.5f;
    return static_cast<std::uint16_t>(sign | (std::bit_cast<std::uint32_t>(shifted) - 0x3F000000u));
  }
  const std::uint32_t rounded = magnitude + 0xFFFu + ((magnitude >> 13) & 1u);
  return static_cast<std::uint16_t>(sign | ((rounded - 0x38000000u) >> 13));
}

inline float bfloatToFloat(std::uint16_t bits) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16);
}

inline std::uint16_t floatToBfloat(float value) {
  const std::uint32_t bits = std::bit_cast<std::uint32_t>(value);
  if ((bits & 0x7FFFFFFFu) > 0x7F800000u) return static_cast<std::uint16_t>((bits >> 16) | 0x40u);
  return static_cast<std::uint16_t>((bits + 0x7FFFu + ((bits >> 16) & 1u)) >> 16);
}

// An 8-bit float with `exponentBits` and bias 2^(exponentBits-1) - 1 as in the OCP specification; NaN 0x7F.
template <int exponentBits>
inline float float8ToFloat(std::uint8_t bits) {
  constexpr int fractionBits = 7 - exponentBits;
  constexpr int bias = (1 << (exponentBits - 1)) - 1;
  const int exponent = (bits & 0x7F) >> fractionBits;
  const int fraction = bits & ((1 << fractionBits) - 1);
  const float sign = (bits & 0x80) != 0 ? -1.0f : 1.0f;
  if constexpr (exponentBits == 4) {
    if ((bits & 0x7F) == 0x7F) return std::nanf("");
  } else {
    if (exponent == 31) return fraction != 0 ? std::nanf("") : sign * HUGE_VALF;
  }
  if (exponent == 0) return sign * std::ldexp(static_cast<float>(fraction), 1 - bias - fractionBits);
  return sign * std::ldexp(static_cast<float>(fraction + (1 << fractionBits)), exponent - bias - fractionBits);
}

template <int exponentBits>
inline std::uint8_t floatToFloat8(float value) {
  constexpr int fractionBits = 7 - exponentBits;
  constexpr int bias = (1 << (exponentBits - 1)) - 1;
  constexpr std::uint8_t largest = exponentBits == 4 ? 0x7E : 0x7B;
  const auto sign = static_cast<std::uint8_t>(std::signbit(value) ? 0x80 : 0);
  if (std::isnan(value)) return static_cast<std::uint8_t>(sign | 0x7F);
  const float magnitude = std::fabs(value);
  if (magnitude >= float8ToFloat<exponentBits>(largest)) return static_cast<std::uint8_t>(sign | largest);
  if (magnitude == 0.0f) return sign;
  int exponent = 0;
  (void)std::frexp(magnitude, &exponent);  // magnitude = f * 2^exponent, f in [0.5, 1)
  const int step = (exponent - 1 < 1 - bias ? 1 - bias : exponent - 1) - fractionBits;  // exponent of the last place
  const int units = static_cast<int>(std::nearbyint(std::ldexp(magnitude, -step)));
  // In units of the last place the code counts on: 2^fractionBits units more than the first binade per binade above it.
  const int binade = step - (1 - bias - fractionBits);
  const int code = units + (binade << fractionBits);
  return static_cast<std::uint8_t>(sign | (code > largest ? largest : code));
}

// Rounds to the type and back.
inline float roundTo(FloatType type, float value) {
  switch (type) {
    case FloatType::F32:
      return value;
    case FloatType::F16:
      return halfToFloat(floatToHalf(value));
    case FloatType::BF16:
      return bfloatToFloat(floatToBfloat(value));
    case FloatType::F8E4M3:
      return float8ToFloat<4>(floatToFloat8<4>(value));
    case FloatType::F8E5M2:
      return float8ToFloat<5>(floatToFloat8<5>(value));
  }
  return value;
}

}  // namespace nibble::kernels
