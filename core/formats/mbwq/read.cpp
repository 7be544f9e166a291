// SPDX-License-Identifier: GPL-3.0-or-later
// Reading MBWQ layers. A permutation of nothing but 0 means none, as in the uniform kernels of bitorch-engine (its mixed ones
// would read input 0 for all). In uniform mode the group size is the config's where that fits, else what divides the inputs,
// else the smallest multiple of 32 that makes as many groups.
#include "core/base/text.h"
#include "core/formats/input_groups.h"
#include "core/formats/mbwq/plan.h"
#include "core/formats/tools.h"
#include "core/quant/stream_layout.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

namespace nibble::formats::mbwq {
namespace {

using Json = nlohmann::json;

constexpr std::string_view suffix = ".qweight";
constexpr std::uint64_t inputStep = 32, mostInputs = 65535;

std::string shapeText(const TensorEntry* entry) {
  return entry == nullptr ? "missing" : std::string(info(entry->type).name) + " " + toText(entry->shape);
}

struct Parts {
  const TensorEntry *weight, *scales, *zeros, *perm, *channelScale, *groups, *map, *bias;
};

Parts partsOf(const Checkpoint& checkpoint, const std::string& p) {
  const auto find = [&](const char* key) { return findEntry(checkpoint, p + key); };
  return {find("qweight"),       find("scales"),   find("zeros"),       find("q_perm"),
          find("channel_scale"), find("q_groups"), find("q_group_map"), find("bias")};
}

Status checkShapes(const Parts& parts, const std::string& p) {
  const TensorEntry &weight = *parts.weight, &scales = *parts.scales, &perm = *parts.perm;
  if (weight.type != DType::I32 || weight.shape.size() != 2 || weight.shape[0] == 0 || weight.shape[1] == 0)
    return fail(p + "qweight: expected I32 [rows, out], found " + shapeText(parts.weight));
  if (scales.type != DType::F16 || scales.shape.size() != 2 || scales.shape[0] == 0 || scales.shape[1] != weight.shape[1])
    return fail(p + "scales: expected F16 [groups, " + text::number(weight.shape[1]) + "], found " + shapeText(parts.scales));
  if (parts.zeros->type != DType::F16 || parts.zeros->shape != scales.shape)
    return fail(p + "zeros: expected F16 " + toText(scales.shape) + ", found " + shapeText(parts.zeros));
  if (perm.type != DType::I16 || perm.shape.size() != 1 || perm.shape[0] == 0 || perm.shape[0] % inputStep != 0 ||
      perm.shape[0] > mostInputs)
    return fail(p + "q_perm: expected I16 [in] for a multiple of 32 inputs below 65536, found " + shapeText(parts.perm));
  const std::uint64_t inputs = perm.shape[0];
  if (parts.channelScale != nullptr &&
      (parts.channelScale->type != DType::F16 || plausibleCount(parts.channelScale->shape) != inputs))
    return fail(p + "channel_scale: expected F16 [1, 1, " + text::number(inputs) + "], found " + shapeText(parts.channelScale));
  if (parts.groups != nullptr && (parts.groups->type != DType::I16 || parts.groups->shape != Shape{2 * scales.shape[0]}))
    return fail(p + "q_groups: expected I16 " + toText(Shape{2 * scales.shape[0]}) + ", found " + shapeText(parts.groups));
  if (parts.map != nullptr && (parts.map->type != DType::I16 || parts.map->shape != Shape{2 * inputs}))
    return fail(p + "q_group_map: expected I16 " + toText(Shape{2 * inputs}) + ", found " + shapeText(parts.map));
  if (parts.bias != nullptr && parts.bias->shape != Shape{weight.shape[1]})
    return fail(p + "bias: expected " + toText(Shape{weight.shape[1]}) + ", found " + shapeText(parts.bias));
  return {};
}

std::uint64_t configuredGroup(const Checkpoint& checkpoint) {
  const Json config = Json::parse(checkpoint.configText(), nullptr, false);
  if (!config.is_object() || !config.contains("quantization_config") || !config["quantization_config"].is_object()) return 0;
  const Json& settings = config["quantization_config"];
  if (!settings.contains("group_size") || !settings["group_size"].is_number_unsigned()) return 0;
  return settings["group_size"].get<std::uint64_t>();
}

Result<std::vector<WidthGroup>> uniformGroups(const Checkpoint& checkpoint, const Parts& parts, const std::string& p) {
  const std::uint64_t rows = parts.weight->shape[0], inputs = parts.perm->shape[0], count = parts.scales->shape[0];
  if (rows != inputs * 2 / 32 && rows != inputs * 4 / 32)
    return fail(p + "qweight: " + text::number(rows) + " rows are neither 2 nor 4 bits for " + text::number(inputs) +
                " inputs, and there is no q_groups");
  const auto bits = static_cast<std::uint8_t>(rows * 32 / inputs);
  std::uint64_t size = configuredGroup(checkpoint);
  const auto fits = [&](std::uint64_t group) {
    return group % inputStep == 0 && group != 0 && (inputs + group - 1) / group == count;
  };
  if (!fits(size) && inputs % count == 0) size = inputs / count;
  if (!fits(size)) size = (inputs + count * inputStep - 1) / (count * inputStep) * inputStep;
  if (!fits(size))
    return fail(p + "scales: " + text::number(count) + " groups do not divide " + text::number(inputs) +
                " inputs in multiples of 32");
  std::vector<WidthGroup> groups;
  for (std::uint64_t first = 0; first < inputs; first += size) groups.push_back({bits, std::min(size, inputs - first)});
  return groups;
}

Result<std::vector<WidthGroup>> readGroups(const Checkpoint& checkpoint, const Parts& parts, const std::string& p) {
  if (parts.groups == nullptr) return uniformGroups(checkpoint, parts, p);
  const auto table = readBytes(checkpoint, p + "q_groups");
  if (!table) return fail(table.error());
  auto groups = parseGroupTable(*table, parts.weight->shape[0]);
  if (!groups) return fail(groups.error().within(p + "q_groups"));
  if (inputCount(*groups) != parts.perm->shape[0])
    return fail(p + "q_groups: the groups hold " + text::number(inputCount(*groups)) + " inputs, q_perm has " +
                text::number(parts.perm->shape[0]));
  if (parts.map == nullptr) return groups;
  const auto map = readFloats(checkpoint, p + "q_group_map");
  if (!map) return fail(map.error());
  const auto expected = groupMap(*groups);
  for (std::size_t i = 0; i < expected.size(); ++i)
    if ((*map)[i] != static_cast<float>(static_cast<std::int16_t>(expected[i])))
      return fail(p + "q_group_map: differs from q_groups at " + text::number(std::uint64_t{i}));
  return groups;
}

// Unsigned 16-bit numbers; all 0 is the identity.
Result<std::vector<std::uint32_t>> readOrder(const Checkpoint& checkpoint, const std::string& name) {
  const auto values = readFloats(checkpoint, name);
  if (!values) return fail(values.error());
  std::vector<std::uint32_t> order;
  for (const float value : *values) order.push_back(static_cast<std::uint16_t>(static_cast<std::int16_t>(value)));
  if (std::all_of(order.begin(), order.end(), [](std::uint32_t place) { return place == 0; }))
    return identityOrder(order.size());
  if (!isPermutation(order)) return fail(name + ": not a permutation of the inputs");
  return order;
}

// [groups, rows] in the file, [rows, groups] here.
Result<std::vector<float>> readParameters(const Checkpoint& checkpoint, const std::string& name, const Shape& shape) {
  const auto values = readFloats(checkpoint, name);
  if (!values) return fail(values.error());
  std::vector<float> turned(values->size());
  for (std::uint64_t g = 0; g < shape[0]; ++g) {
    for (std::uint64_t row = 0; row < shape[1]; ++row) {
      const float value = (*values)[g * shape[1] + row];
      if (!std::isfinite(value))
        return fail(name + ": the number of group " + text::number(g) + ", output " + text::number(row) + " is not finite");
      turned[row * shape[0] + g] = value;
    }
  }
  return turned;
}

Result<std::vector<float>> readChannelScale(const Checkpoint& checkpoint, const std::string& name,
                                            const std::vector<std::uint32_t>& order) {
  const auto values = readFloats(checkpoint, name);
  if (!values) return fail(values.error());
  std::vector<float> stored(order.size());
  for (std::size_t k = 0; k < order.size(); ++k) {
    stored[k] = (*values)[order[k]];
    if (!std::isfinite(stored[k]))
      return fail(name + ": the scale of input " + text::number(std::uint64_t{order[k]}) + " is not finite");
  }
  return stored;
}

}  // namespace

std::vector<PackedLayer> detect(const Checkpoint& checkpoint) {
  std::vector<PackedLayer> layers;
  for (std::size_t i = 0; i < checkpoint.entries().size(); ++i) {
    const TensorEntry& entry = checkpoint.entries()[i];
    if (!entry.name.ends_with(suffix) || entry.type != DType::I32 || entry.shape.size() != 2) continue;
    const std::string module = entry.name.substr(0, entry.name.size() - suffix.size()), p = module + ".";
    const Parts parts = partsOf(checkpoint, p);
    if (parts.scales == nullptr || parts.zeros == nullptr || parts.perm == nullptr || parts.perm->shape.size() != 1 ||
        findEntry(checkpoint, p + "qzeros") != nullptr)
      continue;
    PackedLayer layer{module + ".weight", {}, {i}, {entry.shape[1], parts.perm->shape[0]}};
    for (const char* key : {"scales", "zeros", "q_perm", "channel_scale", "q_groups", "q_group_map", "bias"})
      if (const auto index = checkpoint.find(p + key)) layer.parts.push_back(*index);
    const std::uint64_t inputs = std::max<std::uint64_t>(layer.shape[1], 1);
    layer.description = parts.groups != nullptr
                            ? "mbwq mixed, " +
                                  text::digits(32.0 * static_cast<double>(entry.shape[0]) / static_cast<double>(inputs), 3) +
                                  " bits a code"
                            : "mbwq " + text::number(entry.shape[0] * 32 / inputs) + " bit";
    if (!parts.scales->shape.empty()) layer.description += ", " + text::number(parts.scales->shape[0]) + " groups";
    layers.push_back(std::move(layer));
  }
  return layers;
}

Result<QuantizedTensor> read(const Checkpoint& checkpoint, const PackedLayer& layer) {
  const std::string p = moduleName(layer.name) + ".";
  const Parts parts = partsOf(checkpoint, p);
  if (parts.weight == nullptr || parts.scales == nullptr || parts.zeros == nullptr || parts.perm == nullptr)
    return fail(p + "qweight: not an MBWQ layer");
  if (auto status = checkShapes(parts, p); !status) return fail(status.error());
  const auto groups = readGroups(checkpoint, parts, p);
  if (!groups) return fail(groups.error());
  auto order = readOrder(checkpoint, p + "q_perm");
  if (!order) return fail(order.error());
  const auto weight = readBytes(checkpoint, p + "qweight");
  if (!weight) return fail(weight.error());
  auto scale = readParameters(checkpoint, p + "scales", parts.scales->shape),
       zero = readParameters(checkpoint, p + "zeros", parts.scales->shape);
  if (!scale) return fail(scale.error());
  if (!zero) return fail(zero.error());
  for (float& value : *zero) value = -value;

  QuantizedTensor tensor;
  tensor.scheme = layer.description;
  tensor.rows = parts.weight->shape[1];
  tensor.columns = order->size();
  tensor.shape = {tensor.rows, tensor.columns};
  if (parts.groups != nullptr)
    tensor.width = widthPlane(tensor.rows, *groups);
  else
    tensor.width.uniform = groups->front().bits;
  tensor.layout = inputStreamLayout(tensor.rows, tensor.rows, widthsOf(*groups));
  tensor.codes = tensor.layout->unpack(*weight, tensor.weightCount());
  tensor.rule = ValueRule::ScalePlusBias;
  const Grouping grouping = Grouping::columnMap(tensor.rows, indexOf(*groups));
  tensor.scale = Plane::numbers(grouping, std::move(*scale), Stored::F16);
  tensor.zero = Plane::numbers(grouping, std::move(*zero), Stored::F16);
  tensor.arithmetic = {FloatType::F16, FloatType::F16, true};
  tensor.orderBytes = 2;
  tensor.order = std::move(*order);
  if (parts.channelScale == nullptr) return tensor;
  auto channelScale = readChannelScale(checkpoint, p + "channel_scale", tensor.order);
  if (!channelScale) return fail(channelScale.error());
  tensor.channelScale = std::move(*channelScale);
  tensor.channelScaleMultiplies = true;
  return tensor;
}

}  // namespace nibble::formats::mbwq
