// SPDX-License-Identifier: GPL-3.0-or-later
// Reading GPTQ layers. Bits and groups follow from the shapes, the version from the config (checkpoint_format, or auto-round's
// packing_format); a file without one is version 1. The planar gptq_p layout is another format and is not claimed.
#include "core/formats/gptq/plan.h"
#include "core/formats/tools.h"

#include <nlohmann/json.hpp>

namespace nibble::formats::gptq {
namespace {

using Json = nlohmann::json;

Json quantizationConfig(const Checkpoint& checkpoint) {
  const Json config = Json::parse(checkpoint.configText(), nullptr, false);
  if (config.is_object() && config.contains("quantization_config") && config["quantization_config"].is_object())
    return config["quantization_config"];
  return Json::object();
}

std::string textAt(const Json& config, const char* key) {
  return config.contains(key) && config[key].is_string() ? config[key].get<std::string>() : std::string();
}

std::optional<Version> versionOf(const Json& config) {
  std::string format = textAt(config, "checkpoint_format");
  if (format.empty()) format = textAt(config, "format");
  if (format == "gptq_p") return std::nullopt;
  const std::string method = textAt(config, "quant_method"), packing = textAt(config, "packing_format");
  if (method == "auto-round") return packing == "auto_round:auto_gptq" ? Version::V1 : Version::V2;
  return format == "gptq_v2" ? Version::V2 : Version::V1;
}

// The file does not say the arithmetic. GPTQModel and auto-round give float16 weights; other loaders the exact product.
Arithmetic arithmeticOf(const Json& config) {
  bool half = textAt(config, "provider") == "auto-round" || textAt(config, "quant_method") == "auto-round";
  if (config.contains("meta") && config["meta"].is_object() && config["meta"].contains("quantizer"))
    half = half || config["meta"]["quantizer"].dump().find("gptqmodel") != std::string::npos;
  return half ? Arithmetic{FloatType::F16, FloatType::F16, false} : Arithmetic{};
}

struct Sizes {
  std::uint64_t rows = 0, columns = 0, groups = 0;
  int bits = 0;
};

// From the shapes alone; none: these are not GPTQ's (AWQ's keys are the same, its qweight is packed along the output).
std::optional<Sizes> sizesOf(const TensorEntry& weight, const TensorEntry& zeros, const TensorEntry& scales) {
  if (weight.type != DType::I32 || zeros.type != DType::I32 || weight.shape.size() != 2 || zeros.shape.size() != 2 ||
      scales.shape.size() != 2)
    return std::nullopt;
  const std::uint64_t rows = scales.shape[1], groups = scales.shape[0];
  if (rows == 0 || groups == 0 || weight.shape[1] != rows || zeros.shape[0] != groups || zeros.shape[1] * 32 % rows != 0)
    return std::nullopt;
  const std::uint64_t bits = zeros.shape[1] * 32 / rows;
  if ((bits != 2 && bits != 3 && bits != 4 && bits != 8) || weight.shape[0] * 32 % bits != 0) return std::nullopt;
  const std::uint64_t columns = weight.shape[0] * 32 / bits;
  if (columns == 0 || columns % 32 != 0 || rows % 32 != 0 || groups > columns) return std::nullopt;
  return Sizes{rows, columns, groups, static_cast<int>(bits)};
}

std::optional<Sizes> sizesAt(const Checkpoint& checkpoint, const std::string& p) {
  const TensorEntry *weight = findEntry(checkpoint, p + "qweight"), *zeros = findEntry(checkpoint, p + "qzeros"),
                    *scales = findEntry(checkpoint, p + "scales");
  return weight != nullptr && zeros != nullptr && scales != nullptr ? sizesOf(*weight, *zeros, *scales) : std::nullopt;
}

Result<Grouping> groupingOf(const Checkpoint& checkpoint, const std::string& p, const Sizes& sizes) {
  const std::uint64_t length = (sizes.columns + sizes.groups - 1) / sizes.groups;
  if (!checkpoint.find(p + "g_idx")) return Grouping::blocks(sizes.rows, sizes.columns, 1, length);
  const auto values = readFloats(checkpoint, p + "g_idx");
  if (!values) return fail(values.error());
  if (values->size() != sizes.columns) return fail(p + "g_idx: expected one number for each input");
  std::vector<std::uint32_t> index;
  bool sorted = true;
  for (const float value : *values) {
    if (!(value >= 0 && value < static_cast<float>(sizes.groups))) return fail(p + "g_idx: a group that has no scales");
    sorted = sorted && static_cast<std::uint64_t>(value) == index.size() / length;
    index.push_back(static_cast<std::uint32_t>(value));
  }
  if (sorted) return Grouping::blocks(sizes.rows, sizes.columns, 1, length);
  Grouping grouping = Grouping::columnMap(sizes.rows, std::move(index));
  if (grouping.groupCount() != sizes.rows * sizes.groups) return fail(p + "g_idx: the last group is never used");
  return grouping;
}

// Zero points as the file keeps them: `bits` each.
Plane zeroPlane(Grouping grouping, const std::vector<float>& zeros, int bits) {
  auto nested = std::make_shared<QuantizedTensor>();
  nested->rows = 1;
  nested->columns = zeros.size();
  nested->shape = {1, zeros.size()};
  nested->codes = Codes(std::vector<std::uint8_t>(zeros.begin(), zeros.end()));
  nested->width.uniform = static_cast<std::uint8_t>(bits);
  nested->layout = denseLayout(zeros.size(), bits);
  return Plane::quantized(std::move(grouping), std::move(nested));
}

}  // namespace

std::vector<PackedLayer> detect(const Checkpoint& checkpoint, Version version) {
  constexpr std::string_view suffix = ".qweight";
  const Json config = quantizationConfig(checkpoint);
  std::vector<PackedLayer> layers;
  if (versionOf(config) != version || textAt(config, "quant_method") == "awq") return layers;
  for (std::size_t i = 0; i < checkpoint.entries().size(); ++i) {
    const TensorEntry& entry = checkpoint.entries()[i];
    if (!entry.name.ends_with(suffix)) continue;
    const std::string module = entry.name.substr(0, entry.name.size() - suffix.size()), p = module + ".";
    const auto sizes = sizesAt(checkpoint, p);
    if (!sizes) continue;
    PackedLayer layer{module + ".weight", {}, {i}, {sizes->rows, sizes->columns}};
    for (const char* key : {"qzeros", "scales", "g_idx"})
      if (const auto index = checkpoint.find(p + key)) layer.parts.push_back(*index);
    layer.description = std::string(version == Version::V1 ? "gptq " : "gptq_v2 ") + std::to_string(sizes->bits) +
                        " bit group " + std::to_string(sizes->groups == 1 ? sizes->columns : sizes->columns / sizes->groups);
    layers.push_back(std::move(layer));
  }
  return layers;
}

Result<QuantizedTensor> read(const Checkpoint& checkpoint, const PackedLayer& layer, Version version) {
  const std::string p = moduleName(layer.name) + ".";
  const auto sizes = sizesAt(checkpoint, p);
  if (!sizes) return fail(p + "qweight: not a GPTQ layer");
  const auto weight = readBytes(checkpoint, p + "qweight"), zeros = readBytes(checkpoint, p + "qzeros");
  const auto scales = readFloats(checkpoint, p + "scales");
  if (!weight) return fail(weight.error());
  if (!zeros) return fail(zeros.error());
  if (!scales) return fail(scales.error());
  auto grouping = groupingOf(checkpoint, p, *sizes);
  if (!grouping) return fail(grouping.error());
  const auto type = floatTypeOf(findEntry(checkpoint, p + "scales")->type);
  if (!type) return fail(p + "scales: expected a float type");

  QuantizedTensor tensor;
  tensor.scheme = layer.description;
  tensor.rows = sizes->rows;
  tensor.columns = sizes->columns;
  tensor.shape = {sizes->rows, sizes->columns};
  tensor.width.uniform = static_cast<std::uint8_t>(sizes->bits);
  tensor.rule = ValueRule::ScaleMinusZero;
  tensor.layout = weightLayout(sizes->rows, sizes->columns, sizes->bits);
  tensor.codes = tensor.layout->unpack(*weight, tensor.weightCount());
  std::vector<float> turned(scales->size());
  for (std::uint64_t row = 0; row < sizes->rows; ++row)
    for (std::uint64_t group = 0; group < sizes->groups; ++group)
      turned[row * sizes->groups + group] = (*scales)[group * sizes->rows + row];
  const Stored stored = *type == FloatType::F32 ? Stored::F32 : *type == FloatType::BF16 ? Stored::BF16 : Stored::F16;
  tensor.scale = Plane::numbers(*grouping, std::move(turned), stored);
  tensor.zero = zeroPlane(*grouping, unpackZeros(*zeros, sizes->rows, sizes->groups, sizes->bits, version), sizes->bits);
  tensor.arithmetic = arithmeticOf(quantizationConfig(checkpoint));
  return tensor;
}

}  // namespace nibble::formats::gptq
