// SPDX-License-Identifier: GPL-3.0-or-later
#include "core/train/bits_model.h"

#include "core/base/text.h"
#include "core/quant/decode.h"
#include "kernels/backend.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace nibble::train {
namespace {

using Eigen::Index;

template <class T>
using Matrix = Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
template <class T>
using View = Eigen::Map<const Matrix<T>>;

constexpr std::size_t tileRows = 128, decodeStrip = 65536;

Index index(std::uint64_t value) {
  return static_cast<Index>(value);
}

}  // namespace

template <class T>
Result<std::unique_ptr<Trainable>> BitsModel<T>::make(BitsParts<T> parts) {
  std::unique_ptr<BitsModel<T>> model(new BitsModel<T>(std::move(parts)));
  auto sum = model->m_parts.noise->checksum();
  if (!sum) return fail(sum.error());
  for (const BitsLayer<T>& layer : model->m_parts.layers) {
    *sum = checksum(std::span<const T>(layer.inputs), *sum);
    *sum = checksum(std::span<const T>(layer.targets), *sum);
  }
  for (const Parameter& parameter : model->m_parts.parameters) *sum = checksum(std::span<const double>(parameter.value), *sum);
  model->m_checksum = *sum;
  return std::unique_ptr<Trainable>(std::move(model));
}

template <class T>
RuleInput BitsModel<T>::inputOf(const BitsTensor<T>& tensor) {
  return {m_parts.parameters[tensor.weight], tensor.own == noParameter ? nullptr : &m_parts.parameters[tensor.own]};
}

template <class T>
const Parameter* BitsModel<T>::ownOf(const BitsTensor<T>& tensor) const {
  return tensor.own == noParameter ? nullptr : &m_parts.parameters[tensor.own];
}

template <class T>
std::vector<T> BitsModel<T>::biasOf(const BitsLayer<T>& layer, bool stored) const {
  if (layer.bias == noParameter) return {};
  const std::vector<double>& values = m_parts.parameters[layer.bias].value;
  std::vector<T> bias(values.begin(), values.end());
  if (stored && m_parts.settings.diffq.float16)
    for (T& value : bias) value = static_cast<T>(storedAs(NumberType::F16, static_cast<double>(value)));
  return bias;
}

template <class T>
Result<double> BitsModel<T>::run(BitsLayer<T>& layer, std::span<const T> weights, std::span<const T> bias, const RowRange& rows,
                                 std::vector<T>* gradient, double factor, const Context& context) {
  if (rows.count == 0) return fail(layer.name + ": a pass without rows: fewer rows of inputs than passes in a step");
  const Index n = index(rows.count), in = index(layer.columns);
  const bool squares = m_parts.settings.loss == LossKind::MeanSquares;
  const double count = static_cast<double>(rows.count) * static_cast<double>(layer.rows);
  const auto slope = static_cast<T>(2 / count);
  layer.passRows = rows;
  layer.output.resize(rows.count * layer.rows);
  if (gradient != nullptr) gradient->resize(weights.size());
  const View<T> x(layer.inputs.data() + rows.begin * layer.columns, n, in);
  std::vector<double> sums((layer.rows + tileRows - 1) / tileRows);
  const auto body = [&](std::size_t begin, std::size_t end) {
    if (context.stopRequested()) return;
    const Index width = index(end - begin);
    Matrix<T> y(n, width);
    y.noalias() = x * View<T>(weights.data() + begin * layer.columns, width, in).transpose();
    double sum = 0;
    std::vector<double> biasSums(end - begin);
    for (Index row = 0; row < n; ++row) {
      const std::size_t place = static_cast<std::size_t>(row) * layer.rows + begin;
      for (Index j = 0; j < width; ++j) {
        const std::size_t at = static_cast<std::size_t>(j);
        const T value = bias.empty() ? y(row, j) : y(row, j) + bias[begin + at];
        layer.output[place + at] = value;
        const T error = squares ? value - layer.targets[rows.begin * layer.rows + place + at] : value;
        sum += squares ? static_cast<double>(error) * static_cast<double>(error) : static_cast<double>(value);
        y(row, j) = squares ? slope * error : T(1);
        biasSums[at] += static_cast<double>(y(row, j));
      }
    }
    sums[begin / tileRows] = sum;
    if (gradient == nullptr) return;
    Eigen::Map<Matrix<T>>(gradient->data() + begin * layer.columns, width, in).noalias() = y.transpose() * x;
    if (layer.bias == noParameter) return;
    for (std::size_t j = begin; j < end; ++j) m_parts.parameters[layer.bias].gradient[j] += factor * biasSums[j - begin];
  };
  context.backend->parallelFor(layer.rows, tileRows, body);
  if (context.stopRequested()) return cancelled();
  layer.loss = std::accumulate(sums.begin(), sums.end(), 0.0) / (squares ? count : 1);
  return layer.loss;
}

