// SPDX-License-Identifier: GPL-3.0-or-later
#include "core/train/layer_data.h"

#include "core/base/text.h"
#include "core/io/checkpoint.h"
#include "core/layers/layer_files.h"
#include "core/run/run.h"
#include "core/train/random.h"
#include "kernels/backend.h"

#include <Eigen/Core>

#include <algorithm>
#include <cmath>
#include <cstring>

namespace nibble::train {
namespace {

using Matrix = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
using View = Eigen::Map<const Matrix>;
using Eigen::Index;

constexpr std::size_t tileRows = 64;

std::string cell(std::uint64_t index, std::uint64_t columns) {
  return "[" + text::number(index / columns) + ", " + text::number(index % columns) + "]";
}

Status checkFinite(const std::vector<double>& values, std::uint64_t columns, const std::string& place) {
  const auto bad = std::find_if(values.begin(), values.end(), [](double value) { return !std::isfinite(value); });
  if (bad == values.end()) return {};
  const auto index = static_cast<std::uint64_t>(bad - values.begin());
  return fail(place + ": the value at " + cell(index, columns) + " is " + text::number(*bad));
}

// The array of a file that belongs to a tensor: under its name, its module's name, or the only one there is.
Result<Tensor> arrayFor(const std::filesystem::path& path, const std::string& name, bool severalTensors) {
  const auto file = Checkpoint::open(path);
  if (!file) return fail(file.error());
  for (const std::string& key : {name, moduleName(name)})
    if (const auto entry = (*file)->find(key)) return (*file)->read(*entry);
  if ((*file)->entries().size() != 1) return fail(path.string() + ": no array " + name);
  if (severalTensors && (*file)->format() != "npy") return fail(path.string() + ": no array " + name);
  return (*file)->read(std::size_t{0});
}

struct Samples {
  std::uint64_t rows = 0;
  std::vector<double> values;
};

Result<Samples> readSamples(const std::filesystem::path& path, const std::string& what, const std::string& name,
                            std::uint64_t width, bool severalTensors) {
  const auto array = arrayFor(path, name, severalTensors);
  if (!array) return fail(array.error());
  const std::string place = path.string() + ": " + what + " of " + name;
  if (!info(array->type()).floating)
    return fail(place + ": " + std::string(info(array->type()).name) + " is not a floating-point type");
  if (array->size() == 0) return fail(place + ": there are none (" + toText(array->shape()) + ")");
  if (array->columns() != width)
    return fail(place + ": " + toText(array->shape()) + " does not fit; the layer needs " + text::number(width) + " columns");
  auto values = readDoubles(*array);
  if (!values) return fail(values.error());
  NIBBLE_TRY(checkFinite(*values, width, place));
  return Samples{array->rows(), *std::move(values)};
}

Status readBias(const TrainJob& job, LayerData& layer) {
  const auto name = biasName(layer.name);
  if (name && job.weights->packedLayer(layer.name) != nullptr) {  // a part of the layer, which the list does not name
    const auto stored = readLayerBias(*job.weights, layer.name, layer.rows);
    if (!stored) return fail(stored.error());
    layer.bias.assign(stored->begin(), stored->end());
    return checkFinite(layer.bias, layer.rows, *name);
  }
  if (!name || job.weights->find(*name) == nullptr) return {};
  const auto bias = job.weights->read(*name);
  if (!bias) return fail(bias.error());
  if (bias->size() != layer.rows) {
    if (job.warn) job.warn(*name + ": " + toText(bias->shape()) + " is no bias of " + layer.name + " and is left out");
    return {};
  }
  auto values = readDoubles(*bias);
  if (!values) return fail(values.error());
  layer.bias = *std::move(values);
  return checkFinite(layer.bias, layer.rows, *name);
}

Status readInputs(const TrainJob& job, std::size_t number, LayerData& layer) {
  const DataSettings& data = job.settings.data;
  if (data.inputs.empty()) {
    layer.tokens = data.rows;
    layer.inputs = drawInputs(data, layer.columns, job.settings.seed + number * 0x10001);
    return {};
  }
  auto samples = readSamples(data.inputs, "inputs", layer.name, layer.columns, job.tensors.size() > 1);
  if (!samples) return fail(samples.error());
  layer.tokens = samples->rows;
  layer.inputs = std::move(samples->values);
  return {};
}

Status readTargets(const TrainJob& job, LayerData& layer, const Context& context) {
  const DataSettings& data = job.settings.data;
  if (data.targets.empty()) {
    auto outputs = floatOutputs(layer, context);
    if (!outputs) return fail(outputs.error());
    layer.targets = *std::move(outputs);
    return {};
  }
  auto samples = readSamples(data.targets, "targets", layer.name, layer.rows, job.tensors.size() > 1);
  if (!samples) return fail(samples.error());
  if (samples->rows != layer.tokens)
    return fail(data.targets.string() + ": " + text::number(samples->rows) + " rows of targets for " +
                text::number(layer.tokens) + " rows of inputs");
  layer.targets = std::move(samples->values);
  return {};
}

}  // namespace

std::string moduleName(const std::string& name) {
  const std::string ending = ".weight";
  return name.ends_with(ending) ? name.substr(0, name.size() - ending.size()) : name;
}

std::optional<std::string> biasName(const std::string& name) {
  if (moduleName(name).size() == name.size()) return std::nullopt;
  return moduleName(name) + ".bias";
}

Status readDoubles(const Tensor& tensor, std::uint64_t begin, std::span<double> out) {
  if (tensor.type() == DType::F64) {
    if (!out.empty()) std::memcpy(out.data(), tensor.bytes().data() + begin * sizeof(double), out.size_bytes());
    return tensor.intact();
  }
  std::vector<float> strip(std::min<std::size_t>(out.size(), 65536));
  for (std::size_t at = 0; at < out.size(); at += strip.size()) {
    const std::span<float> part(strip.data(), std::min(strip.size(), out.size() - at));
    NIBBLE_TRY(tensor.read(begin + at, part));
    std::copy(part.begin(), part.end(), out.begin() + static_cast<std::ptrdiff_t>(at));
  }
  return {};
}

Result<std::vector<double>> readDoubles(const Tensor& tensor) {
  std::vector<double> values(tensor.size());
  NIBBLE_TRY(readDoubles(tensor, 0, values));
  return values;
}

std::vector<double> drawInputs(const DataSettings& data, std::uint64_t columns, std::uint64_t seed) {
  const Random normal(seed, inputStream), places(seed, outlierStream);
  std::vector<double> scale(columns, 1.0);
  // The first channels of a shuffled list.
  std::vector<std::uint64_t> order(columns);
  for (std::uint64_t i = 0; i < columns; ++i) order[i] = i;
  for (std::uint64_t i = 0; i < std::min(data.outlierChannels, columns); ++i) {
    std::swap(order[i], order[i + places.bits(i) % (columns - i)]);
    scale[order[i]] = data.outlierScale;
  }
  std::vector<double> inputs(data.rows * columns);
  for (std::uint64_t i = 0; i < inputs.size(); ++i) inputs[i] = normal.gauss(i) * scale[i % columns];
  return inputs;
}

Result<std::vector<double>> floatOutputs(const LayerData& layer, const Context& context) {
  std::vector<double> outputs(layer.tokens * layer.rows);
  const auto tokens = static_cast<Index>(layer.tokens), columns = static_cast<Index>(layer.columns);
  const View x(layer.inputs.data(), tokens, columns);
  Eigen::Map<Matrix> y(outputs.data(), tokens, static_cast<Index>(layer.rows));
  std::vector<Status> failed((layer.rows + tileRows - 1) / tileRows);
  const auto body = [&](std::size_t begin, std::size_t end) {
    if (context.stopRequested()) return;
    std::vector<double> weights((end - begin) * layer.columns);
    failed[begin / tileRows] = readDoubles(layer.weight, begin * layer.columns, weights);
    const auto count = static_cast<Index>(end - begin);
    auto tile = y.middleCols(static_cast<Index>(begin), count);
    tile.noalias() = x * View(weights.data(), count, columns).transpose();
    if (layer.bias.empty()) return;
    for (Index j = 0; j < count; ++j) tile.col(j).array() += layer.bias[begin + static_cast<std::size_t>(j)];
  };
  context.backend->parallelFor(layer.rows, tileRows, body);
  if (context.stopRequested()) return cancelled();
  for (const Status& status : failed) NIBBLE_TRY(status);
  return outputs;
}

Result<std::vector<LayerData>> loadLayers(const TrainJob& job, bool needTargets, const Context& context) {
  std::vector<LayerData> layers;
  for (std::size_t i = 0; i < job.tensors.size(); ++i) {
    auto weight = job.weights->read(job.tensors[i]);
    if (!weight) return fail(weight.error());
    NIBBLE_TRY(checkWeights(*weight, context));
    LayerData layer{job.tensors[i], weight->rows(), weight->columns(), 0, *weight, {}, {}, {}};
    NIBBLE_TRY(readBias(job, layer));
    NIBBLE_TRY(readInputs(job, i, layer));
    if (needTargets) NIBBLE_TRY(readTargets(job, layer, context));
    layers.push_back(std::move(layer));
  }
  return layers;
}

}  // namespace nibble::train
