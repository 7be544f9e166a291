// SPDX-License-Identifier: GPL-3.0-or-later
// Error sums and histogram bins, inline for host and device. Sums are of double errors w - r, bins of float32 ones.
#pragma once
#include "kernels/backend.h"
#include "kernels/math/both.h"

#include <bit>
#include <cmath>

namespace nibble::kernels {

NIBBLE_BOTH inline void include(ErrorSums& sums, float w, float r) {
  const double wideW = static_cast<double>(w), e = wideW - static_cast<double>(r);
  ++sums.count;
  sums.error += e;
  sums.errorSquared += e * e;
  sums.weightSquared += wideW * wideW;
  sums.weightError += wideW * e;
  const float magnitude = std::fabs(w - r);
  if (magnitude > sums.maxError) sums.maxError = magnitude;
}

// Bins of equal width over [low, high]; what lies outside counts in the first or last. A range without width has bin 0 alone.
struct Binning {
  float low, factor, last;
  Binning(float lowEnd, float highEnd, std::size_t bins)
      : low(lowEnd),
        factor(highEnd > lowEnd ? static_cast<float>(static_cast<double>(bins) /
                                                     (static_cast<double>(highEnd) - static_cast<double>(lowEnd)))
                                : 0.0f),
        last(static_cast<float>(bins - 1)) {
    // A range of a few denormals: the factor overflows, and everything above `low` belongs in the last bin.
    if (factor > 3.0e38f) factor = 3.0e38f;
  }
  [[nodiscard]] NIBBLE_BOTH std::size_t operator()(float value) const {
    const float place = (value - low) * factor;
    const float atLeastZero = place > 0.0f ? place : 0.0f;
    return static_cast<std::size_t>(atLeastZero < last ? atLeastZero : last);
  }
};

NIBBLE_BOTH inline bool isFinite(float value) {
  return (std::bit_cast<std::uint32_t>(value) & 0x7F800000u) != 0x7F800000u;
}

}  // namespace nibble::kernels
