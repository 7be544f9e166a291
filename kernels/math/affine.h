// SPDX-License-Identifier: GPL-3.0-or-later
// Ranges, scales and codes of affine quantization, inline for host and device: the one numeric truth of every backend.
// All arithmetic is float32, each operation rounded once; rounding to codes is half to even (nearbyint in the default mode).
// Sources: reference documents 000 and 001, HQQ 0.2.8 (half_quadratic.h).
#pragma once
#include "kernels/backend.h"
#include "kernels/math/both.h"

#include <cmath>

namespace nibble::kernels {

struct Range {
  float low = HUGE_VALF, high = -HUGE_VALF;
};

NIBBLE_BOTH inline void include(Range& range, float value) {
  range.low = value < range.low ? value : range.low;
  range.high = value > range.high ? value : range.high;
}

// A zero end is +0 whatever the order in which +0 and -0 came, so that ranges are equal to the bit on every backend.
NIBBLE_BOTH inline Range finished(Range range) {
  return {range.low + 0.0f, range.high + 0.0f};
}

// The value that becomes a code, before it is clamped. Finite w and a scale > 0 never give NaN; they may give infinity.
NIBBLE_BOTH inline float unclampedCode(CodeRule rule, float w, float scale, float zero) {
  switch (rule) {
    case CodeRule::DivideRoundAdd:
      return std::nearbyint(w / scale) + zero;
    case CodeRule::DivideAddRound:
      return std::nearbyint(w / scale + zero);
    case CodeRule::SubtractDivideRound:
      return std::nearbyint((w - zero) / scale);
    case CodeRule::MultiplyAddRound:
      return std::nearbyint(w * scale + zero);
  }
  return 0;
}

NIBBLE_BOTH inline float clampedCode(CodeRule rule, float w, float scale, float zero, float maxCode) {
  const float code = unclampedCode(rule, w, scale, zero);
  const float atLeastZero = code > 0.0f ? code : 0.0f;
  return std::nearbyint(atLeastZero < maxCode ? atLeastZero
                                              : maxCode);  // DivideRoundAdd with a fractional zero still ends on a code
}

// Document 001: the floor under a range, applied before it is divided by the number of steps.
inline constexpr float smallestRange = 1e-5f;
NIBBLE_BOTH inline float symmetricScale(Range range, float maxMagnitudeCode) {
  const float absMax = std::fmax(std::fabs(range.low), std::fabs(range.high));
  return std::fmax(absMax, smallestRange) / maxMagnitudeCode;
}
NIBBLE_BOTH inline float affineScale(Range range, float maxCode) {
  return std::fmax(range.high - range.low, smallestRange) / maxCode;
}

// Document 000: a constant group would divide 0 by 0; its step is 1, all its codes are 0 and it decodes to its minimum.
NIBBLE_BOTH inline float minmaxScale(Range range, float maxCode) {
  const float width = range.high - range.low;
  return width > 0.0f ? width / maxCode : 1.0f;
}

// Number of ascending thresholds below x.
NIBBLE_BOTH inline std::size_t rankOf(float x, std::span<const float> thresholds) {
  std::size_t first = 0, count = thresholds.size();
  while (count > 0) {
    const std::size_t half = count / 2;
    if (thresholds[first + half] < x) {
      first += half + 1;
      count -= half + 1;
    } else {
      count = half;
    }
  }
  return first;
}

}  // namespace nibble::kernels
