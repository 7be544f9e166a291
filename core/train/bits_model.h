// SPDX-License-Identifier: GPL-3.0-or-later
// Several layers trained together while their weights are quantized, or noise stands for it (weight_rule.h):
//   loss = sum over layers of the mean of (y - target)^2 + lambda x size in MB,   y = x W~^T + bias
// Weights and biases train; biases stay float. Equal tensors are one parameter, quantized and counted once, where they may be
// bound. Internal to core/train: bits.h makes it. Parameters: weight, bias, logits or step, with "TENSOR/" before them when
// several tensors train. Arrays to look at, likewise: x, noisy (W~), noise, bits, y and output, target, bias, grad/P.
#pragma once
#include "core/train/bits.h"
#include "core/train/weight_rule.h"

#include <Eigen/Core>

#include <limits>

namespace nibble::train {

inline constexpr std::size_t noParameter = std::numeric_limits<std::size_t>::max();

// A distinct weight tensor: its parameters (indices) and rule.
template <class T>
struct BitsTensor {
  std::string name;
  Shape shape;  // [out, in]
  std::size_t weight = 0, own = noParameter;
  std::unique_ptr<WeightRule<T>> rule;
  std::vector<T> effective;  // of the last pass
  std::vector<double> bits;  // likewise
};

template <class T>
struct BitsLayer {
  std::string name;
  std::size_t tensor = 0, bias = noParameter;  // of the tensors; of the parameters
  std::uint64_t rows = 0, columns = 0, tokens = 0;
  std::vector<T> inputs, targets;  // [tokens, columns], [tokens, rows] (empty for LossKind::Sum)
  // Of the last pass.
  RowRange passRows;
  std::vector<T> output;  // [passRows.count, rows]
  double loss = 0;
};

template <class T>
struct BitsParts {
  TrainSettings settings;
  std::vector<Parameter> parameters;
  std::unique_ptr<NoiseSource> noise;
  std::vector<BitsTensor<T>> tensors;
  std::vector<BitsLayer<T>> layers;
};

template <class T>
class BitsModel final : public Trainable {
 public:
  static Result<std::unique_ptr<Trainable>> make(BitsParts<T> parts);

  using Trainable::parameters;
  std::vector<Parameter>& parameters() override { return m_parts.parameters; }
  Result<double> pass(const Pass& pass, const Context& context) override;
  // The task loss of the truly quantized layers; what stays float is rounded to float16 where it is stored so.
  Result<double> evaluate(const Context& context) override;
  [[nodiscard]] std::vector<Figure> figures() const override { return m_figures; }
  [[nodiscard]] std::vector<std::string> arrayNames() const override;
  [[nodiscard]] Result<NamedArray> array(std::string_view name) const override;
  Result<std::vector<Figure>> finalFigures(const Context& context) override;
  Result<std::vector<std::string>> write(const std::filesystem::path& folder, const Context& context) override;
  [[nodiscard]] std::uint64_t dataChecksum() const override { return m_checksum; }
  bool setLambda(double lambda) override;

 private:
  explicit BitsModel(BitsParts<T> parts) : m_parts(std::move(parts)) {}
  [[nodiscard]] RuleInput inputOf(const BitsTensor<T>& tensor);
  [[nodiscard]] const Parameter* ownOf(const BitsTensor<T>& tensor) const;
  // The layer's output and loss with these weights; `gradient` (its size is set here) gets the loss's gradient by them.
  Result<double> run(BitsLayer<T>& layer, std::span<const T> weights, std::span<const T> bias, const RowRange& rows,
                     std::vector<T>* gradient, double factor, const Context& context);
  // Sum of the layers' losses over all rows with weights[i] for tensor i.
  Result<double> lossOf(const std::vector<std::vector<T>>& weights, bool stored, const Context& context);
  Result<std::vector<std::vector<T>>> finished(const Context& context);
  [[nodiscard]] std::vector<T> biasOf(const BitsLayer<T>& layer, bool stored) const;
  [[nodiscard]] double sizeMb(bool exact) const;
  void findFigures(double task);
  void addBitFigures(std::vector<Figure>& figures, bool rounded) const;
  [[nodiscard]] std::string head(const std::string& name) const { return m_parts.layers.size() == 1 ? "" : name + "/"; }
  [[nodiscard]] RawTensor stored(const Parameter& parameter, std::string name, Shape shape, bool leftFloat) const;

  BitsParts<T> m_parts;
  std::vector<Figure> m_figures;
  std::uint64_t m_checksum = 0;
  bool m_passed = false;
};

extern template class BitsModel<float>;
extern template class BitsModel<double>;

}  // namespace nibble::train
