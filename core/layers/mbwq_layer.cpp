// SPDX-License-Identifier: GPL-3.0-or-later
#include "core/layers/mbwq_layer.h"

#include "core/base/text.h"
#include "core/quant/decode.h"
#include "core/quant/encode.h"
#include "core/quant/layout.h"
#include "kernels/backend.h"
#include "kernels/linear.h"
#include "kernels/products.h"

#include <algorithm>
#include <cmath>
#include <mutex>
#include <new>

namespace nibble {
namespace {

constexpr std::uint64_t pieceRows = 16;

float toHalf(float value) {
  return kernels::roundTo(FloatType::F16, value);
}

Shape withLast(Shape shape, std::uint64_t last) {
  if (shape.empty()) shape.push_back(last);
  shape.back() = last;
  return shape;
}

Result<std::vector<float>> readHalves(const Tensor& tensor) {
  auto values = tensor.readAll();
  if (!values) return values;
  for (std::size_t i = 0; i < values->size(); ++i) {
    (*values)[i] = toHalf((*values)[i]);
    if (!std::isfinite((*values)[i]))
      return fail(tensor.name() + ": number " + text::number(std::uint64_t{i}) + " is not a finite float16");
  }
  return values;
}

}  // namespace

struct MbwqLayer::Held {
  std::mutex mutex;
  const kernels::Backend* backend = nullptr;  // the last one that was asked
  std::shared_ptr<const kernels::ColumnProducts> columns;
};

// Null: the CPU's loops multiply.
std::shared_ptr<const kernels::ColumnProducts> MbwqLayer::heldBy(const kernels::Backend& backend) const {
  const kernels::Products* products = backend.products();
  if (products == nullptr || !m_held) return nullptr;
  const std::lock_guard lock(m_held->mutex);
  if (m_held->backend == &backend) return m_held->columns;
  std::vector<kernels::ColumnGroup> groups;
  for (const WidthGroup& group : m_groups) groups.push_back({group.bits, static_cast<unsigned>(group.inputs)});
  const auto words = stored().layout->pack(stored().codes);
  m_held->columns.reset();  // first gives back what the former held
  m_held->columns = products->hold({.outputs = m_settings.outputs,
                                    .groups = groups,
                                    .words = words,
                                    .scales = m_buffers.at("scales").bytes(),
                                    .zeros = m_buffers.at("zeros").bytes(),
                                    .order = m_order});
  m_held->backend = &backend;
  return m_held->columns;
}

void MbwqLayer::adopt(mbwq::Parts parts) {
  m_groups = std::move(parts.groups);
  m_order = parts.tensor.order;
  m_channelScale = std::move(parts.channelScale);
  m_bias = std::move(parts.bias);
  const std::uint64_t groups = m_groups.size(), outputs = m_settings.outputs;
  std::vector<float> scales(groups * outputs), zeros(scales.size());
  for (std::uint64_t n = 0; n < outputs; ++n) {
    for (std::uint64_t g = 0; g < groups; ++g) {
      scales[g * outputs + n] = parts.tensor.scale->values[n * groups + g];
      zeros[g * outputs + n] = 0 - parts.tensor.zero->values[n * groups + g];
    }
  }
  m_buffers["scales"] = mbwq::halves("scales", {groups, outputs}, scales);
  m_buffers["zeros"] = mbwq::halves("zeros", {groups, outputs}, zeros);
  std::vector<std::uint16_t> order(m_settings.inputs);
  for (std::size_t k = 0; k < order.size(); ++k) order[k] = static_cast<std::uint16_t>(m_order.empty() ? k : m_order[k]);
  m_buffers["q_perm"] = mbwq::shorts("q_perm", {m_settings.inputs}, order);
  if (m_settings.mixed) m_buffers["q_group_map"] = mbwq::shorts("q_group_map", {2 * m_settings.inputs}, groupMap());
  for (const char* key :
       {"qweight", "g_idx", "wf", "qstatistic", "qscales_zeros", "qscales_scales", "qzeros_zeros", "qzeros_scales"}) {
    m_buffers.erase(key);
    m_given.erase(key);
  }
  m_given.insert({"qweight", "scales", "zeros"});
}

Status MbwqLayer::prepare() try {
  if (isPrepared()) return {};
  auto parts = mbwq::partsOf(m_settings, m_buffers, m_given);
  if (!parts) return fail(parts.error().within(m_name));
  QuantizedTensor tensor = parts->tensor;
  auto linear = PackedLinear::make(m_name, std::move(tensor), parts->bias, FloatType::F16);
  if (!linear) return fail(linear.error());
  adopt(*std::move(parts));
  m_linear = *std::move(linear);
  m_held = std::make_shared<Held>();
  return {};
} catch (const std::bad_alloc&) {
  return refuse("not enough memory to prepare it");
}

QuantizedTensor MbwqLayer::description() const {
  QuantizedTensor tensor = stored();
  tensor.order = m_order;
  for (std::size_t k = 0; k < m_channelScale.size(); ++k)
    tensor.channelScale.push_back(m_channelScale[m_order.empty() ? k : m_order[k]]);
  tensor.channelScaleMultiplies = true;
  return tensor;
}

std::vector<float> MbwqLayer::weights() const {
  const std::uint64_t inputs = m_settings.inputs, outputs = m_settings.outputs;
  std::vector<float> values(inputs * outputs), row(inputs);
  for (std::uint64_t n = 0; n < outputs; ++n) {
    decode(stored(), n * inputs, row);
    for (std::uint64_t k = 0; k < inputs; ++k) values[(m_order.empty() ? k : m_order[k]) * outputs + n] = row[k];
  }
  return values;
}

Result<std::vector<float>> MbwqLayer::scaledInputs(const Tensor& x) const {
  if (!isPrepared()) return fail(m_name + ": is not prepared");
  if (x.size() == 0 || x.columns() != m_settings.inputs)
    return fail(m_name + ": inputs of " + toText(x.shape()) + " for " + text::number(m_settings.inputs) + " channels");
  auto values = readHalves(x);
  if (!values) return fail(values.error().within(m_name));
  for (std::size_t i = 0; i < values->size(); ++i) (*values)[i] = toHalf((*values)[i] * m_channelScale[i % m_settings.inputs]);
  return values;
}

Result<std::vector<float>> MbwqLayer::reconstructedProduct(const std::vector<float>& x, const Context& context) const {
  const std::uint64_t inputs = m_settings.inputs, outputs = m_settings.outputs, tokens = x.size() / inputs;
  const std::vector<float> matrix = weights();
  std::vector<float> y(tokens * outputs);
  const kernels::LinearLoops& loops = kernels::linearLoops(*context.backend);
  NIBBLE_TRY(forEachPiece(tokens, pieceRows, inputs * outputs, context, [&](std::uint64_t begin, std::uint64_t end) -> Status {
    loops.addProducts({x.data() + begin * inputs, inputs, 1}, end - begin, {matrix.data(), outputs, 1}, inputs, outputs,
                      {y.data() + begin * outputs, outputs, 1});
    return {};
  }));
  for (std::size_t i = 0; i < y.size(); ++i) y[i] = toHalf(m_bias.empty() ? y[i] : y[i] + m_bias[i % outputs]);
  return y;
}

std::optional<std::vector<float>> MbwqLayer::deviceProduct(const std::vector<float>& x, const Context& context,
                                                           MbwqPath path) const {
  const auto held = heldBy(*context.backend);
  if (held == nullptr || context.stopRequested()) return std::nullopt;
  const std::uint64_t tokens = x.size() / m_settings.inputs;
  std::vector<float> y(tokens * m_settings.outputs);
  const auto how = path == MbwqPath::Packed ? kernels::ProductPath::Packed : kernels::ProductPath::Decoded;
  if (!held->multiply(x.data(), tokens, m_bias.empty() ? nullptr : m_bias.data(), how, y.data())) return std::nullopt;
  for (float& value : y) value = toHalf(value);
  return y;
}

Result<std::vector<float>> MbwqLayer::inputGradient(const std::vector<float>& dy, const Context& context) const {
  if (const auto held = heldBy(*context.backend); held != nullptr && !context.stopRequested()) {
    const std::uint64_t tokens = dy.size() / m_settings.outputs;
    std::vector<float> dx(tokens * m_settings.inputs);
    if (held->multiplyBack(dy.data(), tokens, dx.data())) {
      for (float& value : dx) value = toHalf(value);
      return dx;
    }
  }
  return m_linear->inputGradient(dy, context);
}

Result<Tensor> MbwqLayer::forward(const Tensor& x, const Context& context, MbwqPath path) const try {
  const auto scaled = scaledInputs(x);
  if (!scaled) return fail(scaled.error());
  if (auto y = deviceProduct(*scaled, context, path))
    return Tensor::fromFloats(m_name, withLast(x.shape(), m_settings.outputs), *std::move(y));
  auto y = path == MbwqPath::Packed ? m_linear->forward(*scaled, context) : reconstructedProduct(*scaled, context);
  if (!y) return fail(y.error());
  return Tensor::fromFloats(m_name, withLast(x.shape(), m_settings.outputs), *std::move(y));
} catch (const std::bad_alloc&) {
  return fail(m_name + ": not enough memory for its outputs");
}

Result<Tensor> MbwqLayer::backward(const Tensor& x, const Tensor& dy, const Context& context, bool accumulate) try {
  const auto scaled = scaledInputs(x);
  if (!scaled) return fail(scaled.error());
  const std::uint64_t inputs = m_settings.inputs, outputs = m_settings.outputs, tokens = x.rows();
  if (dy.columns() != outputs || dy.rows() != tokens)
    return fail(m_name + ": gradients of " + toText(dy.shape()) + " for inputs of " + toText(x.shape()));
  const auto incoming = readHalves(dy);
  if (!incoming) return fail(incoming.error().within(m_name));
  auto dx = inputGradient(*incoming, context);
  if (!dx) return fail(dx.error());
  for (std::size_t i = 0; i < dx->size(); ++i) (*dx)[i] = toHalf((*dx)[i] * m_channelScale[i % inputs]);
  if (m_settings.trains) {
    std::vector<float> gradient = accumulate ? m_gradient : std::vector<float>();
    gradient.resize(inputs * outputs);
    const kernels::LinearLoops& loops = kernels::linearLoops(*context.backend);
    NIBBLE_TRY(
        forEachPiece(inputs, pieceRows, tokens * outputs, context, [&](std::uint64_t begin, std::uint64_t end) -> Status {
          loops.addProducts({scaled->data() + begin, 1, inputs}, end - begin, {incoming->data(), outputs, 1}, tokens, outputs,
                            {gradient.data() + begin * outputs, outputs, 1});
          return {};
        }));
    m_gradient = std::move(gradient);
  }
  return Tensor::fromFloats(m_name, withLast(dy.shape(), inputs), *std::move(dx));
} catch (const std::bad_alloc&) {
  return fail(m_name + ": not enough memory for its gradients");
}

Status MbwqLayer::repack(std::vector<std::uint8_t> codes, std::span<const float> zeros, std::span<const float> bias) {
  if (!isPrepared()) return refuse("is not prepared");
  const std::uint64_t inputs = m_settings.inputs, outputs = m_settings.outputs, groups = m_groups.size();
  if (codes.size() != inputs * outputs || zeros.size() != groups * outputs) return refuse("codes or zeros of another size");
  if (!bias.empty() && bias.size() != m_bias.size()) return refuse("a bias of another size");
  const auto widths = widthsOf(m_groups);
  for (std::size_t i = 0; i < codes.size(); ++i)
    if (codes[i] >> widths[i % inputs] != 0)
      return refuse("a code of " + text::number(std::int64_t{codes[i]}) + " does not fit " +
                    text::number(std::int64_t{widths[i % inputs]}) + " bits");
  QuantizedTensor tensor = stored();
  std::vector<float> offsets(zeros.size());
  for (std::uint64_t g = 0; g < groups; ++g)
    for (std::uint64_t n = 0; n < outputs; ++n) {
      offsets[n * groups + g] = -toHalf(zeros[g * outputs + n]);
      if (!std::isfinite(offsets[n * groups + g]))
        return refuse("a zero of " + text::number(zeros[g * outputs + n]) + " is not a float16");
    }
  tensor.codes = Codes(std::move(codes));
  tensor.zero = Plane::numbers(tensor.zero->grouping, std::move(offsets), Stored::F16);
  tensor.order = m_order;
  std::vector<float> outputBias = m_bias;
  for (std::size_t n = 0; n < bias.size(); ++n) {
    outputBias[n] = toHalf(bias[n]);
    if (!std::isfinite(outputBias[n])) return refuse("a bias of " + text::number(bias[n]) + " is not a float16");
  }
  auto linear = PackedLinear::make(m_name, std::move(tensor), outputBias, FloatType::F16);
  if (!linear) return fail(linear.error());
  m_linear = *std::move(linear);
  m_held = std::make_shared<Held>();
  if (!bias.empty()) m_buffers["bias"] = mbwq::halves("bias", {outputs}, outputBias);
  m_bias = std::move(outputBias);
  m_buffers["zeros"] = mbwq::halves("zeros", {groups, outputs}, zeros);
  return {};
}

}  // namespace nibble
