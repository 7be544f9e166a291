// SPDX-License-Identifier: GPL-3.0-or-later
// Other descriptions of the same weights with the same codes: what conversion between formats is made of. None of these looks
// at a format; whether values stay the same is for the caller to measure.
#pragma once
#include "core/quant/quantized_tensor.h"

#include <optional>
#include <vector>

namespace nibble {

// Inputs in the model's order (none is kept), or sorted by group where groups are no runs of inputs. The tensor as it is comes
// first.
std::vector<QuantizedTensor> arrangements(const QuantizedTensor& tensor);
// Parameters as plain numbers of the types formats store. The tensor as it is comes first.
std::vector<QuantizedTensor> parameterTypes(const QuantizedTensor& tensor);
// Zeros before or after the product, and the roundings formats make. The tensor as it is comes first.
std::vector<QuantizedTensor> rules(const QuantizedTensor& tensor);

}  // namespace nibble