template <class T>
Result<double> BitsModel<T>::pass(const Pass& pass, const Context& context) {
  for (BitsTensor<T>& tensor : m_parts.tensors) {
    if (context.stopRequested()) return cancelled();
    tensor.effective.resize(m_parts.parameters[tensor.weight].value.size());
    NIBBLE_TRY(tensor.rule->forward(inputOf(tensor), pass, tensor.effective, context));
    tensor.bits = tensor.rule->bits(ownOf(tensor));
  }
  std::vector<T> gradient;
  double task = 0;
  for (BitsLayer<T>& layer : m_parts.layers) {
    BitsTensor<T>& tensor = m_parts.tensors[layer.tensor];
    const std::vector<T> bias = biasOf(layer, false);
    const auto loss = run(layer, tensor.effective, bias, pass.rows(layer.tokens), &gradient, pass.weight(), context);
    if (!loss) return loss;
    tensor.rule->backward(inputOf(tensor), gradient, pass.weight(), context);
    task += *loss;
  }
  const double lambda = m_parts.settings.diffq.lambda;
  if (lambda != 0)
    for (const BitsTensor<T>& tensor : m_parts.tensors)
      if (tensor.own != noParameter)
        tensor.rule->addSizeGradient(pass.weight() * lambda / bitsPerMb, &m_parts.parameters[tensor.own]);
  m_passed = true;
  findFigures(task);
  return task + lambda * sizeMb(false);
}

template <class T>
double BitsModel<T>::sizeMb(bool exact) const {
  double bits = 0;
  for (const BitsTensor<T>& tensor : m_parts.tensors)
    bits += exact ? tensor.rule->trueSize(ownOf(tensor)) : tensor.rule->size(ownOf(tensor));
  const double each = m_parts.settings.diffq.float16 ? 16 : 32;
  for (const BitsLayer<T>& layer : m_parts.layers)
    if (layer.bias != noParameter) bits += each * static_cast<double>(layer.rows);
  return bits / bitsPerMb;
}

// Mean over the weights, smallest and largest bits of each tensor, and of all together: as they are learned, or as they are
// used.
template <class T>
void BitsModel<T>::addBitFigures(std::vector<Figure>& figures, bool rounded) const {
  double sum = 0, weights = 0, low = std::numeric_limits<double>::infinity(), high = 0;
  std::vector<Figure> each;
  for (const BitsTensor<T>& tensor : m_parts.tensors) {
    std::vector<double> bits = tensor.rule->bits(ownOf(tensor));
    if (bits.empty()) continue;
    if (rounded)
      for (double& b : bits) b = trueBits(b);
    const auto length = static_cast<double>(tensor.rule->groupLength());
    const double part = std::accumulate(bits.begin(), bits.end(), 0.0);
    const auto [least, most] = std::minmax_element(bits.begin(), bits.end());
    each.push_back({tensor.name + "/bitsMean", part / static_cast<double>(bits.size())});
    each.push_back({tensor.name + "/bitsMin", *least});
    each.push_back({tensor.name + "/bitsMax", *most});
    sum += part * length;
    weights += static_cast<double>(bits.size()) * length;
    low = std::min(low, *least);
    high = std::max(high, *most);
  }
  if (weights == 0) return;
  figures.push_back({"bitsMean", sum / weights});
  figures.push_back({"bitsMin", low});
  figures.push_back({"bitsMax", high});
  if (m_parts.layers.size() > 1) figures.insert(figures.end(), each.begin(), each.end());
}

template <class T>
void BitsModel<T>::findFigures(double task) {
  m_figures = {{"taskLoss", task}, {"sizeMb", sizeMb(false)}, {"trueSizeMb", sizeMb(true)}};
  addBitFigures(m_figures, false);
  if (m_parts.layers.size() > 1)
    for (const BitsLayer<T>& layer : m_parts.layers) m_figures.push_back({layer.name + "/taskLoss", layer.loss});
}

template <class T>
Result<std::vector<std::vector<T>>> BitsModel<T>::finished(const Context& context) {
  std::vector<std::vector<T>> all;
  for (const BitsTensor<T>& tensor : m_parts.tensors) {
    const std::vector<double>& values = m_parts.parameters[tensor.weight].value;
    std::vector<T> weights(values.begin(), values.end());
    const Tensor floats = Tensor::fromFloats(tensor.name, tensor.shape, {values.begin(), values.end()});
    const auto quantized = tensor.rule->finished(floats, ownOf(tensor), context);
    if (!quantized) return fail(quantized.error());
    const auto body = [&](std::size_t begin, std::size_t end) {
      std::vector<float> part(end - begin);
      decode(**quantized, begin, part);
      std::copy(part.begin(), part.end(), weights.begin() + static_cast<std::ptrdiff_t>(begin));
    };
    if (*quantized)
      context.backend->parallelFor(weights.size(), decodeStrip, body);
    else if (m_parts.settings.diffq.float16)
      for (T& weight : weights) weight = static_cast<T>(storedAs(NumberType::F16, static_cast<double>(weight)));
    all.push_back(std::move(weights));
  }
  return all;
}

template <class T>
Result<double> BitsModel<T>::lossOf(const std::vector<std::vector<T>>& weights, bool stored, const Context& context) {
  double sum = 0;
  for (BitsLayer<T>& layer : m_parts.layers) {
    // What a viewer looks at is the last pass's.
    const RowRange rows = layer.passRows;
    std::vector<T> output = std::move(layer.output);
    const auto loss = run(layer, weights[layer.tensor], biasOf(layer, stored), {0, layer.tokens}, nullptr, 0, context);
    layer.passRows = rows;
    layer.output = std::move(output);
    if (!loss) return loss;
    sum += *loss;
  }
  return sum;
}

template <class T>
Result<double> BitsModel<T>::evaluate(const Context& context) {
  const auto weights = finished(context);
  if (!weights) return fail(weights.error());
  return lossOf(*weights, true, context);
}

template <class T>
bool BitsModel<T>::setLambda(double lambda) {
  m_parts.settings.diffq.lambda = lambda;
  return true;
}

template class BitsModel<float>;
template class BitsModel<double>;

}  // namespace nibble::train
