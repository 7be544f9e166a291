// SPDX-License-Identifier: GPL-3.0-or-later
// Reading LLM.int8 layers: for a module P the codes P.weight I8 [out, in], the absmax of each row P.SCB F32 [out] and
// P.weight_format U8 = 0 (row-major; others are arranged for one kind of GPU and not read).
//     w = fl32(fl32(code * SCB) * fl32(1 / 127))
// Source: bitsandbytes 0.50 functional.py, int8_vectorwise_dequant.
#include "core/formats/bnb/int8.h"

#include "core/formats/parts.h"

namespace nibble::formats::bnb {
namespace {

constexpr std::string_view scaleSuffix = ".SCB";

struct Parts {
  const TensorEntry *codes = nullptr, *scale = nullptr;
};

Result<Parts> partsAt(const Checkpoint& checkpoint, const std::string& p) {
  const Parts parts{partAt(checkpoint, p + "weight"), partAt(checkpoint, p + "SCB")};
  if (parts.codes == nullptr || parts.codes->type != DType::I8 || parts.codes->shape.size() != 2 ||
      elementCount(parts.codes->shape) == 0)
    return fail(p + "weight: not the codes of an int8 layer");
  if (parts.scale == nullptr) return fail(p + "SCB: missing");
  if (parts.scale->type != DType::F32 || parts.scale->shape != Shape{parts.codes->shape[0]})
    return fail(expected(parts.scale->name, "one F32 for each row", *parts.scale));
  return parts;
}

}  // namespace

std::vector<PackedLayer> detectInt8(const Checkpoint& checkpoint) {
  std::vector<PackedLayer> layers;
  for (std::size_t i = 0; i < checkpoint.entries().size(); ++i) {
    const std::string& key = checkpoint.entries()[i].name;
    if (!key.ends_with(scaleSuffix)) continue;
    const std::string module = key.substr(0, key.size() - scaleSuffix.size());
    const auto parts = partsAt(checkpoint, module + ".");
    if (!parts) {
      const TensorEntry* codes = partAt(checkpoint, module + ".weight");
      if (codes != nullptr && codes->type == DType::I8)
        layers.push_back(brokenLayer(checkpoint, codes->name, "LLM.int8", {codes->name, key, module + ".weight_format"}));
      continue;
    }
    PackedLayer layer{module + ".weight", "LLM.int8", {*checkpoint.find(module + ".weight"), i}, parts->codes->shape};
    if (const auto index = checkpoint.find(module + ".weight_format")) layer.parts.push_back(*index);
    layers.push_back(std::move(layer));
  }
  return layers;
}

bool isInt8(const Checkpoint& checkpoint, const PackedLayer& layer) {
  return partAt(checkpoint, moduleName(layer.name) + std::string(scaleSuffix)) != nullptr;
}

Result<QuantizedTensor> readInt8(const Checkpoint& checkpoint, const PackedLayer& layer) {
  const std::string p = moduleName(layer.name) + ".";
  const auto parts = partsAt(checkpoint, p);
  if (!parts) return fail(parts.error());
  if (partAt(checkpoint, p + "weight_format") != nullptr) {
    const auto format = readInteger(checkpoint, p + "weight_format");
    if (!format) return fail(format.error());
    if (*format != 0) return fail(p + "weight_format: only row-major codes (0) are read, found " + std::to_string(*format));
  }
  auto codes = byteCodes(checkpoint, parts->codes->name);
  if (!codes) return fail(codes.error());
  auto scale = finiteFloats(checkpoint, parts->scale->name);
  if (!scale) return fail(scale.error());

  QuantizedTensor tensor;
  tensor.scheme = layer.description;
  tensor.shape = parts->codes->shape;
  tensor.rows = tensor.shape[0];
  tensor.columns = tensor.shape[1];
  tensor.codes = Codes(std::move(*codes));
  tensor.width.uniform = 8;
  tensor.levels = signedBytes();
  tensor.scale = Plane::numbers(Grouping::blocks(tensor.rows, tensor.columns, 1, 0), std::move(*scale), Stored::F32);
  tensor.arithmetic.factor = 1.0f / 127.0f;
  tensor.layout = denseLayout(tensor.weightCount(), 8);
  return tensor;
}

}  // namespace nibble::formats::bnb
