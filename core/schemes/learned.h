// SPDX-License-Identifier: GPL-3.0-or-later
// What training learns for a scheme, without a file in between: bits per group (diffq.cpp), a step size (lsq.cpp). A trained
// layer is quantized by the very code that later exports it, and its choice's text is made where the scheme's keys are known.
#pragma once
#include "core/base/context.h"
#include "core/base/result.h"
#include "core/quant/quantized_tensor.h"
#include "core/tensor/tensor.h"

#include <cstdint>
#include <string>
#include <vector>

namespace nibble {

// DiffQ's true quantization, `bits` (1..15) for each group of `length` weights, which divides their count.
Result<QuantizedTensor> quantizeGroupBits(const Tensor& tensor, std::uint64_t length, std::vector<std::uint8_t> bits,
                                          const Context& context);
// `bits`: a number, or @FILE; `group` 0: one for the tensor.
std::string groupBitsChoice(const std::string& bits, std::uint64_t group, double extraBits);

// LSQ's quantization with a step size (positive, stored as float32), 2..8 bits.
Result<QuantizedTensor> quantizeByStep(const Tensor& tensor, int bits, float step, const Context& context);
std::string stepChoice(int bits, float step);
// Where the step size starts: 2 mean|w| / sqrt(2^(bits - 1)).
double firstStep(double meanMagnitude, int bits);

}  // namespace nibble
