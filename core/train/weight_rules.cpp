// SPDX-License-Identifier: GPL-3.0-or-later
// The rules of tensors whose bits do not learn.
#include "core/base/text.h"
#include "core/quant/decode.h"
#include "core/schemes/learned.h"
#include "core/train/weight_rule.h"
#include "kernels/backend.h"

#include <algorithm>
#include <cmath>

namespace nibble::train {
namespace {

constexpr std::size_t strip = 32768;
constexpr double rangeBits = 64, stepBits = 32;

void addScaled(std::vector<double>& into, auto gradient, double factor, const Context& context) {
  const auto body = [&](std::size_t begin, std::size_t end) {
    for (std::size_t i = begin; i < end; ++i) into[i] += factor * static_cast<double>(gradient[i]);
  };
  context.backend->parallelFor(into.size(), strip, body);
}

template <class T>
class FloatRule final : public WeightRule<T> {
 public:
  FloatRule(std::uint64_t size, bool float16) : m_bits(static_cast<double>(size) * (float16 ? 16 : 32)) {}
  Status forward(const RuleInput& input, const Pass&, std::span<T> effective, const Context&) override {
    std::copy(input.weight.value.begin(), input.weight.value.end(), effective.begin());
    return {};
  }
  void backward(const RuleInput& input, std::span<const T> gradient, double factor, const Context& context) override {
    addScaled(input.weight.gradient, gradient, factor, context);
  }
  [[nodiscard]] std::vector<double> bits(const Parameter*) const override { return {}; }
  [[nodiscard]] std::uint64_t groupLength() const override { return 0; }
  [[nodiscard]] double size(const Parameter*) const override { return m_bits; }
  Result<std::optional<QuantizedTensor>> finished(const Tensor&, const Parameter*, const Context&) override {
    return std::optional<QuantizedTensor>();
  }
  [[nodiscard]] std::string choice(const Parameter*, const std::string&) const override { return {}; }

 private:
  double m_bits;
};

template <class T>
class SteRule final : public WeightRule<T> {
 public:
  SteRule(std::uint64_t size, int bits) : m_size(size), m_bits(bits) {}
  // Through the quantizer and decoder themselves: a forward computes with what an export holds.
  Status forward(const RuleInput& input, const Pass&, std::span<T> effective, const Context& context) override {
    const Tensor tensor =
        Tensor::fromFloats(input.weight.name, {1, m_size}, {input.weight.value.begin(), input.weight.value.end()});
    const auto quantized = finished(tensor, nullptr, context);
    if (!quantized) return fail(quantized.error());
    const auto body = [&](std::size_t begin, std::size_t end) {
      std::vector<float> part(end - begin);
      decode(**quantized, begin, part);
      std::copy(part.begin(), part.end(), effective.begin() + static_cast<std::ptrdiff_t>(begin));
    };
    context.backend->parallelFor(m_size, strip, body);
    return {};
  }
  void backward(const RuleInput& input, std::span<const T> gradient, double factor, const Context& context) override {
    addScaled(input.weight.gradient, gradient, factor, context);
  }
  [[nodiscard]] std::vector<double> bits(const Parameter*) const override { return {static_cast<double>(m_bits)}; }
  [[nodiscard]] std::uint64_t groupLength() const override { return m_size; }
  [[nodiscard]] double size(const Parameter*) const override { return static_cast<double>(m_size) * m_bits + rangeBits; }
  Result<std::optional<QuantizedTensor>> finished(const Tensor& weights, const Parameter*, const Context& context) override {
    auto quantized = quantizeGroupBits(weights, m_size, {static_cast<std::uint8_t>(m_bits)}, context);
    if (!quantized) return fail(quantized.error());
    return std::optional<QuantizedTensor>(*std::move(quantized));
  }
  [[nodiscard]] std::string choice(const Parameter*, const std::string&) const override {
    return groupBitsChoice(std::to_string(m_bits), 0, 0);
  }

