// SPDX-License-Identifier: GPL-3.0-or-later
// The scale searches behind GGUF's k-quants, iq4 and the weighted legacy types. `x` are n weights, `w` their importance (>= 0).
// All arithmetic is float32, each operation rounded, sums in ascending order of the weights: that order is part of the bytes.
// A search tries some inverse scales t, gives each weight the code its rounding says, and fits the scale to the codes by weighted
// least squares. Codes follow from the winning t, so only that is kept while searching.
// Source: ggml 0.25.3 (MIT), ggml-quants.c; facts and order of operations, not its text.
#pragma once
#include "kernels/math/block_rounding.h"

#include <cstddef>

namespace nibble::kernels {

// Magnitudes below this count as zero.
inline constexpr float blockEpsilon = 1e-15f;

// The element of largest magnitude, the first of several, with its sign.
inline float signedExtreme(const float* x, std::size_t n) {
  float largest = 0, extreme = 0;
  for (std::size_t i = 0; i < n; ++i)
    if (std::fabs(x[i]) > largest) {
      largest = std::fabs(x[i]);
      extreme = x[i];
    }
  return extreme;
}

// Sums of a least-squares fit x ~ scale * code.
struct FitSums {
  float products = 0;  // sum w x code
  float squares = 0;   // sum w code^2
  void add(float x, float w, float code) {
    products += w * x * code;
    squares += w * code * code;
  }
};

// x ~ scale * (code - top), codes 0..2 top - 1. Tries t = -(top + 0.1 step) / extreme for 19 steps, the plain one first.
inline float fitSigned(const float* x, const float* w, std::size_t n, int top, std::uint8_t* codes) {
  const float extreme = signedExtreme(x, n);
  if (std::fabs(extreme) < blockEpsilon) {
    for (std::size_t i = 0; i < n; ++i) codes[i] = 0;
    return 0;
  }
  const auto levelOf = [&](float inverse, std::size_t i) { return clampedTo(magicRound(inverse * x[i]), -top, top - 1); };
  const auto sumsOf = [&](float inverse) {
    FitSums sums;
    for (std::size_t i = 0; i < n; ++i) sums.add(x[i], w[i], static_cast<float>(levelOf(inverse, i)));
    return sums;
  };
  float bestInverse = static_cast<float>(-top) / extreme;
  const FitSums plain = sumsOf(bestInverse);
  float scale = plain.squares != 0.0f ? plain.products / plain.squares : 0.0f;
  float best = scale * plain.products;
  for (int step = -9; step <= 9; ++step) {
    if (step == 0) continue;
    const float inverse = -(static_cast<float>(top) + 0.1f * static_cast<float>(step)) / extreme;
    const FitSums sums = sumsOf(inverse);
    if (sums.squares > 0 && sums.products * sums.products > best * sums.squares) {
      scale = sums.products / sums.squares;
      best = scale * sums.products;
      bestInverse = inverse;
    }
  }
  for (std::size_t i = 0; i < n; ++i) codes[i] = static_cast<std::uint8_t>(levelOf(bestInverse, i) + top);
  return scale;
}

// Which candidates a fit of scale and minimum tries: t = (first + step * i + top) / (largest - smallest), i = 0..count.
struct MinimumSearch {
  int top;            // largest code
  float first, step;
  int count;
  bool absolute;      // the error is sum w |e|, not sum w e^2
};
inline constexpr MinimumSearch plainSearch2{3, -0.5f, 0.1f, 15, true};
inline constexpr MinimumSearch plainSearch4{15, -1.0f, 0.1f, 20, false};
inline constexpr MinimumSearch plainSearch5{31, -0.5f, 0.1f, 15, false};
constexpr MinimumSearch weightedSearch(int top) { return {top, -0.9f, 0.05f, 36, false}; }

struct ScaleAndMinimum {
  float scale = 0;
  float minimum = 0;  // negated: x ~ scale * code - minimum, minimum >= 0
};

namespace detail {

struct MinimumSums {
  float codes = 0, squares = 0, products = 0;  // sum w l, w l^2, w l x
};

inline int unsignedCode(float x, float inverse, float origin, int top) {
  return clampedTo(magicRound(inverse * (x - origin)), 0, top);
}

inline MinimumSums minimumSums(const float* x, const float* w, std::size_t n, float inverse, float origin, int top) {
  MinimumSums sums;
  for (std::size_t i = 0; i < n; ++i) {
    const auto code = static_cast<float>(unsignedCode(x[i], inverse, origin, top));
    const float weighted = w[i] * code;
    sums.codes += weighted;
    sums.squares += weighted * code;
    sums.products += weighted * x[i];
  }
  return sums;
}

// The error of scale * code + shift over codes that follow from inverse and origin.
inline float errorOf(const float* x, const float* w, std::size_t n, float inverse, float origin, float scale, float shift,
                     const MinimumSearch& search) {
  float error = 0;
  for (std::size_t i = 0; i < n; ++i) {
    const auto code = static_cast<float>(unsignedCode(x[i], inverse, origin, search.top));
    const float difference = scale * code + shift - x[i];
    error += w[i] * (search.absolute ? std::fabs(difference) : difference * difference);
  }
  return error;
}

}  // namespace detail

inline ScaleAndMinimum fitWithMinimum(const float* x, const float* w, std::size_t n, const MinimumSearch& search,
                                      std::uint8_t* codes) {
  float shift = x[0], largest = x[0], weightSum = w[0], sum = weightSum * x[0];
  for (std::size_t i = 1; i < n; ++i) {
    if (x[i] < shift) shift = x[i];
    if (x[i] > largest) largest = x[i];
    weightSum += w[i];
    sum += w[i] * x[i];
  }
  if (shift > 0) shift = 0;
  if (largest == shift) {
    for (std::size_t i = 0; i < n; ++i) codes[i] = 0;
    return {0, -shift};
  }
  // Codes follow from an inverse scale and the minimum of the moment, which moves with every improvement.
  float bestInverse = static_cast<float>(search.top) / (largest - shift), bestOrigin = shift;
  float scale = 1.0f / bestInverse;
  float bestError = detail::errorOf(x, w, n, bestInverse, bestOrigin, scale, shift, search);
  for (int i = 0; i <= search.count; ++i) {
    const float inverse =
        (search.first + search.step * static_cast<float>(i) + static_cast<float>(search.top)) / (largest - shift);
    const detail::MinimumSums sums = detail::minimumSums(x, w, n, inverse, shift, search.top);
    const float determinant = weightSum * sums.squares - sums.codes * sums.codes;
    if (!(determinant > 0)) continue;
    float newScale = (weightSum * sums.products - sum * sums.codes) / determinant;
    float newShift = (sums.squares * sum - sums.codes * sums.products) / determinant;
    if (newShift > 0) {
      newShift = 0;
      newScale = sums.products / sums.squares;
    }
    const float error = detail::errorOf(x, w, n, inverse, shift, newScale, newShift, search);
    if (!(error < bestError)) continue;
    bestError = error;
    bestInverse = inverse;
    bestOrigin = shift;
    scale = newScale;
    shift = newShift;
  }
  for (std::size_t i = 0; i < n; ++i)
    codes[i] = static_cast<std::uint8_t>(detail::unsignedCode(x[i], bestInverse, bestOrigin, search.top));
  return {scale, -shift};
}

// One weight's part of a fit changed, if that raises products^2 / squares: the coordinate descent both fits below end with.
inline bool improves(const FitSums& changed, const FitSums& now) {
  return changed.products * changed.products * now.squares > now.products * now.products * changed.squares;
}

// x ~ scale * (code - top), codes 0..2 top - 1, weighted by x^2: five rounds of moving single codes at most (q3_k unweighted).
inline float fitSignedByDescent(const float* x, std::size_t n, int top, std::uint8_t* codes) {
  const float extreme = signedExtreme(x, n);
  for (std::size_t i = 0; i < n; ++i) codes[i] = 0;
  if (std::fabs(extreme) < blockEpsilon) return 0;
  const float inverse = static_cast<float>(-top) / extreme;
  FitSums sums;
  for (std::size_t i = 0; i < n; ++i) {
    const int level = clampedTo(magicRound(inverse * x[i]), -top, top - 1);
    codes[i] = static_cast<std::uint8_t>(level + top);
    sums.add(x[i], x[i] * x[i], static_cast<float>(level));
  }
  bool moved = true;
  for (int round = 0; round < 5 && moved; ++round) {
    moved = false;
    for (std::size_t i = 0; i < n; ++i) {
      const float w = x[i] * x[i];
      const int level = codes[i] - top;
      FitSums changed{sums.products - w * x[i] * static_cast<float>(level),
                      sums.squares - w * static_cast<float>(level) * static_cast<float>(level)};
      if (!(changed.products > 0)) continue;
      const int next = clampedTo(magicRound(x[i] * changed.squares / changed.products), -top, top - 1);
      if (next == level) continue;
      changed.add(x[i], w, static_cast<float>(next));
      if (!(changed.squares > 0) || !improves(changed, sums)) continue;
      codes[i] = static_cast<std::uint8_t>(next + top);
      sums = changed;
      moved = true;
    }
  }
  return sums.squares > 0 ? sums.products / sums.squares : 0;
}

namespace detail {

// The inverse scale of smallest error among (top + 0.1 step) / largest, the plain one first.
inline float bestPositiveInverse(const float* x, const float* w, std::size_t n, int top, float largest) {
  const auto errorOf = [&](float inverse, bool clamp) {
    const float scale = 1.0f / inverse;
    float error = 0;
    for (std::size_t i = 0; i < n; ++i) {
      const int rounded = magicRound(inverse * x[i]);
      const int code = clamp ? (rounded < top ? rounded : top) : static_cast<std::uint8_t>(rounded);
      const float difference = x[i] - scale * static_cast<float>(code);
      error += w[i] * difference * difference;
    }
    return error;
  };
  float best = static_cast<float>(top) / largest;
  float bestError = errorOf(best, false);
  for (int step = -4; step <= 4; ++step) {
    if (step == 0) continue;
    const float inverse = (0.1f * static_cast<float>(step) + static_cast<float>(top)) / largest;
    const float error = errorOf(inverse, true);
    if (error < bestError) {
      bestError = error;
      best = inverse;
    }
  }
  return best;
}

}  // namespace detail

// x ~ scale * code, codes 0..top, of numbers that are not negative: the scales and minima of a super-block (weighted k-quants).
inline float fitPositive(const float* x, const float* w, std::size_t n, int top, std::uint8_t* codes) {
  float largest = 0;
  for (std::size_t i = 0; i < n; ++i) largest = largest > x[i] ? largest : x[i];
  for (std::size_t i = 0; i < n; ++i) codes[i] = 0;
  if (largest < blockEpsilon) return 0;
  const float inverse = detail::bestPositiveInverse(x, w, n, top, largest);
  FitSums sums;
  for (std::size_t i = 0; i < n; ++i) {
    const int rounded = magicRound(inverse * x[i]), code = rounded < top ? rounded : top;
    codes[i] = static_cast<std::uint8_t>(code);
    sums.add(x[i], w[i], static_cast<float>(code));
  }
  bool moved = true;
  for (int round = 0; round < 5 && moved; ++round) {
    moved = false;
    for (std::size_t i = 0; i < n; ++i) {
      const auto code = static_cast<float>(codes[i]);
      FitSums changed{sums.products - w[i] * x[i] * code, sums.squares - w[i] * code * code};
      if (!(changed.products > 0 && changed.squares > 0)) continue;
      const int rounded = magicRound(x[i] * changed.squares / changed.products), next = rounded < top ? rounded : top;
      if (next == codes[i]) continue;
      changed.add(x[i], w[i], static_cast<float>(next));
      if (!improves(changed, sums)) continue;
      codes[i] = static_cast<std::uint8_t>(next);
      sums = changed;
      moved = true;
    }
  }
  return sums.squares > 0 ? sums.products / sums.squares : 0;
}

}  // namespace nibble::kernels
