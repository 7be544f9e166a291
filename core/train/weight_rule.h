// SPDX-License-Identifier: GPL-3.0-or-later
// What stands between a tensor's trained weights and the layer that computes with them, one rule for each method:
//   DiffqRule  noise in place of quantization, bits per group that learn (noisy_tensor.h)
//   LsqRule    p^ = s rne(clamp(p / s, lo, hi)), s trained; dp = q where p / s lies within, else 0;
//              ds = sum q (lo, hi, or rne(p / s) - p / s) / sqrt(size hi)  (spec section 5.8)
//   SteRule    p^ = uniform quantization over the tensor's range, dp = q  (spec section 5.7)
//   FloatRule  the weights themselves: a tensor that is left alone
// Rules hold no parameters, only what lies between a forward and its backward. Calls are one per tensor, never per weight.
#pragma once
#include "core/base/context.h"
#include "core/quant/quantized_tensor.h"
#include "core/train/noise_source.h"
#include "core/train/noisy_tensor.h"
#include "core/train/parameter.h"

#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace nibble::train {

// The weights, and what a rule learns beside them: logits or a step size; null where there is none.
struct RuleInput {
  Parameter& weight;
  Parameter* own = nullptr;
};

template <class T>
class WeightRule {
 public:
  WeightRule() = default;
  WeightRule(const WeightRule&) = delete;
  WeightRule& operator=(const WeightRule&) = delete;
  virtual ~WeightRule() = default;

  // Fills the weights of one pass, [size of the tensor].
  virtual Status forward(const RuleInput& input, const Pass& pass, std::span<T> effective, const Context& context) = 0;
  // Adds `factor` times the gradients, from those by the last forward's weights.
  virtual void backward(const RuleInput& input, std::span<const T> gradient, double factor, const Context& context) = 0;

  // Bits of each group, extra bits included, and how many weights a group has; none: the tensor stays float.
  [[nodiscard]] virtual std::vector<double> bits(const Parameter* own) const = 0;
  [[nodiscard]] virtual std::uint64_t groupLength() const = 0;
  // Of the tensor, in bits: as the loss has it, and truly.
  [[nodiscard]] virtual double size(const Parameter* own) const = 0;
  [[nodiscard]] virtual double trueSize(const Parameter* own) const { return size(own); }
  // Adds `price` times the size's gradient to `own`.
  virtual void addSizeGradient(double /*price*/, Parameter* /*own*/) const {}

  // The tensor as it is finally stored, from its weights as float32, and its choice; none for a tensor that stays float.
  // Learned bits are in a file: `bitsFile`.
  virtual Result<std::optional<QuantizedTensor>> finished(const Tensor& weights, const Parameter* own,
                                                          const Context& context) = 0;
  [[nodiscard]] virtual std::string choice(const Parameter* own, const std::string& bitsFile) const = 0;
  // Learned bits without the extra ones, for that file; empty: nothing was learned per group.
  [[nodiscard]] virtual std::vector<double> learnedBits(const Parameter* /*own*/) const { return {}; }
  // The noise scale and noise of the last forward, for a viewer; empty where there is none.
  [[nodiscard]] virtual std::span<const T> noise() const { return {}; }
};

template <class T>
std::unique_ptr<WeightRule<T>> floatRule(std::uint64_t size, bool float16);
template <class T>
std::unique_ptr<WeightRule<T>> steRule(std::uint64_t size, int bits);
template <class T>
std::unique_ptr<WeightRule<T>> lsqRule(std::uint64_t size, int bits);
// `number` and `name` of the tensor are the noise's. The source outlives the rule.
template <class T>
std::unique_ptr<WeightRule<T>> diffqRule(std::uint64_t size, const DiffqSettings& settings, const NoiseSource& noise,
                                         std::size_t number, std::string name);

}  // namespace nibble::train
