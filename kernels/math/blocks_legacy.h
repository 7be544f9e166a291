// SPDX-License-Identifier: GPL-3.0-or-later
// GGUF's blocks of 32 weights with one float16 scale d, codes in order: q4_0, q5_0 (x ~ d (code - 8 or 16)), q4_1, q5_1
// (x ~ d code + m), q8_0 (x ~ d code, signed bytes).
//
// Without importance weights codes are chosen with the float32 d, which is rounded to float16 only for storage. With them
//   q4_0, q5_0: the signed search; q4_1, q5_1: the search for scale and minimum; weight of x: importance * sqrt(mean x^2 of the
//   row + x^2). q8_0 ignores importance.
// Rounding: truncation after adding a half (q4_0 .. q5_1), half away from zero (q8_0), half to even in the searches.
// Source: ggml 0.25.3 (MIT), ggml-quants.c.
#pragma once
#include "kernels/math/block_bytes.h"
#include "kernels/math/block_search.h"

#include <cmath>

namespace nibble::kernels {

// What a block's quantizer gets. `importance` (one per weight) may be null.
struct BlockInput {
  const float* x = nullptr;
  const float* importance = nullptr;
  float rowMeanSquare = 0;  // of the block's row; used by the legacy types with importance
};

inline float meanSquare(const float* x, std::size_t n) {
  float sum = 0;
  for (std::size_t i = 0; i < n; ++i) sum += x[i] * x[i];
  return sum / static_cast<float>(n);
}

// importance * sqrt(spread + x^2).
inline void importanceWeights(const float* x, const float* importance, float spread, std::size_t n, float* w) {
  for (std::size_t i = 0; i < n; ++i) w[i] = importance[i] * std::sqrt(spread + x[i] * x[i]);
}

// A reciprocal that is 0 for 0, and infinite for most denormals.
inline float reciprocalOrZero(float d) { return d != 0.0f ? 1.0f / d : 0.0f; }

// 4 or 5 bits, d and codes around the middle.
template <int bits>
void encodeSymmetric(const BlockInput& in, std::uint8_t* out) {
  constexpr int half = 1 << (bits - 1);
  std::uint8_t codes[32];
  if (in.importance != nullptr) {
    float w[32];
    importanceWeights(in.x, in.importance, in.rowMeanSquare, 32, w);
    storeHalf(out, fitSigned(in.x, w, 32, half, codes));
  } else {
    const float d = signedExtreme(in.x, 32) / static_cast<float>(-half), inverse = reciprocalOrZero(d);
    storeHalf(out, d);
    for (int j = 0; j < 32; ++j) {
      const int code = static_cast<std::int8_t>(truncated(in.x[j] * inverse + (static_cast<float>(half) + 0.5f)));
      codes[j] = static_cast<std::uint8_t>(code < 2 * half - 1 ? code : 2 * half - 1);
    }
  }
  if constexpr (bits == 5) packFifthBits(codes, out + 2);
  packNibbles(codes, 32, 16, out + (bits == 5 ? 6 : 2));
}

// 4 or 5 bits, d, m and codes from 0.
template <int bits>
void encodeWithMinimum(const BlockInput& in, std::uint8_t* out) {
  constexpr int top = (1 << bits) - 1;
  std::uint8_t codes[32];
  if (in.importance != nullptr) {
    float w[32];
    importanceWeights(in.x, in.importance, in.rowMeanSquare, 32, w);
    const ScaleAndMinimum fit = fitWithMinimum(in.x, w, 32, weightedSearch(top), codes);
    storeHalf(out, fit.scale);
    storeHalf(out + 2, -fit.minimum);
  } else {
    float low = in.x[0], high = in.x[0];
    for (int j = 1; j < 32; ++j) {
      if (in.x[j] < low) low = in.x[j];
      if (in.x[j] > high) high = in.x[j];
    }
    const float d = (high - low) / static_cast<float>(top), inverse = reciprocalOrZero(d);
    storeHalf(out, d);
    storeHalf(out + 2, low);
    for (int j = 0; j < 32; ++j) {
      const int code = truncated((in.x[j] - low) * inverse + 0.5f);
      codes[j] = static_cast<std::uint8_t>(code < top ? code : top);
    }
  }
  if constexpr (bits == 5) packFifthBits(codes, out + 4);
  packNibbles(codes, 32, 16, out + (bits == 5 ? 8 : 4));
}

inline float largestMagnitude(const float* x, std::size_t n) {
  float largest = 0;
  for (std::size_t i = 0; i < n; ++i) largest = largest > std::fabs(x[i]) ? largest : std::fabs(x[i]);
  return largest;
}

inline void encodeQ8_0(const BlockInput& in, std::uint8_t* out) {
  const float d = largestMagnitude(in.x, 32) / 127.0f, inverse = reciprocalOrZero(d);
  storeHalf(out, d);
  for (int j = 0; j < 32; ++j) out[2 + j] = static_cast<std::uint8_t>(roundHalfAway(in.x[j] * inverse));
}

}  // namespace nibble::kernels
