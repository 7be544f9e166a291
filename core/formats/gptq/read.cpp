// SPDX-License-Identifier: GPL-3.0-or-later
// Reading GPTQ layers. Bits and groups follow from the shapes; the version from the config (checkpoint_format, or auto-round's
// packing_format), else from the zero points themselves (config.h). A layer whose arrays do not fit together is listed and
// refused with the reason when it is read.
#include "core/formats/gptq/config.h"
#include "core/formats/group_parts.h"
#include "core/formats/tools.h"

#include "core/base/text.h"

#include <algorithm>

namespace nibble::formats::gptq {
namespace {

constexpr std::string_view suffix = ".qweight";

// The zero points decide the width: N fields of it fill their words.
Result<Sizes> sizesOf(const TensorEntry& weight, const TensorEntry& zeros, const TensorEntry& scales) {
  for (const TensorEntry* entry : {&weight, &zeros})
    if (entry->type != DType::I32 || entry->shape.size() != 2)
      return fail(typeAndShape(*entry) + "; expected an I32 matrix of words");
  if ((scales.type != DType::F16 && scales.type != DType::BF16 && scales.type != DType::F32) || scales.shape.size() != 2)
    return fail(typeAndShape(scales) + "; expected floats [groups, outputs]");
  const std::uint64_t rows = scales.shape[1], groups = scales.shape[0];
  if (rows == 0 || groups == 0 || rows % lanes != 0)
    return fail(typeAndShape(scales) + "; outputs must be a multiple of 32 and there must be a group");
  if (weight.shape[1] != rows)
    return fail(typeAndShape(weight) + ", not a column for each of the " + text::number(rows) + " outputs");
  if (zeros.shape[0] != groups)
    return fail(typeAndShape(zeros) + ", not a row for each of the " + text::number(groups) + " groups");
  if (zeros.shape[1] > rows || zeros.shape[1] * 32 % rows != 0)
    return fail(typeAndShape(zeros) + ": zero points of " + text::number(rows) + " outputs do not fill its words");
  const std::uint64_t bits = zeros.shape[1] * 32 / rows;
  if (bits < 2 || bits > 8)
    return fail(typeAndShape(zeros) + ": " + text::number(bits) + " bits for each of " + text::number(rows) + " outputs");
  if (weight.shape[0] == 0 || weight.shape[0] % bits != 0)
    return fail(typeAndShape(weight) + ": its words do not hold whole runs of 32 codes of " + text::number(bits) + " bits");
  const std::uint64_t columns = weight.shape[0] / bits * 32;
  if (groups > columns) return fail(typeAndShape(scales) + ": more groups than inputs");
  return Sizes{rows, columns, groups, static_cast<int>(bits)};
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

// AWQ has the same keys, its words run along the output: there are an eighth as many columns as outputs.
bool packedAlongOutput(const Checkpoint& checkpoint, const std::string& module) {
  const TensorEntry *weight = findEntry(checkpoint, module + ".qweight"), *scales = findEntry(checkpoint, module + ".scales");
  return weight != nullptr && scales != nullptr && weight->shape.size() == 2 && scales->shape.size() == 2 &&
         weight->shape[1] != scales->shape[1] && weight->shape[1] * 8 == scales->shape[1];
}

bool isOurs(const Checkpoint& checkpoint, const std::string& module, const Config& config) {
  if (packedAlongOutput(checkpoint, module)) return false;
  if (sizesAt(checkpoint, module)) return true;
  // Broken, and nothing else: the config or the companions say that it was to be GPTQ.
  const TensorEntry* weight = findEntry(checkpoint, module + ".qweight");
  if (weight->type != DType::I32 || config.method == "awq") return false;
  return config.method == "gptq" || findEntry(checkpoint, module + ".qzeros") != nullptr ||
         findEntry(checkpoint, module + ".g_idx") != nullptr;
}

// Length of a group where g_idx does not say it.
Result<std::uint64_t> groupLength(const Sizes& sizes, const Config& config) {
  if (config.group && *config.group > 0) {
    const auto length = static_cast<std::uint64_t>(*config.group);
    if ((sizes.columns + length - 1) / length == sizes.groups) return std::min(length, sizes.columns);
  }
  if (sizes.columns % sizes.groups == 0) return sizes.columns / sizes.groups;
  return fail(text::number(sizes.groups) + " groups do not divide " + text::number(sizes.columns) +
              " inputs, and neither g_idx nor the config says how they lie");
}

Result<Grouping> groupingOf(const Checkpoint& checkpoint, const std::string& module, const Sizes& sizes, const Config& config) {
  const std::string name = module + ".g_idx";
  const auto inOrder = [&]() -> Result<Grouping> {
    const auto length = groupLength(sizes, config);
    if (!length) return fail(length.error().within(module + ".scales"));
    return Grouping::blocks(sizes.rows, sizes.columns, 1, *length);
  };
  const TensorEntry* entry = findEntry(checkpoint, name);
  if (entry == nullptr) return inOrder();
  if (info(entry->type).floating || entry->shape != Shape{sizes.columns})
    return fail(typeAndShape(*entry) + "; expected one integer for each of the " + text::number(sizes.columns) + " inputs");
  const auto values = readFloats(checkpoint, name);
  if (!values) return fail(values.error());
  // Some writers leave g_idx empty, which exllamav2 reads as groups in order.
  if (std::all_of(values->begin(), values->end(), [](float value) { return value == 0; })) return inOrder();
  std::vector<std::uint32_t> index;
  for (const float value : *values) {
    if (!(value >= 0 && value < static_cast<float>(sizes.groups)))
      return fail(name + ": input " + text::number(std::uint64_t{index.size()}) + " is in group " + text::number(value) +
                  ", there are scales for " + text::number(sizes.groups));
    index.push_back(static_cast<std::uint32_t>(value));
  }
  const auto length = static_cast<std::uint64_t>(std::count(index.begin(), index.end(), 0u));
  bool sorted = length != 0;
  for (std::uint64_t column = 0; column < sizes.columns && sorted; ++column) sorted = index[column] == column / length;
  if (sorted) return Grouping::blocks(sizes.rows, sizes.columns, 1, length);
  if (*std::max_element(index.begin(), index.end()) + 1 != sizes.groups) return fail(name + ": the last group is never used");
  return Grouping::columnMap(sizes.rows, std::move(index));
}

Status checkConfig(const std::string& module, const Sizes& sizes, const Config& config, Version version) {
  if (version != Version::Planar && !storesBits(sizes.bits, version))
    return fail(module + ".qzeros: " + text::number(std::int64_t{sizes.bits}) + " bits, which GPTQ does not store");
  if (config.bits && *config.bits != sizes.bits)
    return fail(module + ": the config says " + text::number(*config.bits) + " bits, the arrays hold " +
                text::number(std::int64_t{sizes.bits}));
  if (!config.group || *config.group == 0) return {};
  const std::uint64_t length = *config.group < 0 ? sizes.columns : static_cast<std::uint64_t>(*config.group);
  if ((sizes.columns + length - 1) / length == sizes.groups) return {};
  return fail(module + ".scales: the config says group " + text::number(*config.group) + ", the arrays hold " +
              text::number(sizes.groups) + " groups for " + text::number(sizes.columns) + " inputs");
}

std::string_view nameOf(Version version) {
  return version == Version::V1 ? "gptq" : version == Version::V2 ? "gptq_v2" : "gptq_p";
}

// "gptq 4 bit group 32".
std::string describe(const Sizes& sizes, Version version, const Config& config) {
  const auto length = groupLength(sizes, config);
  return std::string(nameOf(version)) + " " + text::number(std::int64_t{sizes.bits}) + " bit group " +
         text::number(length ? *length : (sizes.columns + sizes.groups - 1) / sizes.groups);
}

}  // namespace

std::vector<PackedLayer> detect(const Checkpoint& checkpoint, Version version) {
  const Config config = configOf(checkpoint);
  std::vector<PackedLayer> layers;
  std::optional<Decision> decision;
  for (std::size_t i = 0; i < checkpoint.entries().size(); ++i) {
    const TensorEntry& entry = checkpoint.entries()[i];
    if (!entry.name.ends_with(suffix) || entry.name.size() == suffix.size()) continue;
    const std::string module = entry.name.substr(0, entry.name.size() - suffix.size());
    if (!isOurs(checkpoint, module, config)) continue;
    const auto sizes = sizesAt(checkpoint, module);
    // The first sound layer speaks for all.
    if (sizes && !decision) decision = decide(config, *sizes, zeroEvidence(checkpoint, module, *sizes));
    if ((decision ? decision->version : config.version.value_or(Version::V1)) != version) continue;
    PackedLayer layer{module + ".weight", {}, {i}, {}};
    for (const char* key : {".qzeros", ".scales", ".g_idx"})
      if (const auto index = checkpoint.find(module + key)) layer.parts.push_back(*index);
    if (sizes) {
      layer.shape = {sizes->rows, sizes->columns};
      layer.description = describe(*sizes, version, config);
      if (version != Version::Planar)
        layer.readings = {version == Version::V1 ? "v1" : "v2", version == Version::V1 ? "v2" : "v1"};
      if (decision) layer.doubt = decision->doubt;
    } else {
      layer.shape = {0, 0};
      layer.description = std::string(nameOf(version)) + ", broken";
    }
    layers.push_back(std::move(layer));
  }
  return layers;
}

Result<QuantizedTensor> read(const Checkpoint& checkpoint, const PackedLayer& layer, Version version) {
  const std::string module = moduleName(layer.name);
  const auto sizes = sizesAt(checkpoint, module);
  if (!sizes) return fail(sizes.error());
  const Config config = configOf(checkpoint);
  NIBBLE_TRY(checkConfig(module, *sizes, config, version));
  const auto weight = readBytes(checkpoint, module + ".qweight"), zeros = readBytes(checkpoint, module + ".qzeros");
  if (!weight) return fail(weight.error());
  if (!zeros) return fail(zeros.error());
  auto scales = groupScales(checkpoint, module + ".scales", sizes->groups, sizes->rows);
  if (!scales) return fail(scales.error());
  const auto grouping = groupingOf(checkpoint, module, *sizes, config);
  if (!grouping) return fail(grouping.error());
  // Grouping and scales count groups alike, or the description would be wrong from here on.
  if (grouping->groupCount() != sizes->rows * sizes->groups)
    return fail(module + ".g_idx: " + text::number(grouping->groupCount() / sizes->rows) +
                " groups are used, there are scales for " + text::number(sizes->groups));

  QuantizedTensor tensor;
  tensor.scheme = describe(*sizes, version, config);
  tensor.rows = sizes->rows;
  tensor.columns = sizes->columns;
  tensor.shape = {sizes->rows, sizes->columns};
  tensor.width.uniform = static_cast<std::uint8_t>(sizes->bits);
  tensor.rule = ValueRule::ScaleMinusZero;
  tensor.layout = weightLayout(sizes->rows, sizes->columns, sizes->bits, version);
  tensor.codes = tensor.layout->unpack(*weight, tensor.weightCount());
  const DType type = findEntry(checkpoint, module + ".scales")->type;
  tensor.scale = Plane::numbers(*grouping, *std::move(scales), storedLike(type));
  tensor.zero = packedIntegers(*grouping, unpackZeros(*zeros, sizes->rows, sizes->groups, sizes->bits, version), sizes->bits);
  if (config.halves) tensor.arithmetic = Arithmetic{FloatType::F16, FloatType::F16, false};
  return tensor;
}

}  // namespace nibble::formats::gptq
