// SPDX-License-Identifier: GPL-3.0-or-later
// One proximal iteration of half-quadratic quantization (HQQ 0.2.8, "legacy" solver), inline for host and device.
// With inverse scale S and zero z of a group, codes q = clamp(rne(w S + z)), residual e = w - (q - z) / S:
//     z  <-  mean over the group of  q - (w - shrink(e)) S,      shrink(e) = sign(e) max(0, |e| - |e|^(p-1) / beta)
// The residual is taken in code units, d = (w S + z) - q and e = d / S, which needs no division per weight.
// Sums that decide (the mean, and the error that stops the loop) have one order everywhere:
//   a group's terms are added in float32 over blocks of 32 weights, the blocks' sums in double;
//   the groups' errors are added in double, for each chunk of 256 groups in 16 sums (group number mod 16), then those 16 in
//   order, then the chunks in order.
#pragma once
#include "kernels/backend.h"
#include "kernels/math/both.h"

#include <cmath>

namespace nibble::kernels {

inline constexpr std::size_t halfQuadraticBlock = 32;
inline constexpr std::size_t halfQuadraticLanes = 16;
inline constexpr std::size_t halfQuadraticChunk = 256;

// Inverse scale and first zero of a group with this range (reference: narrow groups keep S = 1, S is at most 20000). The
// reference divides a number by a tensor, which there is the reciprocal times the number: two roundings.
NIBBLE_BOTH inline void halfQuadraticStart(float low, float high, float maxCode, float* inverseScale, float* zero) {
  const float width = high - low;
  float scale = std::fabs(width) <= 1e-4f ? 1.0f : 1.0f / width * maxCode;
  if (scale > 2e4f) scale = 2e4f;
  *inverseScale = scale;
  *zero = -low * scale;
}

// A device's float32 power may be some last bits off. Taken in double and rounded once it is the host's, whose own is within
// 0.52 of a last bit: a difference is possible in principle, and then one of rounding.
NIBBLE_BOTH inline float powerOf(float base, float exponent) {
#ifdef __CUDA_ARCH__
  return static_cast<float>(std::pow(static_cast<double>(base), static_cast<double>(exponent)));
#else
  return std::pow(base, exponent);
#endif
}

struct Shrink {
  float inverseBeta, exponent, threshold;
  explicit Shrink(const HalfQuadraticSettings& settings)
      : inverseBeta(static_cast<float>(1.0 / static_cast<double>(settings.beta))),
        exponent(static_cast<float>(static_cast<double>(settings.p) - 1.0)),
        // Below beta^(-1/(2-p)) the penalty exceeds the residual and the result is exactly 0, so the power need not be taken.
        // The margin covers the rounding of the power.
        threshold(static_cast<float>(
            std::pow(static_cast<double>(settings.beta), -1.0 / (2.0 - static_cast<double>(settings.p))) * (1.0 - 1e-5))) {}
  NIBBLE_BOTH float operator()(float residual) const {
    const float magnitude = std::fabs(residual);
    const float shrunk = magnitude - inverseBeta * powerOf(magnitude, exponent);
    return shrunk > 0.0f ? std::copysign(shrunk, residual) : 0.0f;
  }
};

// What one group has in common over its weights.
struct HalfQuadraticGroup {
  float inverseScale, scale, zero;
  float limit;  // of |d|: above it shrink is computed
  NIBBLE_BOTH HalfQuadraticGroup(float inverse, float zeroPoint, const Shrink& shrink)
      : inverseScale(inverse), scale(1.0f / inverse), zero(zeroPoint), limit(shrink.threshold * inverse) {}
};

struct HalfQuadraticTerm {
  float error;  // |d|, code units
  float term;   // of the mean that becomes the next zero
};

NIBBLE_BOTH inline HalfQuadraticTerm halfQuadraticTerm(float w, const HalfQuadraticGroup& group, float maxCode,
                                                       const Shrink& shrink) {
  const float scaled = w * group.inverseScale;
  const float x = scaled + group.zero;
  const float atLeastZero = x > 0.0f ? x : 0.0f;
  const float code = std::nearbyint(atLeastZero < maxCode ? atLeastZero : maxCode);
  const float d = x - code;
  if (std::fabs(d) <= group.limit) return {std::fabs(d), code - scaled};
  return {std::fabs(d), code - (w - shrink(d * group.scale)) * group.inverseScale};
}

// Which iteration ends the loop: the first whose mean error is not smaller, in float32, than the best before, or the last.
inline int halfQuadraticStop(const double* meanErrors, int iterations) {
  float best = HUGE_VALF;
  for (int i = 0; i < iterations; ++i) {
    const auto error = static_cast<float>(meanErrors[i]);
    if (!(error < best)) return i + 1;
    best = error;
  }
  return iterations;
}

}  // namespace nibble::kernels
