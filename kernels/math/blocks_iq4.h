// SPDX-License-Identifier: GPL-3.0-or-later
// iq4_nl (32 weights, one float16 scale d) and iq4_xs (256 weights, d and a signed 6-bit scale per 32): x ~ d s level[code] with
// 16 fixed levels, denser around zero. The scale of 32 weights is searched: 16 inverse scales t = (i + level[0]) / extreme,
// i = -7..7 after the plain one, each fitted to the codes of the nearest levels by weighted least squares. The weight of x is x^2,
// or importance * sqrt(2 mean x^2 of the block + x^2). iq4_xs chooses its codes with the float32 d.
// Source: ggml 0.25.3 (MIT), ggml-quants.c.
#pragma once
#include "kernels/math/blocks_legacy.h"

namespace nibble::kernels {

inline constexpr int iq4Levels[16] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};
inline constexpr int iq4Tries = 7;

// The nearest level; on a midpoint the upper one. Near a midpoint both distances are exact in float32, so comparing with the
// midpoint says the same as comparing the distances. What is no number has the last code, as in the reference.
inline int iq4Code(float x) {
  int code = 0;
  for (int k = 0; k < 15; ++k) code += x < 0.5f * static_cast<float>(iq4Levels[k] + iq4Levels[k + 1]) ? 0 : 1;
  return code;
}

// Scale of 32 weights.
inline float fitIq4(const float* x, const float* w) {
  const float extreme = signedExtreme(x, 32);
  if (std::fabs(extreme) < blockEpsilon) return 0;
  const auto sumsOf = [&](float inverse) {
    FitSums sums;
    for (int j = 0; j < 32; ++j) {
      const auto level = static_cast<float>(iq4Levels[iq4Code(inverse * x[j])]);
      sums.products += w[j] * level * x[j];
      sums.squares += w[j] * level * level;
    }
    return sums;
  };
  const auto lowest = static_cast<float>(iq4Levels[0]);
  const FitSums plain = sumsOf(1.0f / (-extreme / lowest));
  float scale = plain.squares > 0 ? plain.products / plain.squares : 0.0f;
  float best = scale * plain.products;
  for (int i = -iq4Tries; i <= iq4Tries; ++i) {
    const FitSums sums = sumsOf((static_cast<float>(i) + lowest) / extreme);
    if (sums.squares > 0 && sums.products * sums.products > best * sums.squares) {
      scale = sums.products / sums.squares;
      best = scale * sums.products;
    }
  }
  return scale;
}

// Scales of `count` runs of 32 weights.
inline void fitIq4Runs(const BlockInput& in, std::size_t count, float* scales) {
  float squares = 0;
  for (std::size_t j = 0; j < 32 * count; ++j) squares += in.x[j] * in.x[j];
  const float spread = squares * (2.0f / static_cast<float>(32 * count));
  for (std::size_t run = 0; run < count; ++run) {
    const float* x = in.x + 32 * run;
    float w[32];
    if (in.importance != nullptr)
      importanceWeights(x, in.importance + 32 * run, spread, 32, w);
    else
      for (int j = 0; j < 32; ++j) w[j] = x[j] * x[j];
    scales[run] = fitIq4(x, w);
  }
}

inline void encodeIQ4_NL(const BlockInput& in, std::uint8_t* out) {
  float scale = 0;
  fitIq4Runs(in, 1, &scale);
  storeHalf(out, scale);
  const float inverse = reciprocalOrZero(scale);
  std::uint8_t codes[32];
  for (int j = 0; j < 32; ++j) codes[j] = static_cast<std::uint8_t>(iq4Code(inverse * in.x[j]));
  packNibbles(codes, 32, 16, out + 2);
}

// From the scales of the eight runs: d, their 6-bit multiples in bytes 0..7, and the inverse scale each run's codes follow from.
inline void storeIq4Scales(const float* scales, std::uint8_t* out, float* inverses) {
  float extreme = 0;
  for (int run = 0; run < 8; ++run)
    if (std::fabs(scales[run]) > std::fabs(extreme)) extreme = scales[run];
  const float d = -extreme / 32.0f, inverse = reciprocalOrZero(d);
  storeHalf(out, d);
  unsigned high = 0;
  for (unsigned run = 0; run < 8; ++run) {
    const int multiple = clampedTo(magicRound(inverse * scales[run]), -32, 31);
    inverses[run] = reciprocalOrZero(d * static_cast<float>(multiple));
    const auto code = static_cast<unsigned>(multiple + 32);
    high |= (code >> 4) << (2 * run);
    std::uint8_t& low = out[4 + run / 2];
    low = static_cast<std::uint8_t>(run % 2 == 0 ? code & 15 : low | (code & 15) << 4);
  }
  out[2] = static_cast<std::uint8_t>(high & 0xFF);
  out[3] = static_cast<std::uint8_t>(high >> 8);
}

inline void encodeIQ4_XS(const BlockInput& in, std::uint8_t* out) {
  float scales[8], inverses[8];
  fitIq4Runs(in, 8, scales);
  storeIq4Scales(scales, out, inverses);
  std::uint8_t codes[256];
  for (int j = 0; j < 256; ++j) codes[j] = static_cast<std::uint8_t>(iq4Code(inverses[j / 32] * in.x[j]));
  packNibbles(codes, 256, 16, out + 8);
}

}  // namespace nibble::kernels
