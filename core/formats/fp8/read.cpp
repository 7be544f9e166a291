// SPDX-License-Identifier: GPL-3.0-or-later
// Reading FP8 layers (plan.h has the layout): a weight of 8-bit floats and its scales are one. What the scales are follows from
// their key and shape; the config says how large tiles are, else they are the powers of two that make as many.
#include "core/formats/fp8/plan.h"
#include "core/formats/parts.h"

#include <algorithm>
#include <bit>

namespace nibble::formats::fp8 {
namespace {

struct Config {
  bool otherMethod = false;                     // compressed-tensors', whose layers have the same keys
  std::uint64_t tileRows = 0, tileColumns = 0;  // 0: not said
  FloatType modelType = FloatType::F32;
};

Config configFrom(const Checkpoint& checkpoint) {
  const nlohmann::json json = configOf(checkpoint);
  const nlohmann::json& quantization =
      json.contains("quantization_config") ? objectAt(json, "quantization_config") : objectAt(json, "compression_config");
  Config config;
  const std::string method = textAt(quantization, "quant_method"), packing = textAt(quantization, "packing_format");
  config.otherMethod = method == "compressed-tensors" || packing.find("llm_compressor") != std::string::npos;
  config.modelType = formats::modelType(json);
  const auto size = quantization.find("weight_block_size");
  if (size != quantization.end() && size->is_array() && size->size() == 2 && (*size)[0].is_number_unsigned() &&
      (*size)[1].is_number_unsigned() && (*size)[0] != 0 && (*size)[1] != 0) {
    config.tileRows = (*size)[0].get<std::uint64_t>();
    config.tileColumns = (*size)[1].get<std::uint64_t>();
  }
  return config;
}

struct Layer {
  const TensorEntry *weight = nullptr, *scale = nullptr;
  [[nodiscard]] std::uint64_t rows() const { return weight->shape[0]; }
  [[nodiscard]] std::uint64_t columns() const { return weight->shape[1]; }
  [[nodiscard]] bool inverted() const { return scale->name.ends_with("_inv"); }  // by its key; see plan.h
};

std::optional<Layer> layerAt(const Checkpoint& checkpoint, const std::string& module) {
  const std::string p = module + ".";
  Layer layer{partAt(checkpoint, p + "weight"), partAt(checkpoint, p + "weight_scale_inv")};
  if (layer.scale == nullptr) layer.scale = partAt(checkpoint, p + "weight_scale");
  if (layer.weight == nullptr || layer.scale == nullptr || layer.weight->shape.size() != 2) return std::nullopt;
  if (layer.weight->type != DType::F8E4M3 && layer.weight->type != DType::F8E5M2) return std::nullopt;
  if (!plausibleCount(layer.weight->shape).value_or(0)) return std::nullopt;
  return layer;
}

std::uint64_t tilesOf(std::uint64_t side, std::uint64_t tile) {
  return side / tile + (side % tile != 0 ? 1 : 0);
}

// The power of two of which `count` cover `side`; 0: none does.
std::uint64_t tileFor(std::uint64_t side, std::uint64_t count) {
  if (count == 1) return std::bit_ceil(side);
  for (std::uint64_t tile = 1; tile < side; tile *= 2)
    if (tilesOf(side, tile) == count) return tile;
  return 0;
}

Result<Grouping> tilesOfScale(const Layer& layer, const Config& config) {
  const std::uint64_t rows = layer.rows(), columns = layer.columns();
  const Shape shape = layer.scale->shape.size() == 2 ? layer.scale->shape : Shape{1, 1};
  if (config.tileRows != 0 && shape == Shape{tilesOf(rows, config.tileRows), tilesOf(columns, config.tileColumns)})
    return Grouping::blocks(rows, columns, config.tileRows, config.tileColumns);
  if (config.tileRows != 0)
    return fail(
        expected(layer.scale->name, "one for each tile of " + toText({config.tileRows, config.tileColumns}), *layer.scale));
  if (shape[0] == 0 || shape[1] == 0) return fail(expected(layer.scale->name, "scales", *layer.scale));
  std::uint64_t tileRows = tileFor(rows, shape[0]), tileColumns = tileFor(columns, shape[1]);
  if (tileRows == 0 || tileColumns == 0)
    return fail(expected(layer.scale->name, "one for each tile of " + toText(layer.weight->shape), *layer.scale));
  if (shape[0] == 1 && shape[1] > 1) tileRows = std::max(tileRows, tileColumns);
  if (shape[1] == 1 && shape[0] > 1 && tileRows > 1) tileColumns = std::max(tileRows, tileColumns);
  return Grouping::blocks(rows, columns, tileRows, tileColumns);
}

Result<Grouping> groupingOf(const Layer& layer, const Config& config) {
  const std::uint64_t rows = layer.rows(), columns = layer.columns();
  const Shape& shape = layer.scale->shape;
  const bool perRow = shape == Shape{rows} || shape == Shape{rows, 1};
  if (layer.inverted() && (config.tileRows != 0 || !perRow) && shape.size() == 2) return tilesOfScale(layer, config);
  if (elementCount(shape) == 1 && shape.size() <= 2) return Grouping::tensor(rows, columns);
  if (perRow) return Grouping::blocks(rows, columns, 1, 0);
  if (shape.size() == 2) return tilesOfScale(layer, config);
  return fail(expected(layer.scale->name, "one number, one for each output or one for each tile", *layer.scale));
}

// NaN, and E5M2's infinities.
Result<std::vector<std::uint8_t>> finiteCodes(const Checkpoint& checkpoint, const TensorEntry& weight) {
  if (weight.type == DType::F8E4M3) return finiteE4m3(checkpoint, weight.name);
  auto codes = byteCodes(checkpoint, weight.name);
  if (!codes) return codes;
  const auto bad = std::find_if(codes->begin(), codes->end(), [](std::uint8_t code) { return (code & 0x7C) == 0x7C; });
  if (bad != codes->end()) return fail(weight.name + ": number " + std::to_string(bad - codes->begin()) + " is not finite");
  return codes;
}

Result<Plane> scalePlane(const Checkpoint& checkpoint, const Layer& layer, const Grouping& grouping) {
  const TensorEntry& scale = *layer.scale;
  const bool powers = scale.type == DType::F8E8M0 || scale.type == DType::U8;
  const auto type = parameterType(scale);
  if (!powers && !type) return fail(expected(scale.name, "F32, F16, BF16 or F8_E8M0", scale));
  auto values = powers ? powersOfTwo(checkpoint, scale.name) : finiteFloats(checkpoint, scale.name);
  if (!values) return fail(values.error());
  return Plane::numbers(grouping, std::move(*values), powers ? Stored::F8E8M0 : storedAs(*type));
}

bool dividesTiles(const Grouping& grouping) {
  const bool whole = grouping.tileRows() == 1 || grouping.groupCount() == 1;
  return (whole && grouping.tileRows() <= grouping.rows()) ||
         (grouping.rows() % grouping.tileRows() == 0 && grouping.columns() % grouping.tileColumns() == 0);
}

std::string description(const Layer& layer, const Config& config) {
  std::string text = layer.weight->type == DType::F8E4M3 ? "fp8 e4m3" : "fp8 e5m2";
  if (const auto grouping = groupingOf(layer, config)) text += ", " + grouping->describe();
  if (layer.scale->type == DType::F8E8M0) text += ", scales powers of two";
  return text;
}

}  // namespace

std::vector<PackedLayer> detect(const Checkpoint& checkpoint) {
  std::vector<PackedLayer> layers;
  std::optional<Config> config;
  for (const TensorEntry& entry : checkpoint.entries()) {
    constexpr std::string_view suffix = ".weight";
    if ((entry.type != DType::F8E4M3 && entry.type != DType::F8E5M2) || !entry.name.ends_with(suffix)) continue;
    const std::string module = moduleName(entry.name);
    const auto found = layerAt(checkpoint, module);
    if (!found) continue;
    if (!config) config = configFrom(checkpoint);
    if (config->otherMethod) return {};
    PackedLayer layer{entry.name, description(*found, *config), {}, found->weight->shape};
    for (const std::string& part : {found->weight->name, found->scale->name, module + ".input_scale"})
      if (const auto index = checkpoint.find(part)) layer.parts.push_back(*index);
    layers.push_back(std::move(layer));
  }
  return layers;
}

Result<QuantizedTensor> read(const Checkpoint& checkpoint, const PackedLayer& layer) {
  const auto found = layerAt(checkpoint, moduleName(layer.name));
  if (!found) return fail(layer.name + ": not an FP8 layer");
  const Config config = configFrom(checkpoint);
  auto grouping = groupingOf(*found, config);
  if (!grouping) return fail(grouping.error());
  auto codes = finiteCodes(checkpoint, *found->weight);
  if (!codes) return fail(codes.error());
  auto scale = scalePlane(checkpoint, *found, *grouping);
  if (!scale) return fail(scale.error());
  QuantizedTensor tensor;
  tensor.scheme = layer.description;
  tensor.rows = found->rows();
  tensor.columns = found->columns();
  tensor.shape = found->weight->shape;
  tensor.codes = Codes(std::move(*codes));
  tensor.width.uniform = 8;
  tensor.levels = Levels::floats(found->weight->type == DType::F8E4M3 ? FloatType::F8E4M3 : FloatType::F8E5M2);
  tensor.layout = denseLayout(tensor.weightCount(), 8);
  if (scale->stored != Stored::F8E8M0 && dividesTiles(*grouping)) tensor.arithmetic.result = config.modelType;
  tensor.scale = std::move(*scale);
  return tensor;
}

}  // namespace nibble::formats::fp8
