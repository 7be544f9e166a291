// SPDX-License-Identifier: GPL-3.0-or-later
// optimum-quanto's qint2 and qint4 weights (read only). For a module P the matrix [out, in] is cut along its rows into groups
// and becomes [out * in / group, group]; P.weight._data._data U8 packs its codes, 8 / bits rows to a byte, the first part of
// the rows in the low bits; P.weight._scale and ._shift are [grouped rows, 1].
//     w = fl(fl(scale * code) - shift)     each step in the scale's type
// The file does not say the layer's inputs. They are one of the sizes in config.json for which the library itself would choose
// this group (128, or less by 32 until it divides, at most the inputs); where none fits, the grouped matrix is shown.
// Source: optimum-quanto 0.2.7 tensor/packed.py, tensor/weights/qbits.py, nn/qmodule.py.
#include "core/formats/parts.h"
#include "core/formats/read_only.h"
#include "core/quant/row_layout.h"

namespace nibble {
namespace {

using namespace formats;

constexpr std::string_view codesSuffix = ".weight._data._data";

struct Sizes {
  std::uint64_t groupedRows = 0, group = 0;
  int bits = 4;
};

Result<Sizes> sizesAt(const Checkpoint& checkpoint, const std::string& weight) {
  const TensorEntry *codes = partAt(checkpoint, weight + "._data._data"), *scale = partAt(checkpoint, weight + "._scale"),
                    *shift = partAt(checkpoint, weight + "._shift");
  if (codes == nullptr || codes->type != DType::U8 || codes->shape.size() != 2 || elementCount(codes->shape) == 0)
    return fail(weight + "._data._data: not the codes of a quanto layer");
  if (scale == nullptr) return fail(weight + "._scale: missing");
  if (shift == nullptr) return fail(weight + "._shift: missing");
  if (scale->shape.size() != 2 || scale->shape[1] != 1 || !parameterType(*scale))
    return fail(expected(scale->name, "floats [rows, 1]", *scale));
  if (shift->shape != scale->shape || shift->type != scale->type)
    return fail(expected(shift->name, "the type and shape of the scales", *shift));
  const std::uint64_t packed = codes->shape[0], rows = scale->shape[0];
  for (const int bits : {4, 2}) {
    const auto slots = static_cast<std::uint64_t>(8 / bits);
    if (rows != 0 && (rows + slots - 1) / slots == packed) return Sizes{rows, codes->shape[1], bits};
  }
  return fail(expected(codes->name, "2 or 4 codes a byte for " + std::to_string(rows) + " scales", *codes));
}

// The group that the library chooses for a layer of `inputs`.
std::uint64_t chosenGroup(std::uint64_t inputs) {
  std::uint64_t group = 128;
  if (inputs < group) return inputs;
  while (group > 32 && inputs % group != 0) group -= 32;
  return group;
}

std::vector<std::uint64_t> sidesIn(const nlohmann::json& config) {
  std::vector<std::uint64_t> sides;
  for (const char* key : {"hidden_size", "intermediate_size", "d_model", "d_ff", "ffn_dim", "n_embd", "n_inner"})
    if (const auto side = integerAt(config, key); side && *side > 0) sides.push_back(static_cast<std::uint64_t>(*side));
  const auto heads = integerAt(config, "num_attention_heads"), size = integerAt(config, "head_dim");
  if (heads && size && *heads > 0 && *size > 0 && *heads < (1 << 20) && *size < (1 << 20))
    sides.push_back(static_cast<std::uint64_t>(*heads * *size));
  return sides;
}

Shape shapeOf(const Sizes& sizes, const nlohmann::json& config) {
  const std::uint64_t count = sizes.groupedRows * sizes.group;
  for (const std::uint64_t inputs : sidesIn(config))
    if (inputs % sizes.group == 0 && count % inputs == 0 && chosenGroup(inputs) == sizes.group) return {count / inputs, inputs};
  return {sizes.groupedRows, sizes.group};
}

class QuantoFormat final : public ReadOnlyFormat {
 public:
  [[nodiscard]] const FormatInfo& info() const override {
    static const FormatInfo info = {"quanto",
                                    "optimum-quanto qint4 and qint2: grouped rows, scale, shift (read only)",
                                    "optimum-quanto 0.2.7",
                                    {},
                                    ".safetensors"};
    return info;
  }

  [[nodiscard]] std::vector<PackedLayer> detect(const Checkpoint& checkpoint) const override {
    std::vector<PackedLayer> layers;
    std::optional<nlohmann::json> config;
    for (std::size_t i = 0; i < checkpoint.entries().size(); ++i) {
      const std::string& key = checkpoint.entries()[i].name;
      if (!key.ends_with(codesSuffix)) continue;
      const std::string weight = key.substr(0, key.size() - std::string_view("._data._data").size());
      const auto sizes = sizesAt(checkpoint, weight);
      if (!sizes) {
        layers.push_back(brokenLayer(checkpoint, weight, "quanto", {key, weight + "._scale", weight + "._shift"}));
        continue;
      }
      if (!config) config = configOf(checkpoint);
      PackedLayer layer{weight, {}, {i}, shapeOf(*sizes, *config)};
      const std::string p = moduleName(weight) + ".";
      for (const std::string& part : {weight + "._scale", weight + "._shift", p + "input_scale", p + "output_scale"})
        if (const auto index = checkpoint.find(part)) layer.parts.push_back(*index);
      layer.description = "quanto qint" + std::to_string(sizes->bits) + " group " + std::to_string(sizes->group);
      layers.push_back(std::move(layer));
    }
    return layers;
  }

  [[nodiscard]] Result<QuantizedTensor> read(const Checkpoint& checkpoint, const PackedLayer& layer) const override {
    const std::string& weight = layer.name;
    const auto sizes = sizesAt(checkpoint, weight);
    if (!sizes) return fail(sizes.error());
    const auto codes = readBytes(checkpoint, weight + "._data._data");
    if (!codes) return fail(codes.error());
    auto scale = finiteFloats(checkpoint, weight + "._scale"), shift = finiteFloats(checkpoint, weight + "._shift");
    if (!scale) return fail(scale.error());
    if (!shift) return fail(shift.error());
    for (float& value : *shift) value = -value;
    const FloatType type = *parameterType(*partAt(checkpoint, weight + "._scale"));

    QuantizedTensor tensor;
    tensor.scheme = layer.description;
    tensor.shape = shapeOf(*sizes, configOf(checkpoint));
    tensor.rows = tensor.shape[0];
    tensor.columns = tensor.shape[1];
    tensor.layout = lowFirstInterleavedLayout(sizes->groupedRows, sizes->group, sizes->bits);
    tensor.codes = tensor.layout->unpack(*codes, tensor.weightCount());
    tensor.width.uniform = static_cast<std::uint8_t>(sizes->bits);
    tensor.rule = ValueRule::ScalePlusBias;
    const Grouping grouping = Grouping::blocks(tensor.rows, tensor.columns, 1, sizes->group);
    tensor.scale = Plane::numbers(grouping, std::move(*scale), storedAs(type));
    tensor.zero = Plane::numbers(grouping, std::move(*shift), storedAs(type));
    tensor.arithmetic = {type, type, false};
    return tensor;
  }
};

}  // namespace

const Format& quantoFormat() {
  static const QuantoFormat format;
  return format;
}

}  // namespace nibble
