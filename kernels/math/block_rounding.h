// SPDX-License-Identifier: GPL-3.0-or-later
// The three roundings of GGUF's block types, each by name: their bytes are the reference's only with its own rounding.
// Source: ggml 0.25.3 (MIT), default x86-64 build.
#pragma once
#include <bit>
#include <cmath>
#include <cstdint>

namespace nibble::kernels {

// Half to even (k-quants): adds 1.5 * 2^23 and reads the low bits. Beyond 2^22 this is no rounding but still a definite number
// (infinity: -2^22, NaN: 0), which denormal weights reach and which belongs to the reference's bytes.
inline int magicRound(float value) {
  return static_cast<int>(std::bit_cast<std::uint32_t>(value + 12582912.0f) & 0x007FFFFFu) - 0x00400000;
}

// Half away from zero (q8_0, the ternary types, q2_0). Only magnitudes up to 2^22 and infinities come here; what is not finite
// becomes 0, the low byte of the machine's conversion.
inline int roundHalfAway(float value) {
  return std::fabs(value) < 8388608.0f ? static_cast<int>(std::round(value)) : 0;
}

// Towards zero (q4_0 .. q5_1, whose references add a half before).
inline int truncated(float value) {
  return std::fabs(value) < 8388608.0f ? static_cast<int>(value) : 0;
}

inline int clampedTo(int value, int low, int high) {
  return value < low ? low : value > high ? high : value;
}

}  // namespace nibble::kernels
