// SPDX-License-Identifier: GPL-3.0-or-later
// Scales of one EXL2 group: all outputs together under one float16 maximum, each with a 4-bit root
// (core/quant/square_scales.h).
//
//   base[n] = 2 (max_k |w[k, n]| + 1e-12) / (2^bits - 1)      top = max_n base[n]
//   root[n] = clamp(rne(16 sqrt(base[n] / top)), 1, 16)       ideal[n] = top (root[n] / 16)^2
//   p       = the first of 0.70 + 0.50 i / 96, i = 0..96, with the least sum over k, n of
//             |clamp(rne(w / (ideal p)), -2^(bits-1), 2^(bits-1) - 1) ideal p - w|^3.5
//   maximum = half(top p)
//
// in float32, sums in double in one order. Source: exllamav2 0.3.2, adaptive GPTQ quantizer.
#pragma once
#include "core/base/result.h"

#include <cstdint>
#include <span>
#include <vector>

namespace nibble {

struct GroupScales {
  std::uint16_t maximum = 0;        // bits of a half
  std::vector<std::uint8_t> codes;  // root - 1, one per output
  std::vector<float> scale;         // as they decode
};

// weights: [inputs, outputs] row-major. Error: a maximum that does not fit float16.
Result<GroupScales> searchSquareScales(std::span<const float> weights, std::uint64_t outputs, int bits);

// clamp(rne(w / scale) + 2^(bits-1), 0, 2^bits - 1); the middle where the scale is 0.
std::uint8_t squareCode(float weight, float scale, int bits);

}  // namespace nibble
