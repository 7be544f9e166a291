// SPDX-License-Identifier: GPL-3.0-or-later
// torchao's int8 weight-only layers as transformers saves them (read only): for a module P the codes P._weight_qdata I8
// [out, in], P._weight_scale [out, in / block] and, mostly zero, P._weight_zero_point I8 of the same shape; `__metadata__` has
// the recipe of P.weight as JSON, the type it decodes to among it.
//     w = fl(fl32((code - zero) * scale))     the last rounding to that type
// Source: torchao 0.18 quantization/quantize_/workflows/int8/int8_tensor.py.
#include "core/formats/parts.h"
#include "core/formats/read_only.h"

namespace nibble {
namespace {

using namespace formats;

constexpr std::string_view codesSuffix = "._weight_qdata";

struct Parts {
  const TensorEntry *codes = nullptr, *scale = nullptr, *zero = nullptr;  // zero may be missing
  FloatType type = FloatType::F32;
};

FloatType resultType(const Checkpoint& checkpoint, const std::string& weight, FloatType fallback) {
  for (const auto& [key, value] : checkpoint.metadata()) {
    if (key != weight) continue;
    const auto recipe = nlohmann::json::parse(value, nullptr, false);
    const std::string name = textAt(objectAt(objectAt(recipe, "_data"), "dtype"), "_data");
    for (const FloatType type : {FloatType::F32, FloatType::F16, FloatType::BF16})
      if (name == typeName(type)) return type;
  }
  return fallback;
}

Result<Parts> partsAt(const Checkpoint& checkpoint, const std::string& weight) {
  const std::string p = moduleName(weight) + ".";
  Parts parts{partAt(checkpoint, p + "_weight_qdata"), partAt(checkpoint, p + "_weight_scale"),
              partAt(checkpoint, p + "_weight_zero_point")};
  if (parts.codes == nullptr || parts.codes->type != DType::I8 || parts.codes->shape.size() != 2 ||
      elementCount(parts.codes->shape) == 0)
    return fail(p + "_weight_qdata: not the codes of a torchao int8 layer");
  if (parts.scale == nullptr) return fail(p + "_weight_scale: missing");
  const Shape& shape = parts.scale->shape;
  const std::uint64_t columns = parts.codes->shape[1];
  if (!parameterType(*parts.scale) || shape.size() != 2 || shape[0] != parts.codes->shape[0] || shape[1] == 0 ||
      columns % shape[1] != 0)
    return fail(expected(parts.scale->name, "floats for whole groups of each row", *parts.scale));
  if (parts.zero != nullptr && (parts.zero->shape != shape || parts.zero->type != DType::I8))
    return fail(expected(parts.zero->name, "I8 of the scales' shape", *parts.zero));
  parts.type = resultType(checkpoint, weight, *parameterType(*parts.scale));
  return parts;
}

class TorchaoFormat final : public ReadOnlyFormat {
 public:
  [[nodiscard]] const FormatInfo& info() const override {
    static const FormatInfo info = {"torchao",
                                    "torchao int8 weight-only: qdata, scale, zero point (read only)",
                                    "torchao 0.18 int8_tensor.py",
                                    {},
                                    ".safetensors"};
    return info;
  }

  [[nodiscard]] std::vector<PackedLayer> detect(const Checkpoint& checkpoint) const override {
    std::vector<PackedLayer> layers;
    for (std::size_t i = 0; i < checkpoint.entries().size(); ++i) {
      const std::string& key = checkpoint.entries()[i].name;
      if (!key.ends_with(codesSuffix)) continue;
      const std::string module = key.substr(0, key.size() - codesSuffix.size());
      const auto parts = partsAt(checkpoint, module + ".weight");
      if (!parts) {
        layers.push_back(brokenLayer(checkpoint, module + ".weight", "torchao",
                                     {key, module + "._weight_scale", module + "._weight_zero_point"}));
        continue;
      }
      PackedLayer layer{module + ".weight", {}, {i}, parts->codes->shape};
      for (const char* part : {"._weight_scale", "._weight_zero_point"})
        if (const auto index = checkpoint.find(module + part)) layer.parts.push_back(*index);
      layer.description = "torchao int8 group " + std::to_string(parts->codes->shape[1] / parts->scale->shape[1]);
      layers.push_back(std::move(layer));
    }
    return layers;
  }

  [[nodiscard]] Result<QuantizedTensor> read(const Checkpoint& checkpoint, const PackedLayer& layer) const override {
    const auto parts = partsAt(checkpoint, layer.name);
    if (!parts) return fail(parts.error());
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
    tensor.rule = ValueRule::ScaleMinusZero;
    const Grouping grouping = Grouping::blocks(tensor.rows, tensor.columns, 1, tensor.columns / parts->scale->shape[1]);
    tensor.scale = Plane::numbers(grouping, std::move(*scale), storedAs(*parameterType(*parts->scale)));
    tensor.zero = Plane::implied(grouping, 0);
    if (parts->zero != nullptr) {
      auto zero = readFloats(checkpoint, parts->zero->name);
      if (!zero) return fail(zero.error());
      tensor.zero = Plane::numbers(grouping, std::move(*zero), Stored::I8);
    }
    tensor.arithmetic = {FloatType::F32, parts->type, false};
    tensor.layout = denseLayout(tensor.weightCount(), 8);
    return tensor;
  }
};

}  // namespace

const Format& torchaoFormat() {
  static const TorchaoFormat format;
  return format;
}

}  // namespace nibble
