// SPDX-License-Identifier: GPL-3.0-or-later
// Reading HQQ layers, as hqq itself or transformers saved them. Detection is by keys: hqq's own files have no
// quantization_config.
#include "core/formats/hqq/plan.h"
#include "core/formats/parts.h"

namespace nibble::formats::hqq {
namespace {

constexpr std::string_view codesSuffix = ".W_q";

struct Header {
  std::string packing;
  std::int64_t axis = 1;
  std::uint64_t group = 0;
  int bits = 4;
  Shape shape;
};

Result<int> bitsOf(const Checkpoint& checkpoint, const std::string& p, const std::string& packing) {
  const auto bits = readInteger(checkpoint, p + "nbits");
  if (!bits) return fail(bits.error());
  // 1.58 bits are written as a float and packed like 2; the packing decides.
  if (packing == "2bit_u8") return 2;
  if (!packingOf(static_cast<int>(*bits)) || packingOf(static_cast<int>(*bits))->name != packing)
    return fail(p + "packing: \"" + packing + "\" does not hold " + std::to_string(*bits) + " bits");
  return static_cast<int>(*bits);
}

Result<Header> readHeader(const Checkpoint& checkpoint, const std::string& p) {
  Header header;
  const auto packing = readText(checkpoint, p + "packing");
  if (!packing) return fail(packing.error());
  header.packing = *packing;
  const auto bits = bitsOf(checkpoint, p, *packing);
  if (!bits) return fail(bits.error());
  header.bits = *bits;
  const auto axis = readInteger(checkpoint, p + "axis"), group = readInteger(checkpoint, p + "group_size");
  if (!axis) return fail(axis.error());
  if (!group) return fail(group.error());
  if (*axis != 0 && *axis != 1) return fail(p + "axis: expected 0 or 1, found " + std::to_string(*axis));
  if (*group <= 0) return fail(p + "group_size: expected a positive number, found " + std::to_string(*group));
  header.axis = *axis;
  header.group = static_cast<std::uint64_t>(*group);
  const auto shape = readFloats(checkpoint, p + "shape");
  if (!shape) return fail(shape.error());
  if (shape->size() != 2) return fail(p + "shape: expected two numbers");
  for (const float side : *shape) {
    if (!(side >= 1 && side < 16777216.0f)) return fail(p + "shape: not a usable size");
    header.shape.push_back(static_cast<std::uint64_t>(side));
  }
  return header;
}

// What the layer says it computes in; where it says nothing, the type of its scales.
Result<FloatType> computeType(const Checkpoint& checkpoint, const std::string& p, FloatType fallback) {
  if (!checkpoint.find(p + "compute_dtype")) return fallback;
  const auto text = readText(checkpoint, p + "compute_dtype");
  if (!text) return fail(text.error());
  for (const FloatType type : {FloatType::F32, FloatType::F16, FloatType::BF16})
    if (*text == "torch." + std::string(typeName(type))) return type;
  return fail(p + "compute_dtype: \"" + *text + "\" is not read");
}

}  // namespace

std::vector<PackedLayer> detect(const Checkpoint& checkpoint) {
  std::vector<PackedLayer> layers;
  for (std::size_t i = 0; i < checkpoint.entries().size(); ++i) {
    const TensorEntry& entry = checkpoint.entries()[i];
    if (!entry.name.ends_with(codesSuffix)) continue;
    const std::string module = entry.name.substr(0, entry.name.size() - codesSuffix.size()), p = module + ".";
    const auto scale = checkpoint.find(p + "scale"), zero = checkpoint.find(p + "zero"),
               packing = checkpoint.find(p + "packing");
    if (!packing && (!scale || !zero)) continue;
    const auto header = readHeader(checkpoint, p);
    if (!scale || !zero || !header) {
      layers.push_back(
          brokenLayer(checkpoint, module + ".weight", "hqq", {entry.name, p + "scale", p + "zero", p + "packing"}));
      continue;
    }
    PackedLayer layer{module + ".weight", {}, {i, *scale, *zero}, header->shape};
    layer.description = "hqq " + std::to_string(header->bits) + " bit group " + std::to_string(header->group) + " axis " +
                        std::to_string(header->axis);
    for (const char* key : {"nbits", "axis", "group_size", "shape", "packing", "unpack_view_dtype", "compute_dtype",
                            "view_as_float", "quant_scale", "quant_zero", "offload_meta", "channel_wise", "optimize",
                            "round_zero", "encoded_state_dict", "stores_quant_config"})
      if (const auto index = checkpoint.find(p + key)) layer.parts.push_back(*index);
    layers.push_back(std::move(layer));
  }
  return layers;
}

Result<QuantizedTensor> read(const Checkpoint& checkpoint, const PackedLayer& layer) {
  const std::string p = moduleName(layer.name) + ".";
  const auto header = readHeader(checkpoint, p);
  if (!header) return fail(header.error());
  if (checkpoint.find(p + "view_as_float")) {
    const auto viewed = readInteger(checkpoint, p + "view_as_float");
    if (!viewed || *viewed != 0) return fail(p + "view_as_float: codes stored as floats are not read");
  }
  const std::uint64_t rows = header->shape[0], columns = header->shape[1], count = rows * columns;
  if (count % header->group != 0) return fail(p + "group_size: does not divide the layer");
  Plan plan;
  plan.bits = header->bits;
  plan.axis = static_cast<int>(header->axis);
  plan.group = header->group;
  plan.groups = count / header->group;
  plan.packing = *packingOf(header->bits);

  const auto codes = readBytes(checkpoint, p + "W_q");
  if (!codes) return fail(codes.error());
  for (const char* key : {"scale", "zero"})
    if (partAt(checkpoint, p + key) == nullptr) return fail(p + key + ": missing");
  const auto scale = finiteFloats(checkpoint, p + "scale"), zero = finiteFloats(checkpoint, p + "zero");
  if (!scale) return fail(scale.error());
  if (!zero) return fail(zero.error());
  if (scale->size() != plan.groups || zero->size() != plan.groups) return fail(p + "scale: expected one number for each group");
  const auto type = floatTypeOf(findEntry(checkpoint, p + "scale")->type);
  if (!type || (*type != FloatType::F32 && *type != FloatType::F16 && *type != FloatType::BF16))
    return fail(p + "scale: expected F32, F16 or BF16");
  const auto compute = computeType(checkpoint, p, *type);
  if (!compute) return fail(compute.error());
  const auto layout = rowInterleavedLayout(plan.groupedRows(), plan.groupedColumns(), plan.packing.bits);
  if (codes->size() != layout->sizeBytes()) return fail(p + "W_q: expected " + std::to_string(layout->sizeBytes()) + " bytes");

  QuantizedTensor tensor;
  tensor.scheme = layer.description;
  tensor.rows = rows;
  tensor.columns = columns;
  tensor.shape = header->shape;
  tensor.codes = layout->unpack(*codes, count);
  tensor.width.uniform = static_cast<std::uint8_t>(header->bits);
  tensor.rule = ValueRule::ScaleMinusZero;
  const Grouping grouping =
      plan.axis == 1 ? Grouping::flat(rows, columns, plan.group) : Grouping::modulo(rows, columns, plan.groups);
  const Stored stored = *type == FloatType::F32 ? Stored::F32 : *type == FloatType::F16 ? Stored::F16 : Stored::BF16;
  tensor.scale = Plane::numbers(grouping, *scale, stored);
  tensor.zero = Plane::numbers(grouping, *zero, stored);
  tensor.arithmetic = {*compute, *compute, false};
  tensor.layout = layout;
  return tensor;
}

}  // namespace nibble::formats::hqq
