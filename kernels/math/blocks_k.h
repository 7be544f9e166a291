// SPDX-License-Identifier: GPL-3.0-or-later
// GGUF's k-quants: super-blocks of 256 weights, cut into runs of 16 (q2_k, q3_k, q6_k) or 32 (q4_k, q5_k) whose scales (and
// minima) are small integers times one float16 d (and dmin):
//   q2_k, q4_k, q5_k   x ~ d s code - dmin m      4-bit s and m (q2_k), 6-bit s and m
//   q3_k, q6_k         x ~ d s (code - 4 or 32)   6-bit or 8-bit signed s
// Each goes three ways: search a scale for every run, store the scales, choose codes anew with what was stored:
// code = rne((x + dmin m) / (d s)). A run whose stored scale is 0 keeps the codes of its search.
// With importance weights the search weighs x by importance * sqrt(spread + x^2) and the scales of a super-block are fitted too.
// Rounding is half to even (magicRound). Source: ggml 0.25.3 (MIT), ggml-quants.c.
#pragma once
#include "kernels/math/blocks_legacy.h"

#include <algorithm>

namespace nibble::kernels {

inline constexpr std::size_t superBlock = 256;

// Scales and minima of the runs of a super-block as found, later as stored: x ~ scale * code - minimum.
struct RunScales {
  float scale[16], minimum[16];
};

// What a k-quant type with minima has of its own.
struct MinimumKind {
  std::size_t run;        // weights per run
  int top;                // largest code
  int scaleTop;           // largest stored scale
  MinimumSearch plain;    // without importance
  float spread;           // with importance: spread = this / 256 * sum x^2
};
inline constexpr MinimumKind kindQ2_K{16, 3, 15, plainSearch2, 1.0f};
inline constexpr MinimumKind kindQ4_K{32, 15, 63, plainSearch4, 2.0f};
inline constexpr MinimumKind kindQ5_K{32, 31, 63, plainSearch5, 2.0f};

inline float sumOfSquares(const float* x, std::size_t n) {
  float sum = 0;
  for (std::size_t i = 0; i < n; ++i) sum += x[i] * x[i];
  return sum;
}

// Weights of a run without importance: |x| (q2_k), or root mean square + |x|.
inline void plainRunWeights(const MinimumKind& kind, const float* x, float* w) {
  const float level = kind.top == 3 ? 0.0f : std::sqrt(sumOfSquares(x, kind.run) / static_cast<float>(kind.run));
  for (std::size_t i = 0; i < kind.run; ++i) w[i] = level + std::fabs(x[i]);
}

// The search of every run. `weightSums` gets the sum of each run's weights where there is importance.
inline void searchRuns(const MinimumKind& kind, const BlockInput& in, RunScales& found, float* weightSums, std::uint8_t* codes) {
  const float spread =
      in.importance != nullptr ? kind.spread * sumOfSquares(in.x, superBlock) / static_cast<float>(superBlock) : 0.0f;
  float w[32];
  for (std::size_t j = 0; j < superBlock / kind.run; ++j) {
    const float* x = in.x + j * kind.run;
    if (in.importance != nullptr) {
      importanceWeights(x, in.importance + j * kind.run, spread, kind.run, w);
      weightSums[j] = 0;
      for (std::size_t i = 0; i < kind.run; ++i) weightSums[j] += w[i];
    } else {
      plainRunWeights(kind, x, w);
    }
    const MinimumSearch search = in.importance != nullptr ? weightedSearch(kind.top) : kind.plain;
    const ScaleAndMinimum fit = fitWithMinimum(x, w, kind.run, search, codes + j * kind.run);
    found.scale[j] = fit.scale;
    found.minimum[j] = fit.minimum;
  }
}

// Small integers for numbers that are not negative, without importance: the largest becomes `top`. Returns the unit.
inline float roundedToLargest(const float* values, std::size_t n, int top, std::uint8_t* codes) {
  float largest = 0;
  for (std::size_t j = 0; j < n; ++j)
    if (values[j] > largest) largest = values[j];
  const float inverse = largest > 0 ? static_cast<float>(top) / largest : 0.0f;
  for (std::size_t j = 0; j < n; ++j) {
    const auto code = static_cast<std::uint8_t>(magicRound(inverse * values[j]));
    codes[j] = top < 63 || code < 63 ? code : std::uint8_t{63};
  }
  return largest / static_cast<float>(top);
}

// Stores scales and minima of a super-block and puts what they decode to in their place. `weightSums` null: no importance.
// q2_k: scales at out[0..15], d, dmin behind the codes; q4_k, q5_k: d, dmin, then 12 bytes.
inline void storeRunScales(const MinimumKind& kind, const float* weightSums, RunScales& scales, std::uint8_t* out) {
  const std::size_t runs = kind.run == 16 ? 16 : 8;
  std::uint8_t s[16], m[16];
  float units[2];
  if (weightSums != nullptr) {
    units[0] = fitPositive(scales.scale, weightSums, runs, kind.scaleTop, s);
    units[1] = fitPositive(scales.minimum, weightSums, runs, kind.scaleTop, m);
    if (kind.top == 31)
      for (std::size_t j = 0; j < runs; ++j) s[j] = std::min(s[j], std::uint8_t{63}), m[j] = std::min(m[j], std::uint8_t{63});
  } else {
    units[0] = roundedToLargest(scales.scale, runs, kind.scaleTop, s);
    units[1] = roundedToLargest(scales.minimum, runs, kind.scaleTop, m);
  }
  std::uint8_t* halves = kind.top == 3 ? out + 80 : out;
  const float d = storeHalf(halves, units[0]), dmin = storeHalf(halves + 2, units[1]);
  if (kind.top != 3) packSixBitPairs(s, m, out + 4);
  for (std::size_t j = 0; j < runs; ++j) {
    if (kind.top == 3) out[j] = static_cast<std::uint8_t>(s[j] | m[j] << 4);
    const SixBitPair stored = kind.top == 3 ? SixBitPair{out[j] & 15, out[j] >> 4} : sixBitPair(out + 4, j);
    scales.scale[j] = d * static_cast<float>(stored.scale);
    scales.minimum[j] = dmin * static_cast<float>(stored.minimum);
  }
}

inline void chooseCodes(const MinimumKind& kind, const float* x, const RunScales& stored, std::uint8_t* codes) {
  for (std::size_t i = 0; i < superBlock; ++i) {
    const std::size_t j = i / kind.run;
    if (stored.scale[j] == 0.0f) continue;
    codes[i] = static_cast<std::uint8_t>(clampedTo(magicRound((x[i] + stored.minimum[j]) / stored.scale[j]), 0, kind.top));
  }
}

inline void packCodes(const MinimumKind& kind, const std::uint8_t* codes, std::uint8_t* out) {
  if (kind.top == 3) return packPairs(codes, 0, out + 16);
  if (kind.top == 31) {
    // Fifth bits: bit k of byte j belongs to weight 32 k + j.
    packBitPlane(codes, 4, out + 16);
    return packNibbles(codes, superBlock, 32, out + 48);
  }
  packNibbles(codes, superBlock, 32, out + 16);
}

inline void encodeWithMinima(const MinimumKind& kind, const BlockInput& in, std::uint8_t* out) {
  RunScales scales;
  float weightSums[16];
  std::uint8_t codes[superBlock];
  searchRuns(kind, in, scales, weightSums, codes);
  storeRunScales(kind, in.importance != nullptr ? weightSums : nullptr, scales, out);
  chooseCodes(kind, in.x, scales, codes);
  packCodes(kind, codes, out);
}

// Codes around a middle, with what was stored.
inline void chooseSignedCodes(const float* x, const float* scales, int middle, std::uint8_t* codes) {
  for (std::size_t i = 0; i < superBlock; ++i) {
    const float d = scales[i / 16];
    if (d == 0.0f) continue;
    codes[i] = static_cast<std::uint8_t>(clampedTo(magicRound(x[i] / d), -middle, middle - 1) + middle);
  }
}

// The first of largest magnitude.
inline float extremeScale(const float* scales) { return signedExtreme(scales, 16); }

// q3_k: third bits at 0, low bits at 32, twelve bytes of scales at 96, d at 108. Scales become what is stored.
inline void storeScalesQ3_K(const float* weightSums, float* scales, std::uint8_t* out) {
  std::uint8_t codes[16];
  float d = 0;
  if (weightSums != nullptr) {
    d = fitSigned(scales, weightSums, 16, 32, codes);
  } else if (const float extreme = extremeScale(scales); extreme != 0.0f) {
    const float inverse = -32.0f / extreme;
    for (std::size_t j = 0; j < 16; ++j)
      // The reference narrows to a signed byte before it clamps.
      codes[j] = static_cast<std::uint8_t>(clampedTo(static_cast<std::int8_t>(magicRound(inverse * scales[j])), -32, 31) + 32);
    d = 1.0f / inverse;
  } else {
    for (std::uint8_t& code : codes) code = 0;
  }
  packSixBits(codes, out + 96);
  d = storeHalf(out + 108, d);
  for (std::size_t j = 0; j < 16; ++j) scales[j] = d * static_cast<float>(codes[j] - 32);
}

inline void encodeQ3_K(const BlockInput& in, std::uint8_t* out) {
  float scales[16], weightSums[16], w[16];
  std::uint8_t codes[superBlock];
  const float spread = in.importance != nullptr ? 2.0f * sumOfSquares(in.x, superBlock) / static_cast<float>(superBlock) : 0.0f;
  for (std::size_t j = 0; j < 16; ++j) {
    const float* x = in.x + 16 * j;
    if (in.importance == nullptr) {
      scales[j] = fitSignedByDescent(x, 16, 4, codes + 16 * j);
      continue;
    }
    importanceWeights(x, in.importance + 16 * j, spread, 16, w);
    weightSums[j] = 0;
    for (int i = 0; i < 16; ++i) weightSums[j] += w[i];
    scales[j] = fitSigned(x, w, 16, 4, codes + 16 * j);
  }
  storeScalesQ3_K(in.importance != nullptr ? weightSums : nullptr, scales, out);
  chooseSignedCodes(in.x, scales, 4, codes);
  packBitPlane(codes, 2, out);
  packPairs(codes, 0, out + 32);
}

// q6_k: low nibbles at 0, high pairs at 128, sixteen signed bytes of scales at 192, d at 208. False: the block is all zero, and so
// are its bytes.
inline bool storeScalesQ6_K(float* scales, std::uint8_t* out) {
  const float extreme = extremeScale(scales);
  if (std::fabs(extreme) < blockEpsilon) {
    std::fill(out, out + 210, std::uint8_t{0});
    return false;
  }
  const float inverse = -128.0f / extreme;
  const float d = storeHalf(out + 208, 1.0f / inverse);
  for (std::size_t j = 0; j < 16; ++j) {
    const int code = magicRound(inverse * scales[j]);
    out[192 + j] = static_cast<std::uint8_t>(code < 127 ? code : 127);
    scales[j] = d * static_cast<float>(static_cast<std::int8_t>(out[192 + j]));
  }
  return true;
}

inline void encodeQ6_K(const BlockInput& in, std::uint8_t* out) {
  float scales[16], w[16];
  std::uint8_t codes[superBlock];
  for (std::size_t j = 0; j < 16; ++j) {
    const float* x = in.x + 16 * j;
    for (int i = 0; i < 16; ++i) w[i] = in.importance != nullptr ? in.importance[16 * static_cast<int>(j) + i] : x[i] * x[i];
    scales[j] = fitSigned(x, w, 16, 32, codes + 16 * j);
  }
  if (!storeScalesQ6_K(scales, out)) return;
  chooseSignedCodes(in.x, scales, 32, codes);
  packSixBitCodes(codes, out, out + 128);
}

}  // namespace nibble::kernels
