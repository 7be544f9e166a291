// SPDX-License-Identifier: GPL-3.0-or-later
// A quantized matrix whose rows are plain integers under one scale each, so that a product of two of them is an integer product:
//   value[r, c] = scale[r] * (code[r, c] - zero[r])      code -128..127 (counted from the middle of the width), zero an integer
//   sum over c of value_a value_b = scale_a scale_b (sum code_a code_b - zero_a sum code_b - zero_b sum code_a + n zero_a zero_b)
// Rows are the tokens of activations and the output channels of weights. Source: spec uniform 1.5.
#pragma once
#include "core/base/result.h"
#include "core/quant/quantized_tensor.h"

#include <cstdint>
#include <vector>

namespace nibble {

struct IntegerRows {
  std::uint64_t rows = 0, columns = 0;
  std::vector<std::int8_t> codes;    // [rows, columns]
  std::vector<std::int32_t> zero;    // one per row
  std::vector<std::int32_t> sum;     // of a row's codes
  std::vector<float> scale;          // one per row
};

// 128 x 128 x columns must stay below 2^31.
inline constexpr std::uint64_t mostIntegerColumns = 131071;

// The error is the reason why it is none: levels that are no integers, scales that change along a row, ...
Result<IntegerRows> integerRows(const QuantizedTensor& tensor);

}  // namespace nibble
