// SPDX-License-Identifier: GPL-3.0-or-later
// The layout followed here, from the format's description alone: keys P.W_q, P.scale, P.zero and 17 scalars and texts; the
// weights, flat, form a matrix [groups, group] (axis 1) or [group, groups] (axis 0) of R rows; W_q holds ceil(R / slots) rows,
// slot k of packed row i (slot 0 in the highest used bits) being row k * packedRows + i. w = (q - zero) * scale, each step in
// P.compute_dtype.
#include "core/formats/hqq/proof.h"

#include "core/formats/proof_container.h"

namespace nibble::proof {
namespace {

struct Layer {
  std::int64_t bits = 0, axis = 0, group = 0;
  std::uint64_t rows = 0, columns = 0;  // of the grouped matrix
  std::uint64_t slots = 0, slotBits = 0;
  std::string arithmetic;
  Array codes, scale, zero;
};

struct PackingFacts {
  const char* name;
  std::uint64_t slots, slotBits;
  const char* type;
};

Result<PackingFacts> packingFacts(std::int64_t bits) {
  switch (bits) {
    case 8:
    case 6:
    case 5:
      return PackingFacts{"8bit_u8", 1, 8, "U8"};
    case 4:
      return PackingFacts{"4bit_u8", 2, 4, "U8"};
    case 3:
      return PackingFacts{"3bit_32", 10, 3, "I32"};
    case 2:
      return PackingFacts{"2bit_u8", 4, 2, "U8"};
    case 1:
      return PackingFacts{"1bit_u8", 8, 1, "U8"};
    default:
      return fail("nbits is " + std::to_string(bits));
  }
}

Status expectText(const Container& file, const std::string& name, const std::string& wanted) {
  auto array = file.read(name);
  if (!array) return fail(array.error());
  if (!array->is("U8", {wanted.size()}) || array->text() != wanted) return fail(name + ": expected \"" + wanted + "\"");
  return {};
}

Status expectNumber(const Container& file, const std::string& name, const std::string& type, std::int64_t wanted) {
  auto number = file.number(name, type);
  if (!number) return fail(number.error());
  if (*number != wanted) return fail(name + ": expected " + std::to_string(wanted) + ", found " + std::to_string(*number));
  return {};
}

// The keys that say how the layer was made or is to be read, as our writer fixes them.
Status expectDescription(const Container& file, const std::string& p, const Layer& layer, const PackingFacts& facts) {
  NIBBLE_TRY(expectText(file, p + "packing", facts.name));
  NIBBLE_TRY(expectText(file, p + "unpack_view_dtype", std::string("torch.") + (layer.bits == 3 ? "int32" : "uint8")));
  for (const char* key : {"view_as_float", "quant_scale", "quant_zero", "offload_meta"})
    NIBBLE_TRY(expectNumber(file, p + key, "U8", 0));
  for (const char* key : {"channel_wise", "optimize", "encoded_state_dict", "stores_quant_config"})
    NIBBLE_TRY(expectNumber(file, p + key, "U8", 1));
  return expectNumber(file, p + "round_zero", "U8", layer.bits == 4 ? 1 : 0);
}

Status loadArrays(const Container& file, const std::string& p, Layer& layer) {
  const auto compute = file.read(p + "compute_dtype");
  if (!compute) return fail(compute.error());
  for (const char* type : {"float32", "float16", "bfloat16"})
    if (compute->type == "U8" && compute->text() == std::string("torch.") + type) layer.arithmetic = type;
  if (layer.arithmetic.empty()) return fail(p + "compute_dtype: unexpected text");
  auto codes = file.read(p + "W_q"), scale = file.read(p + "scale"), zero = file.read(p + "zero");
  if (!codes) return fail(codes.error());
  if (!scale) return fail(scale.error());
  if (!zero) return fail(zero.error());
  layer.codes = std::move(*codes);
  layer.scale = std::move(*scale);
  layer.zero = std::move(*zero);
  return {};
}

Status placeGroups(const Container& file, const std::string& p, Layer& layer) {
  auto shape = file.read(p + "shape");
  if (!shape) return fail(shape.error());
  if (!shape->is("I64", {2})) return fail(p + "shape: expected two I64 numbers");
  const std::uint64_t out = shape->unsignedAt(0), in = shape->unsignedAt(1);
  if (out == 0 || in == 0 || out >> 32 != 0 || in >> 32 != 0) return fail(p + "shape: impossible");
  if (layer.group <= 0 || out * in % static_cast<std::uint64_t>(layer.group) != 0)
    return fail(p + "group_size does not divide the layer");
  const auto group = static_cast<std::uint64_t>(layer.group);
  const std::uint64_t groups = out * in / group;
  if (layer.axis != 0 && layer.axis != 1) return fail(p + "axis is neither 0 nor 1");
  layer.rows = layer.axis == 1 ? groups : group;
  layer.columns = layer.axis == 1 ? group : groups;
  const std::vector<std::uint64_t> wanted =
      layer.axis == 1 ? std::vector<std::uint64_t>{groups, 1} : std::vector<std::uint64_t>{1, groups};
  if (layer.scale.shape != wanted || !layer.zero.is(layer.scale.type, wanted))
    return fail(p + "scale or zero: unexpected shape");
  if (layer.scale.type != "F32" && layer.scale.type != "F16" && layer.scale.type != "BF16")
    return fail(p + "scale: unexpected type");
  return {};
}

Result<std::vector<float>> decodeCodes(const Layer& layer, const std::string& p) {
  std::vector<float> values(layer.rows * layer.columns);
  const std::uint64_t packedRows = (layer.rows + layer.slots - 1) / layer.slots;
  for (std::uint64_t i = 0; i < packedRows; ++i) {
    for (std::uint64_t column = 0; column < layer.columns; ++column) {
      const std::uint64_t word = layer.codes.unsignedAt(i * layer.columns + column);
      if (word >> (layer.slots * layer.slotBits) != 0) return fail(p + "W_q: bits beyond the last slot");
      for (std::uint64_t k = 0; k < layer.slots; ++k) {
        const std::uint64_t row = k * packedRows + i;
        const std::uint64_t code = word >> ((layer.slots - 1 - k) * layer.slotBits) & ((1u << layer.slotBits) - 1);
        if (row >= layer.rows) {
          if (code != 0) return fail(p + "W_q: padding rows are not zero");
          continue;
        }
        if (code >> layer.bits != 0) return fail(p + "W_q: a code is wider than nbits");
        const std::uint64_t group = layer.axis == 1 ? row : column;
        const float difference = rounded(static_cast<float>(code) - layer.zero.floatAt(group), layer.arithmetic);
        values[row * layer.columns + column] = rounded(difference * layer.scale.floatAt(group), layer.arithmetic);
      }
    }
  }
  return values;
}

Result<std::vector<float>> decodeLayer(const Container& file, const std::string& p) {
  Layer layer;
  const auto bits = file.number(p + "nbits", "I32"), axis = file.number(p + "axis", "I32"),
             group = file.number(p + "group_size", "I32");
  if (!bits) return fail(bits.error());
  if (!axis) return fail(axis.error());
  if (!group) return fail(group.error());
  layer.bits = *bits;
  layer.axis = *axis;
  layer.group = *group;
  const auto facts = packingFacts(layer.bits);
  if (!facts) return fail(facts.error().within(p + "nbits"));
  layer.slots = facts->slots;
  layer.slotBits = facts->slotBits;
  NIBBLE_TRY(loadArrays(file, p, layer));
  NIBBLE_TRY(expectDescription(file, p, layer, *facts));
  NIBBLE_TRY(placeGroups(file, p, layer));
  if (!layer.codes.is(facts->type, {(layer.rows + layer.slots - 1) / layer.slots, layer.columns}))
    return fail(p + "W_q: unexpected type or shape");
  return decodeCodes(layer, p);
}

}  // namespace

Result<std::vector<float>> decodeHqq(const std::filesystem::path& file, const std::string& tensorName) {
  auto container = Container::open(file);
  if (!container) return fail(container.error());
  const std::string suffix = ".weight";
  std::string module = tensorName;
  if (module.size() > suffix.size() && module.compare(module.size() - suffix.size(), suffix.size(), suffix) == 0)
    module.resize(module.size() - suffix.size());
  return decodeLayer(*container, module + ".");
}

}  // namespace nibble::proof
