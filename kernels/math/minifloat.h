// SPDX-License-Identifier: GPL-3.0-or-later
// Small floating-point formats, inline for host and device: exact widening to float32 and rounding to nearest even from
// float32. F16 and BF16 overflow to infinity as IEEE does. E4M3 (fn: no infinity, max 448), E5M2 (57344), E3M2 (28), E2M3 (7.5)
// and E2M1 (6) saturate at their largest finite value, infinities included. Sources: IEEE 754, OCP 8-bit Floating Point
// Specification 1.0, OCP Microscaling Formats 1.0.
#pragma once
#include <bit>
#include <cmath>
#include <cstdint>

namespace nibble::kernels {

enum class FloatType : std::uint8_t { F32, F16, BF16, F8E4M3, F8E5M2, F6E2M3, F6E3M2, F4E2M1 };

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

// A float of a sign, `exponentBits`, `fractionBits` and bias 2^(exponentBits-1) - 1, as the OCP specifications define them:
// E4M3 (no infinity, NaN 0x7F), E5M2 (IEEE infinities and NaN), and the finite-only E2M1, E2M3, E3M2.
template <int exponentBits, int fractionBits>
inline constexpr unsigned largestMiniCode = (1u << (exponentBits + fractionBits)) - (exponentBits == 5   ? 5u
                                                                                     : exponentBits == 4 ? 2u
                                                                                                         : 1u);

template <int exponentBits, int fractionBits>
inline float miniToFloat(unsigned code) {
  constexpr int bias = (1 << (exponentBits - 1)) - 1;
  constexpr unsigned signBit = 1u << (exponentBits + fractionBits);
  const unsigned magnitude = code & (signBit - 1);
  const int exponent = static_cast<int>(magnitude >> fractionBits);
  const int fraction = static_cast<int>(magnitude & ((1u << fractionBits) - 1));
  const float sign = (code & signBit) != 0 ? -1.0f : 1.0f;
  if (magnitude > largestMiniCode<exponentBits, fractionBits>)
    return exponentBits == 5 && fraction == 0 ? sign * HUGE_VALF : std::nanf("");
  if (exponent == 0) return sign * std::ldexp(static_cast<float>(fraction), 1 - bias - fractionBits);
  return sign * std::ldexp(static_cast<float>(fraction + (1 << fractionBits)), exponent - bias - fractionBits);
}

// Nearest code, ties to even; beyond the largest finite value it saturates. NaN stays one where the type has any, else it
// becomes the largest code.
template <int exponentBits, int fractionBits>
inline std::uint8_t floatToMini(float value) {
  constexpr int bias = (1 << (exponentBits - 1)) - 1;
  constexpr int dropped = 23 - fractionBits;
  constexpr unsigned largest = largestMiniCode<exponentBits, fractionBits>;
  constexpr std::uint32_t smallestNormal = static_cast<std::uint32_t>(128 - bias) << 23;  // as float32 bits: 2^(1 - bias)
  // The float whose last bit is the smallest subnormal: adding it rounds to that, half to even.
  constexpr std::uint32_t aligner = static_cast<std::uint32_t>(127 + 24 - bias - fractionBits) << 23;
  const std::uint32_t bits = std::bit_cast<std::uint32_t>(value), magnitude = bits & 0x7FFFFFFFu;
  const unsigned sign = (bits >> 31) << (exponentBits + fractionBits);
  if (magnitude > 0x7F800000u && exponentBits >= 4) return static_cast<std::uint8_t>(sign | 0x7Fu);
  std::uint32_t code = 0;
  if (magnitude < smallestNormal) {
    code = std::bit_cast<std::uint32_t>(std::bit_cast<float>(magnitude) + std::bit_cast<float>(aligner)) - aligner;
  } else {
    const std::uint32_t rounded = magnitude + ((1u << (dropped - 1)) - 1) + ((magnitude >> dropped) & 1u);
    code = (rounded >> dropped) - (static_cast<std::uint32_t>(127 - bias) << fractionBits);
  }
  return static_cast<std::uint8_t>(sign | (code < largest ? code : largest));
}

// The 8-bit types by their exponent bits.
template <int exponentBits>
inline float float8ToFloat(std::uint8_t bits) {
  return miniToFloat<exponentBits, 7 - exponentBits>(bits);
}
template <int exponentBits>
inline std::uint8_t floatToFloat8(float value) {
  return floatToMini<exponentBits, 7 - exponentBits>(value);
}

// E8M0, the scale of microscaling blocks: 2^(byte - 127), 0xFF = NaN. 2^-127 is a denormal float32.
inline float e8m0ToFloat(std::uint8_t byte) {
  if (byte == 0xFF) return std::nanf("");
  return byte == 0 ? 0x1p-127f : std::bit_cast<float>(static_cast<std::uint32_t>(byte) << 23);
}

// The byte of the power whose exponent is nearest to log2(value), ties to even; powers of two are exact. Zero and what lies
// below give the smallest, what lies above gives the largest.
inline std::uint8_t floatToE8m0(float value) {
  if (std::isnan(value)) return 0xFF;
  if (!(value > 0x1p-127f)) return 0;
  const float exponent = std::nearbyint(std::log2(value));
  return static_cast<std::uint8_t>(exponent > 127.0f ? 254 : static_cast<int>(exponent) + 127);
}

// How many bits a number of the type takes.
inline int bitsOf(FloatType type) {
  switch (type) {
    case FloatType::F32:
      return 32;
    case FloatType::F16:
    case FloatType::BF16:
      return 16;
    case FloatType::F8E4M3:
    case FloatType::F8E5M2:
      return 8;
    case FloatType::F6E2M3:
    case FloatType::F6E3M2:
      return 6;
    case FloatType::F4E2M1:
      return 4;
  }
  return 0;
}

// A code of one of the types of at most 8 bits as float32, and back.
inline float smallToFloat(FloatType type, unsigned code) {
  switch (type) {
    case FloatType::F8E4M3:
      return miniToFloat<4, 3>(code);
    case FloatType::F8E5M2:
      return miniToFloat<5, 2>(code);
    case FloatType::F6E2M3:
      return miniToFloat<2, 3>(code);
    case FloatType::F6E3M2:
      return miniToFloat<3, 2>(code);
    case FloatType::F4E2M1:
      return miniToFloat<2, 1>(code);
    default:
      return 0.0f;
  }
}
inline std::uint8_t floatToSmall(FloatType type, float value) {
  switch (type) {
    case FloatType::F8E4M3:
      return floatToMini<4, 3>(value);
    case FloatType::F8E5M2:
      return floatToMini<5, 2>(value);
    case FloatType::F6E2M3:
      return floatToMini<2, 3>(value);
    case FloatType::F6E3M2:
      return floatToMini<3, 2>(value);
    case FloatType::F4E2M1:
      return floatToMini<2, 1>(value);
    default:
      return 0;
  }
}
// The largest finite magnitude of such a type: 448, 57344, 7.5, 28, 6.
inline float largestOf(FloatType type) {
  const unsigned signless = (1u << (bitsOf(type) - 1)) - 1;
  return smallToFloat(type, type == FloatType::F8E4M3 ? 0x7E : type == FloatType::F8E5M2 ? 0x7B : signless);
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
    default:
      return smallToFloat(type, floatToSmall(type, value));
  }
  return value;
}

}  // namespace nibble::kernels
