// SPDX-License-Identifier: GPL-3.0-or-later
// Reference document 000's layer: the flattened weights in groups, w = q * scale + zero, ten 3-bit codes a 32-bit word, the
// first in the highest used bits. P.pqdata I32 [ceil(n / 10)] with n the weights filled up to whole groups by the last one's
// code, P.scale and P.zero [groups, 1], P.shape I64, P.bits and P.group_size I64 numbers. Arithmetic is in the type of scale
// and zero.
#include "core/formats/document000/proof.h"
#include "core/formats/parts.h"
#include "core/formats/rules.h"

namespace nibble {
namespace {

using namespace formats;

constexpr int slotBits = 3;
constexpr std::uint64_t slots = 10;

struct Plan {
  int bits = 3;
  std::uint64_t group = 0, groups = 0;
  FloatType type = FloatType::F16;
  std::vector<float> scale, zero;
};

Result<Plan> planFor(const QuantizedTensor& tensor) {
  if (const auto reason = plainRefusal(tensor)) return fail(*reason);
  if (tensor.levels.kind != Levels::Kind::Identity) return fail("its levels are not evenly spaced");
  if (tensor.width.uniform > slotBits)
    return fail(std::to_string(tensor.width.uniform) + " bits do not fit the document's 3-bit slots");
  if (!tensor.scale || !tensor.zero || tensor.rule != ValueRule::ScalePlusBias)
    return fail("document 000 adds a minimum after scaling (q * scale + zero)");
  const FloatType step = tensor.arithmetic.step;
  if (tensor.arithmetic.fused || step != tensor.arithmetic.result ||
      (step != FloatType::F32 && step != FloatType::F16 && step != FloatType::BF16))
    return fail("its rounding is not the document's (each step in one type)");
  const auto length = runLengthOf(tensor.scale->grouping);
  if (!length) return fail("its groups (" + tensor.scale->grouping.describe() + ") are not runs of consecutive weights");
  Plan plan{tensor.width.uniform, *length, (tensor.weightCount() + *length - 1) / *length, step, {}, {}};
  const auto scale = numbersOn(*tensor.scale, GroupKind::Runs, plan.group),
             zero = numbersOn(*tensor.zero, GroupKind::Runs, plan.group);
  if (!scale || !zero) return fail("its minima are grouped otherwise than its scales");
  if (!exactIn(step, *scale) || !exactIn(step, *zero))
    return fail("its scales or minima are not exact in " + std::string(typeName(step)));
  plan.scale = *scale;
  plan.zero = *zero;
  return plan;
}

// The codes, the last one repeated to fill the last group.
Codes filledCodes(const QuantizedTensor& tensor, std::uint64_t count) {
  std::vector<std::uint8_t> codes(count);
  const std::uint64_t weights = tensor.weightCount();
  for (std::uint64_t i = 0; i < count; ++i) codes[i] = static_cast<std::uint8_t>(tensor.codes.at(std::min(i, weights - 1)));
  return codes;
}

Verdict bitsFit(const std::vector<ExportLayer>& layers) {
  for (const ExportLayer& layer : layers)
    if (const auto plan = planFor(*layer.tensor); !plan) return {false, layer.name + ": " + plan.error().message};
  return {true,
          distinct(layers, [](const ExportLayer& layer) { return std::to_string(layer.tensor->width.uniform); }) + " bits"};
}

class Document000Format final : public Format {
 public:
  [[nodiscard]] const FormatInfo& info() const override {
    static const FormatInfo info = {"document000",
                                    "Reference document 000: ten 3-bit codes a word, float minimum and step per group",
                                    "reference document 000",
                                    {},
                                    ".safetensors"};
    return info;
  }

  [[nodiscard]] std::optional<std::string> refusal(const QuantizedTensor& tensor) const override {
    const auto plan = planFor(tensor);
    return plan ? std::nullopt : std::optional(plan.error().message);
  }

  [[nodiscard]] std::vector<RuleResult> preflight(std::string_view runtime,
                                                  const std::vector<ExportLayer>& layers) const override {
    static const std::vector<Rule> rules = {
        {"At most 3 bits, groups of consecutive weights", {}, "reference document 000", bitsFit}};
    return apply(rules, runtime, layers);
  }

  [[nodiscard]] Result<std::vector<RawTensor>> pack(const ExportLayer& layer) const override {
    const auto plan = planFor(*layer.tensor);
    if (!plan) return fail(plan.error().within(layer.name));
    const std::string p = moduleName(layer.name) + ".";
    const std::uint64_t count = plan->groups * plan->group;
    const Shape& shape = layer.tensor->shape;
    const std::vector<std::int64_t> sides(shape.begin(), shape.end());
    std::vector<RawTensor> arrays;
    arrays.push_back(rawBytes(p + "pqdata", DType::I32, {(count + slots - 1) / slots},
                              wordLayout(count, slotBits)->pack(filledCodes(*layer.tensor, count))));
    arrays.push_back(rawFloats(p + "scale", plan->type, {plan->groups, 1}, plan->scale));
    arrays.push_back(rawFloats(p + "zero", plan->type, {plan->groups, 1}, plan->zero));
    arrays.push_back(rawIntegers(p + "shape", DType::I64, {sides.size()}, sides));
    arrays.push_back(rawInteger(p + "bits", DType::I64, plan->bits));
    arrays.push_back(rawInteger(p + "group_size", DType::I64, static_cast<std::int64_t>(plan->group)));
    if (layer.bias) arrays.push_back(rawBias(p + "bias", *layer.bias, plan->type));
    return arrays;
  }

