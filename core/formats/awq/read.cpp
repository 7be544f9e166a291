// SPDX-License-Identifier: GPL-3.0-or-later
// Reading AWQ layers. GPTQ has the same keys; here qweight has an eighth as many columns as there are outputs. A layer whose
// arrays do not fit together, or of another version (gemv, marlin), is listed and refused with the reason when it is read.
#include "core/formats/awq/plan.h"
#include "core/formats/group_parts.h"
#include "core/formats/tools.h"

#include "core/base/text.h"

#include <cctype>
#include <nlohmann/json.hpp>

namespace nibble::formats::awq {
namespace {

using Json = nlohmann::json;

constexpr std::string_view suffix = ".qweight";

struct Config {
  std::string method, version;
  std::optional<std::int64_t> bits, group;  // none: not said, or there are overrides by name
  bool exact = false;                       // our own: the products as they are
};

std::string textAt(const Json& config, const char* key) {
  return config.contains(key) && config[key].is_string() ? config[key].get<std::string>() : std::string();
}

std::optional<std::int64_t> integerAt(const Json& config, const char* key) {
  if (!config.contains(key) || !config[key].is_number_integer()) return std::nullopt;
  return config[key].get<std::int64_t>();
}

Config configOf(const Checkpoint& checkpoint) {
  Config config;
  const Json whole = Json::parse(checkpoint.configText(), nullptr, false);
  if (!whole.is_object() || !whole.contains("quantization_config") || !whole["quantization_config"].is_object()) return config;
  const Json& json = whole["quantization_config"];
  config.method = textAt(json, "quant_method");
  config.version = textAt(json, "version");
  for (char& c : config.version) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  if (json.contains("meta") && json["meta"].is_object()) config.exact = textAt(json["meta"], "quantizer") == "nibblescope";
  for (const char* overrides : {"dynamic", "extra_config", "layer_config"})
    if (json.contains(overrides) && json[overrides].is_object() && !json[overrides].empty()) return config;
  config.bits = integerAt(json, "bits");
  config.group = integerAt(json, "group_size");
  return config;
}

struct Sizes {
  std::uint64_t rows = 0, columns = 0, groups = 0;
};

Result<Sizes> sizesOf(const TensorEntry& weight, const TensorEntry& zeros, const TensorEntry& scales) {
  for (const TensorEntry* entry : {&weight, &zeros})
    if (entry->type != DType::I32 || entry->shape.size() != 2)
      return fail(typeAndShape(*entry) + "; expected an I32 matrix of words");
  if ((scales.type != DType::F16 && scales.type != DType::BF16 && scales.type != DType::F32) || scales.shape.size() != 2)
    return fail(typeAndShape(scales) + "; expected floats [groups, outputs]");
  const std::uint64_t rows = scales.shape[1], groups = scales.shape[0], columns = weight.shape[0];
  if (rows == 0 || groups == 0 || columns == 0) return fail(typeAndShape(scales) + ": there is nothing in it");
  if (rows % 8 != 0 || weight.shape[1] != rows / 8)
    return fail(typeAndShape(weight) + ": 4 bits for each of " + text::number(rows) + " outputs do not fill its words");
  if (zeros.shape != Shape{groups, rows / 8})
    return fail(typeAndShape(zeros) + "; expected " + toText({groups, rows / 8}) + ", 4 bits for each group and output");
  if (columns % groups != 0)
    return fail(typeAndShape(scales) + ": " + text::number(groups) + " groups do not divide " + text::number(columns) +
                " inputs");
  return Sizes{rows, columns, groups};
}

// The error names the array at fault.
Result<Sizes> sizesAt(const Checkpoint& checkpoint, const std::string& module) {
  const TensorEntry* parts[3] = {};
  const char* const keys[3] = {".qweight", ".qzeros", ".scales"};
  for (int i = 0; i < 3; ++i) {
    parts[i] = findEntry(checkpoint, module + keys[i]);
    if (parts[i] == nullptr) return fail(module + keys[i] + " is missing");
  }
  return sizesOf(*parts[0], *parts[1], *parts[2]);
}

bool isOurs(const Checkpoint& checkpoint, const std::string& module, const Config& config) {
  const TensorEntry *weight = findEntry(checkpoint, module + ".qweight"), *scales = findEntry(checkpoint, module + ".scales");
  if (weight->type != DType::I32 || weight->shape.size() != 2) return config.method == "awq";
  if (scales == nullptr || scales->shape.size() != 2) return config.method == "awq";
  if (weight->shape[1] == scales->shape[1]) return false;  // a word for each output: GPTQ's
  // Other formats have a qweight as well, but no qzeros.
  const bool zeros = findEntry(checkpoint, module + ".qzeros") != nullptr;
  return config.method == "awq" || (zeros && weight->shape[1] * 8 == scales->shape[1]);
}

Status checkConfig(const std::string& module, const Sizes& sizes, const Config& config) {
  if (!config.version.empty() && config.version != "gemm")
    return fail(module + ".qweight: AWQ version " + config.version.substr(0, 40) +
                " lies otherwise than gemm, the one that is read");
  if (config.bits && *config.bits != 4)
    return fail(module + ": the config says " + text::number(*config.bits) + " bits, the arrays hold 4");
  if (!config.group || *config.group == 0) return {};
  const std::uint64_t length = *config.group < 0 ? sizes.columns : static_cast<std::uint64_t>(*config.group);
  if ((sizes.columns + length - 1) / length == sizes.groups) return {};
  return fail(module + ".scales: the config says group " + text::number(*config.group) + ", the arrays hold " +
              text::number(sizes.groups) + " groups for " + text::number(sizes.columns) + " inputs");
}

std::string describe(const Sizes& sizes) {
  return "awq 4 bit group " + text::number(sizes.columns / sizes.groups);
}

}  // namespace

std::vector<PackedLayer> detect(const Checkpoint& checkpoint) {
  const Config config = configOf(checkpoint);
  std::vector<PackedLayer> layers;
  for (std::size_t i = 0; i < checkpoint.entries().size(); ++i) {
    const TensorEntry& entry = checkpoint.entries()[i];
    if (!entry.name.ends_with(suffix) || entry.name.size() == suffix.size()) continue;
    const std::string module = entry.name.substr(0, entry.name.size() - suffix.size());
    if (!isOurs(checkpoint, module, config)) continue;
    const auto sizes = sizesAt(checkpoint, module);
    PackedLayer layer{module + ".weight", "awq, broken", {i}, {0, 0}};
    for (const char* key : {".qzeros", ".scales"})
      if (const auto index = checkpoint.find(module + key)) layer.parts.push_back(*index);
    if (sizes) {
      layer.shape = {sizes->rows, sizes->columns};
      layer.description = describe(*sizes);
    }
    layers.push_back(std::move(layer));
  }
  return layers;
}

Result<QuantizedTensor> read(const Checkpoint& checkpoint, const PackedLayer& layer) {
  const std::string module = moduleName(layer.name);
  const Config config = configOf(checkpoint);
  const auto sizes = sizesAt(checkpoint, module);
  if (!sizes && !config.version.empty() && config.version != "gemm") NIBBLE_TRY(checkConfig(module, {}, config));
  if (!sizes) return fail(sizes.error());
  NIBBLE_TRY(checkConfig(module, *sizes, config));
  const auto weight = readBytes(checkpoint, module + ".qweight"), zeros = readBytes(checkpoint, module + ".qzeros");
  if (!weight) return fail(weight.error());
  if (!zeros) return fail(zeros.error());
  auto scales = groupScales(checkpoint, module + ".scales", sizes->groups, sizes->rows);
  if (!scales) return fail(scales.error());

  QuantizedTensor tensor;
  tensor.scheme = describe(*sizes);
  tensor.rows = sizes->rows;
  tensor.columns = sizes->columns;
  tensor.shape = {sizes->rows, sizes->columns};
  tensor.width.uniform = 4;
  tensor.rule = ValueRule::ScaleMinusZero;
  tensor.layout = weightLayout(sizes->rows, sizes->columns);
  tensor.codes = tensor.layout->unpack(*weight, tensor.weightCount());
  const Grouping grouping = Grouping::blocks(sizes->rows, sizes->columns, 1, sizes->columns / sizes->groups);
  const DType type = findEntry(checkpoint, module + ".scales")->type;
  tensor.scale = Plane::numbers(grouping, *std::move(scales), storedLike(type));
  tensor.zero = packedIntegers(grouping, unpackZeros(*zeros, sizes->rows, sizes->groups), 4);
  // The libraries compute in the type of the scales.
  if (const FloatType step = *floatTypeOf(type); !config.exact) tensor.arithmetic = Arithmetic{step, step, false};
  return tensor;
}

}  // namespace nibble::formats::awq
