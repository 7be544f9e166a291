// SPDX-License-Identifier: GPL-3.0-or-later
// DiffQ's quantized parameters (reference document 003) in a safetensors file. The reference pickles a list of
// (levels, (min, max), bits); here the same numbers lie as tensors, bits packed as its true model size counts them:
//
//   P.codes      U8  codes, one after another, low bits first, each as wide as the bits of its group
//   P.bits       U8  bits - min_bits of each group, bits_width bits each, low bits first
//   P.bits_width U8  [1], 0..4      P.low, P.range  F32 numbers: min, and max - min of the tensor
//   P.min_bits   I64 number, 2 (1 where a group has 1 bit)    P.group_size I64 number, P.shape I64 [dimensions]
#include "core/formats/diffq/proof.h"
#include "core/formats/parts.h"
#include "core/formats/rules.h"
#include "core/formats/tools.h"
#include "core/quant/group_stream.h"

#include <algorithm>
#include <array>
#include <cmath>

namespace nibble {
namespace {

using namespace formats;

struct Plan {
  std::uint64_t group = 0;
  std::vector<std::uint8_t> bits;  // of each group
  float low = 0, range = 0;
};

std::optional<std::string> otherRefusal(const QuantizedTensor& tensor) {
  if (!tensor.order.empty() || tensor.rotation || !tensor.channelScale.empty() || !tensor.signs.empty())
    return "it has a permutation, rotation, channel scale or signs apart";
  if (tensor.levels.kind != Levels::Kind::Identity) return "its levels are not evenly spaced";
  if (tensor.codes.isSigned() || tensor.arithmetic != Arithmetic{}) return "its codes or its rounding are not DiffQ's";
  if (tensor.rule != ValueRule::ScalePlusBias || !tensor.scale || !tensor.zero) return "DiffQ adds a minimum after scaling";
  return std::nullopt;
}

// One range whose part 1 / (2^b - 1) every group's step is.
std::optional<float> rangeOf(const Plane& scale, const std::vector<std::uint8_t>& bits) {
  if (!scale.nested || !scale.nested->scale || scale.nested->scale->values.size() != 1) return std::nullopt;
  const float range = scale.nested->scale->values.front();
  for (std::size_t g = 0; g < bits.size(); ++g)
    if (scale.values[g] != range * stepOfBits(bits[g])) return std::nullopt;
  return range;
}

Result<Plan> planFor(const QuantizedTensor& tensor) {
  if (const auto reason = otherRefusal(tensor)) return fail(*reason);
  const auto length = runLengthOf(tensor.scale->grouping);
  if (!length || *length == 0 || tensor.weightCount() % *length != 0)
    return fail("its groups (" + tensor.scale->grouping.describe() + ") are not equal runs of consecutive weights");
  Plan plan{*length, tensor.width.bits, 0, 0};
  if (plan.bits.empty()) plan.bits.assign(tensor.weightCount() / *length, tensor.width.uniform);
  if (plan.bits.size() != tensor.weightCount() / *length) return fail("its bits are grouped otherwise than its steps");
  for (const std::uint8_t bits : plan.bits)
    if (bits < 1 || bits > mostGroupBits) return fail(std::to_string(bits) + " bits; DiffQ has 1..15");
  const auto range = rangeOf(*tensor.scale, plan.bits);
  if (!range) return fail("its steps do not follow from bits and one range of the tensor");
  const auto& lows = tensor.zero->values;
  if (std::any_of(lows.begin(), lows.end(), [&](float low) { return low != lows.front(); }))
    return fail("it has more than one minimum; DiffQ has one for the tensor");
  plan.low = lows.front();
  plan.range = *range;
  return plan;
}

Verdict rangesFit(const std::vector<ExportLayer>& layers) {
  return noneRefused(
      layers,
      [](const ExportLayer& layer) -> std::optional<std::string> {
        const auto plan = planFor(*layer.tensor);
        return plan ? std::nullopt : std::optional(plan.error().message);
      },
      "one range a tensor, bits by group");
}

constexpr std::array<std::string_view, 8> partNames{"codes", "bits", "bits_width", "low", "range", "min_bits", "group_size", "shape"};

class DiffqFormat final : public Format {
 public:
  [[nodiscard]] const FormatInfo& info() const override {
    static const FormatInfo info = {
        "diffq", "DiffQ: bits by group, packed, one range a tensor", "reference document 003 (diffq 0.1.0)", {}, ".safetensors"};
    return info;
  }
  [[nodiscard]] std::optional<std::string> refusal(const QuantizedTensor& tensor) const override {
    const auto plan = planFor(tensor);
    return plan ? std::nullopt : std::optional(plan.error().message);
  }
  [[nodiscard]] std::vector<RuleResult> preflight(std::string_view runtime, const std::vector<ExportLayer>& layers) const override {
    static const std::vector<Rule> rules = {{"One range a tensor, 1..15 bits a group", {}, "reference document 003", rangesFit}};
    return apply(rules, runtime, layers);
  }
  [[nodiscard]] Result<std::vector<RawTensor>> pack(const ExportLayer& layer) const override {
    const auto plan = planFor(*layer.tensor);
    if (!plan) return fail(plan.error().within(layer.name));
    QuantizedTensor whole = *layer.tensor;
    describeGroupBits(whole, plan->group, plan->bits, plan->low, plan->range);
    const QuantizedTensor& steps = *whole.scale->nested;
    const std::string p = moduleName(layer.name) + ".";
    const std::vector<std::int64_t> sides(whole.shape.begin(), whole.shape.end());
    std::vector<RawTensor> arrays;
    const auto addBytes = [&](const char* name, std::vector<std::byte> bytes) {
      const std::uint64_t count = bytes.size();
      arrays.push_back(rawBytes(p + name, DType::U8, {count}, std::move(bytes)));
    };
    addBytes("codes", whole.layout->pack(whole.codes));
    addBytes("bits", steps.layout->pack(steps.codes));
    addBytes("bits_width", whole.width.table);
    arrays.push_back(rawFloats(p + "low", FloatType::F32, {}, std::span(&plan->low, 1)));
    arrays.push_back(rawFloats(p + "range", FloatType::F32, {}, std::span(&plan->range, 1)));
    arrays.push_back(rawInteger(p + "min_bits", DType::I64, smallestGroupBits(plan->bits)));
    arrays.push_back(rawInteger(p + "group_size", DType::I64, static_cast<std::int64_t>(plan->group)));
    arrays.push_back(rawIntegers(p + "shape", DType::I64, {sides.size()}, sides));
    if (layer.bias) arrays.push_back(rawBias(p + "bias", *layer.bias, FloatType::F32));
    return arrays;
  }
  [[nodiscard]] std::uint64_t payloadBytes(const ExportLayer& layer, const std::vector<RawTensor>& arrays) const override {
    const std::string p = moduleName(layer.name) + ".";
    std::uint64_t bytes = 0;
    for (const RawTensor& array : arrays)
      for (const std::string_view part : std::span(partNames).first(5))
        if (array.name == p + std::string(part)) bytes += byteCount(array);
    return bytes;
  }
  [[nodiscard]] std::shared_ptr<const Layout> layout(const QuantizedTensor& tensor) const override {
    const auto plan = planFor(tensor);
    return plan ? groupStreamLayout(plan->group, plan->bits) : nullptr;
  }
  [[nodiscard]] Result<std::string> configure(const std::string& config, const std::vector<ExportLayer>&,
                                              const std::vector<std::string>&) const override {
    return config;
  }
  [[nodiscard]] std::vector<PackedLayer> detect(const Checkpoint& checkpoint) const override;
  [[nodiscard]] Result<QuantizedTensor> read(const Checkpoint& checkpoint, const PackedLayer& layer) const override;
  [[nodiscard]] Result<std::vector<float>> proofDecode(const std::filesystem::path& file, const std::string& name) const override {
    return proof::decodeDiffq(file, name);
  }
};

std::vector<PackedLayer> DiffqFormat::detect(const Checkpoint& checkpoint) const {
  constexpr std::string_view suffix = ".bits_width";
  std::vector<PackedLayer> layers;
  for (const TensorEntry& entry : checkpoint.entries()) {
    if (!entry.name.ends_with(suffix) || entry.type != DType::U8) continue;
    const std::string module = entry.name.substr(0, entry.name.size() - suffix.size()), p = module + ".";
    PackedLayer layer{module + ".weight", "diffq", {}, {}};
    for (const std::string_view part : partNames)
      if (const auto index = checkpoint.find(p + std::string(part))) layer.parts.push_back(*index);
    const auto shape = layer.parts.size() == partNames.size() ? wholeNumbers(checkpoint, p + "shape") : fail("");
    if (!shape) continue;
    for (const std::int64_t side : *shape) layer.shape.push_back(side > 0 ? static_cast<std::uint64_t>(side) : 0);
    if (plausibleCount(layer.shape).value_or(0) != 0) layers.push_back(std::move(layer));
  }
  return layers;
}

// Bits of each group out of P.bits, P.bits_width and P.min_bits.
Result<std::vector<std::uint8_t>> readGroupBits(const Checkpoint& checkpoint, const std::string& p, std::uint64_t groups) {
  const auto packed = readBytes(checkpoint, p + "bits"), width = readBytes(checkpoint, p + "bits_width");
  const auto smallest = readInteger(checkpoint, p + "min_bits");
  if (!packed) return fail(packed.error());
  if (!width) return fail(width.error());
  if (!smallest) return fail(smallest.error());
  if (width->size() != 1 || static_cast<int>(width->front()) > 4) return fail(p + "bits_width: expected one number, 0..4");
  if (*smallest < 1 || *smallest > 2) return fail(p + "min_bits: expected 1 or 2");
  const auto layout = denseLayout(groups, static_cast<int>(width->front()));
  if (packed->size() != layout->sizeBytes())
    return fail(p + "bits: expected " + std::to_string(layout->sizeBytes()) + " bytes for " + std::to_string(groups) + " groups");
  const Codes codes = layout->unpack(*packed, groups);
  std::vector<std::uint8_t> bits(groups);
  for (std::uint64_t g = 0; g < groups; ++g) {
    const std::int64_t value = codes.at(g) + *smallest;
    if (value > mostGroupBits) return fail(p + "bits: " + std::to_string(value) + " for group " + std::to_string(g) + ", more than 15");
    bits[g] = static_cast<std::uint8_t>(value);
  }
  return bits;
}

Result<float> readNumber(const Checkpoint& checkpoint, const std::string& name) {
  const auto values = finiteFloats(checkpoint, name);
  if (!values) return fail(values.error());
  if (values->size() != 1) return fail(name + ": expected one number");
  return values->front();
}

Result<QuantizedTensor> DiffqFormat::read(const Checkpoint& checkpoint, const PackedLayer& layer) const {
  const std::string p = moduleName(layer.name) + ".";
  const auto group = readInteger(checkpoint, p + "group_size");
  const auto low = readNumber(checkpoint, p + "low"), range = readNumber(checkpoint, p + "range");
  const auto bytes = readBytes(checkpoint, p + "codes");
  if (!group) return fail(group.error());
  if (!low) return fail(low.error());
  if (!range) return fail(range.error());
  if (!bytes) return fail(bytes.error());
  const std::uint64_t weights = elementCount(layer.shape);
  if (*group < 1 || weights % static_cast<std::uint64_t>(*group) != 0)
    return fail(p + "group_size: " + std::to_string(*group) + " does not divide the " + std::to_string(weights) + " weights");
  if (*range < 0) return fail(p + "range: negative");
  const auto length = static_cast<std::uint64_t>(*group);
  if (weights / length > 64 * (bytes->size() + 1)) return fail(p + "codes: too few bytes for the shape");
  auto bits = readGroupBits(checkpoint, p, weights / length);
  if (!bits) return fail(bits.error());
  const auto layout = groupStreamLayout(length, *bits);
  if (bytes->size() != layout->sizeBytes())
    return fail(p + "codes: " + std::to_string(bytes->size()) + " bytes, the bits of the groups take " + std::to_string(layout->sizeBytes()));
  QuantizedTensor tensor;
  tensor.scheme = layer.description;
  tensor.shape = layer.shape;
  tensor.columns = layer.shape.empty() ? 1 : layer.shape.back();
  tensor.rows = weights / tensor.columns;
  tensor.codes = layout->unpack(*bytes, weights);
  describeGroupBits(tensor, length, *std::move(bits), *low, *range);
  return tensor;
}

}  // namespace

const Format& diffqFormat() {
  static const DiffqFormat format;
  return format;
}

}  // namespace nibble