  [[nodiscard]] std::uint64_t payloadBytes(const ExportLayer&, const std::vector<RawTensor>& arrays) const override {
    std::uint64_t bytes = 0;
    for (const RawTensor& array : arrays)
      if (array.name.ends_with(".pqdata") || array.name.ends_with(".scale") || array.name.ends_with(".zero"))
        bytes += byteCount(array);
    return bytes;
  }

  [[nodiscard]] std::shared_ptr<const Layout> layout(const QuantizedTensor& tensor) const override {
    const auto plan = planFor(tensor);
    return plan ? wordLayout(plan->groups * plan->group, slotBits) : nullptr;
  }

  [[nodiscard]] Result<std::string> configure(const std::string& config, const std::vector<ExportLayer>&,
                                              const std::vector<std::string>&) const override {
    return config;
  }

  [[nodiscard]] std::vector<PackedLayer> detect(const Checkpoint& checkpoint) const override {
    constexpr std::string_view suffix = ".pqdata";
    std::vector<PackedLayer> layers;
    for (std::size_t i = 0; i < checkpoint.entries().size(); ++i) {
      const TensorEntry& entry = checkpoint.entries()[i];
      if (!entry.name.ends_with(suffix) || entry.type != DType::I32) continue;
      const std::string module = entry.name.substr(0, entry.name.size() - suffix.size()), p = module + ".";
      PackedLayer layer{module + ".weight", "document 000", {i}, {}};
      for (const char* key : {"scale", "zero", "shape", "bits", "group_size"})
        if (const auto index = checkpoint.find(p + key)) layer.parts.push_back(*index);
      const auto shape = layer.parts.size() == 6 ? readFloats(checkpoint, p + "shape") : Result<std::vector<float>>(fail(""));
      if (shape)
        for (const float side : *shape) layer.shape.push_back(side > 0 && side < 1e12f ? static_cast<std::uint64_t>(side) : 0);
      if (layer.parts.size() < 2) continue;  // the codes alone may be anything
      if (layer.shape.empty() || plausibleCount(layer.shape).value_or(0) == 0)
        layer = brokenLayer(checkpoint, layer.name, "document 000", {entry.name, p + "scale", p + "zero", p + "shape"});
      layers.push_back(std::move(layer));
    }
    return layers;
  }

  [[nodiscard]] Result<QuantizedTensor> read(const Checkpoint& checkpoint, const PackedLayer& layer) const override {
    const std::string p = moduleName(layer.name) + ".";
    const auto bits = readInteger(checkpoint, p + "bits"), group = readInteger(checkpoint, p + "group_size");
    for (const char* key : {"scale", "zero", "shape"})
      if (partAt(checkpoint, p + key) == nullptr) return fail(p + key + ": missing");
    const auto scale = finiteFloats(checkpoint, p + "scale"), zero = finiteFloats(checkpoint, p + "zero");
    const auto words = readBytes(checkpoint, p + "pqdata");
    if (!bits) return fail(bits.error());
    if (!group) return fail(group.error());
    if (!scale) return fail(scale.error());
    if (!zero) return fail(zero.error());
    if (!words) return fail(words.error());
    const std::uint64_t weights = elementCount(layer.shape);
    if (weights == 0) return fail(p + "shape: not a usable size");
    if (*bits < 1 || *bits > slotBits) return fail(p + "bits: expected 1, 2 or 3");
    if (*group < 1) return fail(p + "group_size: not a usable size");
    const auto length = static_cast<std::uint64_t>(*group);
    const std::uint64_t groups = (weights + length - 1) / length, count = groups * length;
    if (scale->size() != groups || zero->size() != groups) return fail(p + "scale: expected one number for each group");
    const auto type = floatTypeOf(findEntry(checkpoint, p + "scale")->type);
    if (!type || (*type != FloatType::F32 && *type != FloatType::F16 && *type != FloatType::BF16))
      return fail(p + "scale: expected F32, F16 or BF16");
    const auto layout = wordLayout(count, slotBits);
    if (words->size() != layout->sizeBytes())
      return fail(p + "pqdata: expected " + std::to_string(layout->sizeBytes() / 4) + " words");
    QuantizedTensor tensor;
    tensor.scheme = layer.description;
    tensor.shape = layer.shape;
    tensor.columns = layer.shape.empty() ? 1 : layer.shape.back();
    tensor.rows = weights / tensor.columns;
    tensor.codes = layout->unpack(*words, weights);
    tensor.width.uniform = static_cast<std::uint8_t>(*bits);
    tensor.rule = ValueRule::ScalePlusBias;
    const Grouping grouping = Grouping::flat(tensor.rows, tensor.columns, length);
    const Stored stored = *type == FloatType::F32 ? Stored::F32 : *type == FloatType::F16 ? Stored::F16 : Stored::BF16;
    tensor.scale = Plane::numbers(grouping, *scale, stored);
    tensor.zero = Plane::numbers(grouping, *zero, stored);
    tensor.arithmetic = {*type, *type, false};
    tensor.layout = layout;
    return tensor;
  }

  [[nodiscard]] Result<std::vector<float>> proofDecode(const std::filesystem::path& file,
                                                       const std::string& name) const override {
    return proof::decodeDocument000(file, name);
  }
};

}  // namespace

const Format& document000Format() {
  static const Document000Format format;
  return format;
}

}  // namespace nibble
