// SPDX-License-Identifier: GPL-3.0-or-later
// The inputs of a layer as its stored weights meet them. A tensor's order, channel scale and rotation belong to the input
// dimension; the decoder undoes them on the weights, a layer does them to what comes in, with the same product:
//   y = x W^T = x' S^T    S the stored weights, x' = storedInputs(x), both [.., in]
// Sums are float32 in one order, so that every backend gets the same bits.
#pragma once
#include "core/quant/quantized_tensor.h"

#include <cstdint>
#include <span>
#include <vector>

namespace nibble {

// x [tokens, in], row-major.
std::vector<float> storedInputs(const QuantizedTensor& tensor, std::span<const float> x, std::uint64_t tokens);
// The way back for gradients: dx [tokens, in] of the model from those of the stored inputs (the transposed map).
std::vector<float> gradientsOfInputs(const QuantizedTensor& tensor, std::span<const float> stored, std::uint64_t tokens);
// The stored weights by themselves: without order, channel scale and rotation.
QuantizedTensor storedWeights(QuantizedTensor tensor);

}  // namespace nibble
