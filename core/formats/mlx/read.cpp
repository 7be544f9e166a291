// SPDX-License-Identifier: GPL-3.0-or-later
// Reading MLX layers (plan.h has the layouts). The float modes follow from the shapes: scales per word differ for all three.
// Affine layers need config.json, which says bits and group.
#include "core/formats/mlx/plan.h"
#include "core/formats/parts.h"
#include "core/quant/row_layout.h"

namespace nibble::formats::mlx {
namespace {

struct Layer {
  Mode mode = Mode::Affine;
  int bits = 4;
  std::uint64_t rows = 0, columns = 0, group = 64;
};

// The module's own settings where it has some, else those of the model.
std::optional<std::int64_t> setting(const nlohmann::json& quantization, const std::string& module, const char* key) {
  if (const auto own = integerAt(objectAt(quantization, module.c_str()), key)) return own;
  return integerAt(quantization, key);
}

nlohmann::json quantizationOf(const Checkpoint& checkpoint) {
  const nlohmann::json config = configOf(checkpoint);
  return objectAt(config, config.contains("quantization") ? "quantization" : "quantization_config");
}

Result<Layer> affineAt(const nlohmann::json& quantization, const std::string& module, const TensorEntry& weight,
                       const TensorEntry& scales) {
  const auto bits = setting(quantization, module, "bits"), group = setting(quantization, module, "group_size");
  if (!bits || !group) return fail(module + ": config.json does not say its bits and group_size");
  Layer layer;
  if (*bits < 1 || *bits > 8 || *group < 1) return fail(module + ": impossible bits or group_size in config.json");
  layer.bits = static_cast<int>(*bits);
  layer.group = static_cast<std::uint64_t>(*group);
  layer.columns = weight.shape[1] * 32 / static_cast<std::uint64_t>(layer.bits);
  if (weight.shape[1] * 32 % static_cast<std::uint64_t>(layer.bits) != 0)
    return fail(expected(weight.name, "words of " + std::to_string(layer.bits) + " bit codes", weight));
  if (scales.shape[1] == 0 || layer.columns % scales.shape[1] != 0 || layer.columns / scales.shape[1] != layer.group)
    return fail(expected(scales.name, "one for each " + std::to_string(layer.group) + " inputs", scales));
  return layer;
}

Result<Layer> floatsAt(const TensorEntry& weight, const TensorEntry& scales) {
  const std::uint64_t words = weight.shape[1], each = scales.shape[1];
  if (each == 0 || words % each != 0) return fail(expected(scales.name, "whole groups", scales));
  switch (words / each) {
    case 4:
      return Layer{Mode::Mxfp4, 4, 0, words * 8, 32};
    case 2:
      return Layer{Mode::Nvfp4, 4, 0, words * 8, 16};
    case 8:
      return Layer{Mode::Mxfp8, 8, 0, words * 4, 32};
    default:
      return fail(expected(scales.name, "the groups of mxfp4, mxfp8 or nvfp4", scales));
  }
}

Result<Layer> layerAt(const Checkpoint& checkpoint, const nlohmann::json& quantization, const std::string& module) {
  const TensorEntry *weight = partAt(checkpoint, module + ".weight"), *scales = partAt(checkpoint, module + ".scales"),
                    *biases = partAt(checkpoint, module + ".biases");
  if (weight == nullptr || weight->type != DType::U32 || weight->shape.size() != 2 || elementCount(weight->shape) == 0)
    return fail(module + ".weight: not the codes of an MLX layer");
  if (scales == nullptr) return fail(module + ".scales: missing");
  if (scales->shape.size() != 2 || scales->shape[0] != weight->shape[0])
    return fail(expected(scales->name, "a row for each output", *scales));
  const bool floats = parameterType(*scales).has_value();
  if (!floats && scales->type != DType::U8) return fail(expected(scales->name, "floats or U8", *scales));
  if (floats && biases == nullptr) return fail(module + ".biases: missing");
  if (floats && (biases->shape != scales->shape || biases->type != scales->type))
    return fail(expected(biases->name, "the type and shape of the scales", *biases));
  auto layer = floats ? affineAt(quantization, module, *weight, *scales) : floatsAt(*weight, *scales);
  if (layer) layer->rows = weight->shape[0];
  return layer;
}

Status readAffine(const Checkpoint& checkpoint, const std::string& module, const Grouping& grouping, QuantizedTensor& tensor) {
  auto scales = finiteFloats(checkpoint, module + ".scales"), biases = finiteFloats(checkpoint, module + ".biases");
  if (!scales) return fail(scales.error());
  if (!biases) return fail(biases.error());
  const FloatType type = *parameterType(*partAt(checkpoint, module + ".scales"));
  tensor.rule = ValueRule::ScalePlusBias;
  tensor.scale = Plane::numbers(grouping, std::move(*scales), storedAs(type));
  tensor.zero = Plane::numbers(grouping, std::move(*biases), storedAs(type));
  tensor.arithmetic = {type, type, false};
  return {};
}

Status readFloats(const Checkpoint& checkpoint, const std::string& module, Mode mode, const Grouping& grouping,
                  QuantizedTensor& tensor) {
  if (mode == Mode::Nvfp4) {
    const auto codes = finiteE4m3(checkpoint, module + ".scales");
    if (!codes) return fail(codes.error());
    std::vector<float> scales;
    for (const std::uint8_t code : *codes) scales.push_back(kernels::float8ToFloat<4>(code));
    tensor.scale = Plane::numbers(grouping, std::move(scales), Stored::F8E4M3);
  } else {
    auto scales = powersOfTwo(checkpoint, module + ".scales");
    if (!scales) return fail(scales.error());
    tensor.scale = Plane::numbers(grouping, std::move(*scales), Stored::F8E8M0);
  }
  tensor.levels = mode == Mode::Mxfp8 ? Levels::floats(FloatType::F8E4M3) : Levels::fixedTable(e2m1Values());
  return {};
}

}  // namespace

std::vector<PackedLayer> detect(const Checkpoint& checkpoint) {
  constexpr std::string_view suffix = ".weight";
  std::vector<PackedLayer> layers;
  std::optional<nlohmann::json> quantization;
  for (std::size_t i = 0; i < checkpoint.entries().size(); ++i) {
    const TensorEntry& entry = checkpoint.entries()[i];
    if (entry.type != DType::U32 || !entry.name.ends_with(suffix)) continue;
    const std::string module = moduleName(entry.name);
    const auto scales = checkpoint.find(module + ".scales"), biases = checkpoint.find(module + ".biases");
    if (!scales && !biases) continue;
    if (!quantization) quantization = quantizationOf(checkpoint);
    const auto found = layerAt(checkpoint, *quantization, module);
    if (!found) {
      layers.push_back(brokenLayer(checkpoint, entry.name, "mlx", {entry.name, module + ".scales", module + ".biases"}));
      continue;
    }
    PackedLayer layer{entry.name, {}, {i, *scales}, {found->rows, found->columns}};
    if (biases) layer.parts.push_back(*biases);
    layer.description = "mlx " + std::string(modeName(found->mode)) + " " + std::to_string(found->bits) + " bit group " +
                        std::to_string(found->group);
    layers.push_back(std::move(layer));
  }
  return layers;
}

Result<QuantizedTensor> read(const Checkpoint& checkpoint, const PackedLayer& layer) {
  const std::string module = moduleName(layer.name);
  const auto found = layerAt(checkpoint, quantizationOf(checkpoint), module);
  if (!found) return fail(found.error());
  const auto words = readBytes(checkpoint, module + ".weight");
  if (!words) return fail(words.error());
  QuantizedTensor tensor;
  tensor.scheme = layer.description;
  tensor.rows = found->rows;
  tensor.columns = found->columns;
  tensor.shape = {found->rows, found->columns};
  tensor.width.uniform = static_cast<std::uint8_t>(found->bits);
  tensor.layout = rowStreamLayout(found->rows, found->columns, found->bits);
  tensor.codes = tensor.layout->unpack(*words, tensor.weightCount());
  if (found->mode == Mode::Mxfp8) {
    for (const std::uint8_t code : *tensor.codes.as<std::uint8_t>())
      if ((code & 0x7F) == 0x7F) return fail(module + ".weight: a code is NaN");
  }
  const Grouping grouping = Grouping::blocks(found->rows, found->columns, 1, found->group);
  const Status status = found->mode == Mode::Affine ? readAffine(checkpoint, module, grouping, tensor)
                                                    : readFloats(checkpoint, module, found->mode, grouping, tensor);
  if (!status) return fail(status.error());
  return tensor;
}

}  // namespace nibble::formats::mlx
