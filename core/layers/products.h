// SPDX-License-Identifier: GPL-3.0-or-later
// Products of two quantized matrices, activations [tokens, in] and weights [out, in], to outputs [tokens, out]:
//   integer    8-bit codes, 32-bit sums, the zero points' corrections in 64 bits; one rounding at the end:
//              y = float32(double(scale_x) scale_w (corrected sum) + bias)
//   simulated  the same over doubles. Where both factor into integers the sums are those integers, exactly, and the outputs are
//              equal to the bit; elsewhere products of decoded values are summed in double, in one order.
// Order, channel scale and rotation are the caller's (stored_inputs.h).
#pragma once
#include "core/base/context.h"
#include "core/base/result.h"
#include "core/layers/integer_rows.h"

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace nibble {

// a [aRows, columns] times b [bRows, columns] transposed, in double; the sum over columns has one order whatever the threads.
Result<std::vector<double>> productsInDouble(std::span<const float> a, std::uint64_t aRows, std::span<const float> b,
                                             std::uint64_t bRows, std::uint64_t columns, const Context& context);

// The corrected integer sums [tokens, out].
Result<std::vector<std::int64_t>> integerSums(const IntegerRows& inputs, const IntegerRows& weights, const Context& context);
Result<std::vector<float>> integerProduct(const IntegerRows& inputs, const IntegerRows& weights, std::span<const float> bias,
                                          const Context& context);
Result<std::vector<float>> simulatedProduct(const QuantizedTensor& inputs, const QuantizedTensor& weights,
                                            std::span<const float> bias, const Context& context);

struct QuantizedProduct {
  std::vector<float> outputs;  // [tokens, out]
  bool integer = false;
  std::string reason;          // why it was simulated; empty: it was not
};
// Integers where both factor, else simulated. `bias` is empty or one number per output.
Result<QuantizedProduct> quantizedProduct(const QuantizedTensor& inputs, const QuantizedTensor& weights,
                                          std::span<const float> bias, const Context& context);

}  // namespace nibble
