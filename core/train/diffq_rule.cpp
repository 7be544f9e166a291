// SPDX-License-Identifier: GPL-3.0-or-later
// The rule of tensors whose bits learn.
#include "core/quant/group_stream.h"
#include "core/schemes/learned.h"
#include "core/train/weight_rule.h"

namespace nibble::train {
namespace {

template <class T>
class DiffqRule final : public WeightRule<T> {
 public:
  DiffqRule(std::uint64_t size, const DiffqSettings& settings, const NoiseSource& noise, std::size_t number, std::string name)
      : m_settings(settings),
        m_scale(settings),
        m_tensor(m_scale, size, settings.group),
        m_noise(noise),
        m_number(number),
        m_name(std::move(name)) {}

  Status forward(const RuleInput& input, const Pass& pass, std::span<T> effective, const Context& context) override {
    NIBBLE_TRY(m_noise.fill(pass, m_number, m_name, m_tensor.noise(), context));
    m_tensor.forward(input.weight.value, input.own->value, effective, context);
    return {};
  }
  void backward(const RuleInput& input, std::span<const T> gradient, double factor, const Context& context) override {
    m_tensor.backward(gradient, factor, input.weight.gradient, input.own->gradient, context);
  }
  [[nodiscard]] std::vector<double> bits(const Parameter* own) const override {
    std::vector<double> all = learnedBits(own);
    for (double& bits : all) bits += m_settings.extraBits;
    return all;
  }
  [[nodiscard]] std::uint64_t groupLength() const override { return m_tensor.length(); }
  [[nodiscard]] double size(const Parameter* own) const override {
    return sizeInBits(bits(own), m_tensor.length(), m_settings.minBits);
  }
  [[nodiscard]] double trueSize(const Parameter* own) const override {
    return trueSizeInBits(storedBits(own), m_tensor.length(), m_settings.minBits);
  }
  void addSizeGradient(double price, Parameter* own) const override {
    const double each = price * static_cast<double>(m_tensor.length());
    for (std::size_t g = 0; g < own->value.size(); ++g) own->gradient[g] += each * m_scale.bitsSlope(own->value[g]);
  }
  Result<std::optional<QuantizedTensor>> finished(const Tensor& weights, const Parameter* own,
                                                  const Context& context) override {
    std::vector<std::uint8_t> widths;
    widths.reserve(m_tensor.groups());
    for (const double b : storedBits(own)) widths.push_back(static_cast<std::uint8_t>(trueBits(b)));
    auto quantized = quantizeGroupBits(weights, m_tensor.length(), std::move(widths), context);
    if (!quantized) return fail(quantized.error());
    return std::optional<QuantizedTensor>(*std::move(quantized));
  }
  [[nodiscard]] std::string choice(const Parameter*, const std::string& bitsFile) const override {
    return groupBitsChoice("@" + bitsFile, m_settings.group, m_settings.extraBits);
  }
  [[nodiscard]] std::vector<double> learnedBits(const Parameter* own) const override {
    std::vector<double> all(own->value.size());
    for (std::size_t g = 0; g < all.size(); ++g) all[g] = m_scale.bits(own->value[g]);
    return all;
  }
  [[nodiscard]] std::span<const T> noise() const override { return m_tensor.noise(); }

 private:
  // As a file of bits gives them back, in float32: what is rounded here and there is the same.
  [[nodiscard]] std::vector<double> storedBits(const Parameter* own) const {
    std::vector<double> all = learnedBits(own);
    for (double& bits : all) bits = static_cast<double>(static_cast<float>(bits)) + m_settings.extraBits;
    return all;
  }
  DiffqSettings m_settings;
  BitScale m_scale;
  NoisyTensor<T> m_tensor;
  const NoiseSource& m_noise;
  std::size_t m_number;
  std::string m_name;
};

}  // namespace

template <class T>
std::unique_ptr<WeightRule<T>> diffqRule(std::uint64_t size, const DiffqSettings& settings, const NoiseSource& noise,
                                         std::size_t number, std::string name) {
  return std::make_unique<DiffqRule<T>>(size, settings, noise, number, std::move(name));
}

template std::unique_ptr<WeightRule<float>> diffqRule(std::uint64_t, const DiffqSettings&, const NoiseSource&, std::size_t,
                                                      std::string);
template std::unique_ptr<WeightRule<double>> diffqRule(std::uint64_t, const DiffqSettings&, const NoiseSource&, std::size_t,
                                                       std::string);

}  // namespace nibble::train
