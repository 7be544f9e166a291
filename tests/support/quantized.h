// SPDX-License-Identifier: GPL-3.0-or-later
// What a choice makes of a tensor, for tests of what comes after it. Stops the test's program where it makes nothing.
#pragma once
#include "core/quant/quantized_tensor.h"
#include "core/tensor/tensor.h"

#include <string>

namespace nibble::test {

QuantizedTensor quantized(const Tensor& tensor, const std::string& choice);

}  // namespace nibble::test