 private:
  std::uint64_t m_size;
  int m_bits;
};

template <class T>
class LsqRule final : public WeightRule<T> {
 public:
  LsqRule(std::uint64_t size, int bits)
      : m_size(size),
        m_bits(bits),
        m_low(-static_cast<T>(1 << (bits - 1))),
        m_high(static_cast<T>((1 << (bits - 1)) - 1)),
        m_stepFactor(1 / std::sqrt(static_cast<double>(size) * static_cast<double>(m_high))) {}

  Status forward(const RuleInput& input, const Pass&, std::span<T> effective, const Context& context) override {
    NIBBLE_TRY(checkStep(*input.own));
    m_step = static_cast<T>(input.own->value[0]);
    const auto body = [&](std::size_t begin, std::size_t end) {
      for (std::size_t i = begin; i < end; ++i)
        effective[i] = m_step * std::nearbyint(std::clamp(static_cast<T>(input.weight.value[i]) / m_step, m_low, m_high));
    };
    context.backend->parallelFor(m_size, strip, body);
    return {};
  }
  void backward(const RuleInput& input, std::span<const T> gradient, double factor, const Context& context) override {
    std::vector<double> sums((m_size + strip - 1) / strip);
    const auto body = [&](std::size_t begin, std::size_t end) {
      double sum = 0;
      for (std::size_t i = begin; i < end; ++i) {
        const auto q = static_cast<double>(gradient[i]);
        const T place = static_cast<T>(input.weight.value[i]) / m_step;
        const bool within = m_low <= place && place <= m_high;
        if (within) input.weight.gradient[i] += factor * q;
        sum += q * static_cast<double>(within ? std::nearbyint(place) - place : place < m_low ? m_low : m_high);
      }
      sums[begin / strip] = sum;
    };
    context.backend->parallelFor(m_size, strip, body);
    for (const double sum : sums) input.own->gradient[0] += factor * m_stepFactor * sum;
  }
  [[nodiscard]] std::vector<double> bits(const Parameter*) const override { return {static_cast<double>(m_bits)}; }
  [[nodiscard]] std::uint64_t groupLength() const override { return m_size; }
  [[nodiscard]] double size(const Parameter*) const override { return static_cast<double>(m_size) * m_bits + stepBits; }
  Result<std::optional<QuantizedTensor>> finished(const Tensor& weights, const Parameter* own,
                                                  const Context& context) override {
    NIBBLE_TRY(checkStep(*own));
    auto quantized = quantizeByStep(weights, m_bits, static_cast<float>(own->value[0]), context);
    if (!quantized) return fail(quantized.error());
    return std::optional<QuantizedTensor>(*std::move(quantized));
  }
  [[nodiscard]] std::string choice(const Parameter* own, const std::string&) const override {
    return stepChoice(m_bits, static_cast<float>(own->value[0]));
  }

 private:
  static Status checkStep(const Parameter& step) {
    if (static_cast<float>(step.value[0]) > 0) return {};
    return fail(step.name + ": training has moved the step size to " + text::number(step.value[0]) +
                ", which is not positive: take a smaller learning rate");
  }
  std::uint64_t m_size;
  int m_bits;
  T m_low, m_high;
  double m_stepFactor;
  T m_step = 1;
};

}  // namespace

template <class T>
std::unique_ptr<WeightRule<T>> floatRule(std::uint64_t size, bool float16) {
  return std::make_unique<FloatRule<T>>(size, float16);
}
template <class T>
std::unique_ptr<WeightRule<T>> steRule(std::uint64_t size, int bits) {
  return std::make_unique<SteRule<T>>(size, bits);
}
template <class T>
std::unique_ptr<WeightRule<T>> lsqRule(std::uint64_t size, int bits) {
  return std::make_unique<LsqRule<T>>(size, bits);
}

template std::unique_ptr<WeightRule<float>> floatRule(std::uint64_t, bool);
template std::unique_ptr<WeightRule<double>> floatRule(std::uint64_t, bool);
template std::unique_ptr<WeightRule<float>> steRule(std::uint64_t, int);
template std::unique_ptr<WeightRule<double>> steRule(std::uint64_t, int);
template std::unique_ptr<WeightRule<float>> lsqRule(std::uint64_t, int);
template std::unique_ptr<WeightRule<double>> lsqRule(std::uint64_t, int);

}  // namespace nibble::train
