// SPDX-License-Identifier: GPL-3.0-or-later
// The value rule in float16 and bfloat16, weight by weight, vectorized for the machine at hand: what runtimes compute that
// decode in half precision (GPTQ, AWQ, EXL2, MBWQ, MLX, FP8 checkpoints). Each operation is rounded to the type of the steps,
// the value to the type of the result, half to even; overflow is infinite, NaN stays NaN. Equal to minifloat.h's roundTo to the
// bit.
#pragma once
#include "kernels/math/minifloat.h"

#include <cstddef>

namespace nibble::kernels {

enum class NarrowRule : std::uint8_t {
  Level,               // level
  Scale,               // scale level
  ScaleMinusZero,      // (level - zero) scale
  ScalePlusBias,       // scale level + zero
  FusedScalePlusBias,  // the same rounded once; exact where a product of scale and level and its sum with zero fit a double
  FusedHalves,         // the same of halves and levels up to mostExactLevel, whose products are exact in float32: twice the lanes
};

inline constexpr int mostExactLevel = 1 << 13;  // 11 bits of a half and 13 of a whole number are the 24 of a float32

inline constexpr std::size_t narrowPadding = 16;  // arrays are read and written up to the next multiple of this

// Whether there is a path for these types: half or bfloat16 throughout, or one of them for the result of float32 steps (which
// cannot be fused).
bool hasNarrowRule(NarrowRule rule, FloatType step, FloatType result);

// out[i] is the value of weight i, for i < count; it may be `levels`. Scale and zero are not read where the rule has none. Any
// thread.
void applyNarrowRule(NarrowRule rule, FloatType step, FloatType result, std::size_t count, const float* levels,
                     const float* scale, const float* zero, float* out);

}  // namespace nibble::kernels
