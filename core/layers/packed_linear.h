// SPDX-License-Identifier: GPL-3.0-or-later
// A linear layer on packed weights of any description (uniform, mixed widths, tables, nested scales, order, channel scale,
// rotation). Weights are decoded a tile of output rows at a time, never the whole matrix in float:
//   y  = x W^T + b     x [tokens, in], y [tokens, out]
//   dX = dY W          dW = dY^T x [out, in]         db = sum over tokens of dY
// Activations are float32, float16 or bfloat16: inputs are rounded to that type (which changes nothing where they have it),
// products and sums are float32, each rounded by itself, outputs and dX are rounded once. The order of sums is that of
// kernels/linear.h (y) or ascending outputs (dX) and tokens (dW, db): results are equal on every backend and thread count.
// Errors: sizes that do not fit, cancelled, memory; each names the layer. Immutable; safe to use from many threads.
#pragma once
#include "core/base/context.h"
#include "core/base/result.h"
#include "core/quant/quantized_tensor.h"

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace nibble {

class PackedLinear {
 public:
  // `bias` is empty or one number per output. Activation types: F32, F16, BF16.
  static Result<PackedLinear> make(std::string name, QuantizedTensor weights, std::vector<float> bias = {},
                                   FloatType activations = FloatType::F32);

  [[nodiscard]] const std::string& name() const { return m_name; }
  [[nodiscard]] std::uint64_t inputs() const { return m_weights.columns; }
  [[nodiscard]] std::uint64_t outputs() const { return m_weights.rows; }
  // The weights in stored order, without order, channel scale and rotation.
  [[nodiscard]] const QuantizedTensor& storedWeights() const { return m_weights; }

  [[nodiscard]] Result<std::vector<float>> forward(std::span<const float> x, const Context& context) const;
  [[nodiscard]] Result<std::vector<float>> inputGradient(std::span<const float> dy, const Context& context) const;
  // Added to `gradient` [out, in], in the model's order of inputs.
  Status addWeightGradient(std::span<const float> x, std::span<const float> dy, std::span<float> gradient,
                           const Context& context) const;
  [[nodiscard]] Result<std::vector<float>> biasGradient(std::span<const float> dy) const;

 private:
  PackedLinear() = default;
  [[nodiscard]] Result<std::uint64_t> tokensOf(std::size_t size, std::uint64_t channels, const char* what) const;
  [[nodiscard]] std::vector<float> rounded(std::span<const float> values) const;

  std::string m_name;
  QuantizedTensor m_weights;  // stored order
  QuantizedTensor m_frame;    // order, channel scale and rotation alone, without codes
  std::vector<float> m_bias;
  FloatType m_type = FloatType::F32;
};

}  // namespace nibble
