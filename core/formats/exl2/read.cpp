// SPDX-License-Identifier: GPL-3.0-or-later
// Reading EXL2 layers. What a file cannot rightly hold is refused by tensor and reason: groups out of order, rows of codes that
// do not add up to the inputs, a permutation that is none, scales that are not finite.
#include "core/base/text.h"
#include "core/formats/exl2/plan.h"
#include "core/formats/input_groups.h"
#include "core/formats/tools.h"
#include "core/quant/stream_layout.h"

#include <cmath>

namespace nibble::formats::exl2 {
namespace {

constexpr std::string_view suffix = ".q_weight";
constexpr std::uint64_t padding = 32, mostInputs = 65535;

bool is(const TensorEntry* entry, DType type, std::size_t dimensions) {
  return entry != nullptr && entry->type == type && entry->shape.size() == dimensions;
}

std::string shapeText(const TensorEntry* entry) {
  return entry == nullptr ? "missing" : std::string(info(entry->type).name) + " " + toText(entry->shape);
}

// The permutation's own shape says K; the other arrays must agree with it and with one another.
Status checkShapes(const Checkpoint& checkpoint, const std::string& p) {
  const TensorEntry *weight = findEntry(checkpoint, p + "q_weight"), *scale = findEntry(checkpoint, p + "q_scale"),
                    *maximum = findEntry(checkpoint, p + "q_scale_max"), *groups = findEntry(checkpoint, p + "q_groups"),
                    *places = findEntry(checkpoint, p + "q_invperm"), *bias = findEntry(checkpoint, p + "bias");
  if (!is(weight, DType::I32, 2)) return fail(p + "q_weight: expected I32 [rows, out], found " + shapeText(weight));
  const std::uint64_t outputs = weight->shape[1];
  if (outputs == 0 || outputs % padding != 0 || weight->shape[0] == 0)
    return fail(p + "q_weight: " + toText(weight->shape) + " has no multiple of 32 outputs");
  if (!is(groups, DType::I16, 1) || groups->shape[0] == 0 || groups->shape[0] % 2 != 0)
    return fail(p + "q_groups: expected I16 [2 x groups], found " + shapeText(groups));
  const std::uint64_t count = groups->shape[0] / 2;
  if (!is(scale, DType::I32, 2) || scale->shape != Shape{count, outputs / 8})
    return fail(p + "q_scale: expected I32 " + toText(Shape{count, outputs / 8}) + ", found " + shapeText(scale));
  if (!is(maximum, DType::F16, 1) || maximum->shape[0] != count)
    return fail(p + "q_scale_max: expected F16 " + toText(Shape{count}) + ", found " + shapeText(maximum));
  if (!is(places, DType::I32, 1)) return fail(p + "q_invperm: expected I32 [in], found " + shapeText(places));
  if (places->shape[0] == 0 || places->shape[0] > mostInputs)
    return fail(p + "q_invperm: " + text::number(places->shape[0]) + " inputs; EXL2 numbers at most 65535");
  if (bias != nullptr && (bias->type != DType::F16 || bias->shape != Shape{outputs}))
    return fail(p + "bias: expected F16 " + toText(Shape{outputs}) + ", found " + shapeText(bias));
  if (findEntry(checkpoint, p + "weight") != nullptr)
    return fail(p + "weight: stands beside q_weight; which of the two is the layer cannot be said");
  return {};
}

Result<std::vector<std::uint16_t>> readMaxima(const Checkpoint& checkpoint, const std::string& name) {
  const auto bytes = readBytes(checkpoint, name);
  if (!bytes) return fail(bytes.error());
  std::vector<std::uint16_t> maxima(bytes->size() / 2);
  for (std::size_t g = 0; g < maxima.size(); ++g) {
    maxima[g] = static_cast<std::uint16_t>(std::to_integer<unsigned>((*bytes)[2 * g]) |
                                           std::to_integer<unsigned>((*bytes)[2 * g + 1]) << 8);
    const float value = kernels::halfToFloat(maxima[g]);
    if (!std::isfinite(value))
      return fail(name + ": the maximum of group " + text::number(std::uint64_t{g}) + " is not finite");
  }
  return maxima;
}

Result<std::vector<std::uint32_t>> readOrder(const Checkpoint& checkpoint, const std::string& name) {
  const auto values = readFloats(checkpoint, name);  // at most 65535 of them are right, which float32 holds exactly
  if (!values) return fail(values.error());
  std::vector<std::uint32_t> places;
  for (const float value : *values) {
    if (!(value >= 0 && value < static_cast<float>(values->size())))
      return fail(name + ": " + text::number(value) + " is no place among " + text::number(std::uint64_t{values->size()}));
    places.push_back(static_cast<std::uint32_t>(value));
  }
  if (!isPermutation(places)) return fail(name + ": not a permutation: a place comes twice");
  return inverseOf(places);
}

// [G, N / 8] words to [N, G] codes.
std::vector<std::uint8_t> unpackScales(std::span<const std::byte> bytes, std::uint64_t groups, std::uint64_t outputs) {
  std::vector<std::uint8_t> codes(outputs * groups);
  for (std::uint64_t g = 0; g < groups; ++g)
    for (std::uint64_t n = 0; n < outputs; ++n)
      codes[n * groups + g] =
          static_cast<std::uint8_t>(std::to_integer<unsigned>(bytes[(g * outputs + n) / 2]) >> (n % 2 == 0 ? 0 : 4) & 15u);
  return codes;
}

}  // namespace

std::vector<PackedLayer> detect(const Checkpoint& checkpoint) {
  std::vector<PackedLayer> layers;
  for (std::size_t i = 0; i < checkpoint.entries().size(); ++i) {
    const TensorEntry& entry = checkpoint.entries()[i];
    if (!entry.name.ends_with(suffix) || entry.type != DType::I32 || entry.shape.size() != 2) continue;
    const std::string module = entry.name.substr(0, entry.name.size() - suffix.size()), p = module + ".";
    const TensorEntry *groups = findEntry(checkpoint, p + "q_groups"), *places = findEntry(checkpoint, p + "q_invperm");
    if (findEntry(checkpoint, p + "q_scale") == nullptr || findEntry(checkpoint, p + "q_scale_max") == nullptr ||
        groups == nullptr || places == nullptr || !plausibleCount(entry.shape) || places->shape.size() != 1)
      continue;
    PackedLayer layer{module + ".weight", {}, {i}, {entry.shape[1], places->shape[0]}};
    for (const char* key : {"q_scale", "q_scale_max", "q_groups", "q_invperm", "q_perm", "bias"})
      if (const auto index = checkpoint.find(p + key)) layer.parts.push_back(*index);
    const double bits =
        layer.shape[1] == 0 ? 0 : 32.0 * static_cast<double>(entry.shape[0]) / static_cast<double>(layer.shape[1]);
    layer.description =
        "exl2 " + text::digits(bits, 3) + " bits a code, " + text::number(elementCount(groups->shape) / 2) + " groups";
    layers.push_back(std::move(layer));
  }
  return layers;
}

Result<QuantizedTensor> read(const Checkpoint& checkpoint, const PackedLayer& layer) {
  const std::string p = moduleName(layer.name) + ".";
  if (auto status = checkShapes(checkpoint, p); !status) return fail(status.error());
  const auto weight = readBytes(checkpoint, p + "q_weight"), scale = readBytes(checkpoint, p + "q_scale"),
             table = readBytes(checkpoint, p + "q_groups");
  for (const auto* bytes : {&weight, &scale, &table})
    if (!*bytes) return fail(bytes->error());
  const auto maxima = readMaxima(checkpoint, p + "q_scale_max");
  if (!maxima) return fail(maxima.error());
  auto order = readOrder(checkpoint, p + "q_invperm");
  if (!order) return fail(order.error());
  const TensorEntry& entry = *findEntry(checkpoint, p + "q_weight");
  const std::uint64_t outputs = entry.shape[1];
  const auto groups = parseGroupTable(*table, entry.shape[0]);
  if (!groups) return fail(groups.error().within(p + "q_groups"));
  if (inputCount(*groups) != order->size())
    return fail(p + "q_groups: the groups hold " + text::number(inputCount(*groups)) + " inputs, q_invperm has " +
                text::number(std::uint64_t{order->size()}));

  QuantizedTensor tensor;
  tensor.scheme = layer.description;
  tensor.rows = outputs;
  tensor.columns = order->size();
  tensor.shape = {tensor.rows, tensor.columns};
  tensor.width = widthPlane(outputs, *groups);
  tensor.layout = inputStreamLayout(outputs, outputs, widthsOf(*groups));
  tensor.codes = tensor.layout->unpack(*weight, tensor.weightCount());
  tensor.rule = ValueRule::ScaleMinusZero;
  tensor.scale = squareScales(outputs, indexOf(*groups), unpackScales(*scale, groups->size(), outputs), *maxima);
  tensor.zero = middles(outputs, *groups);
  tensor.arithmetic = {FloatType::F16, FloatType::F16, false};
  tensor.order = std::move(*order);
  return tensor;
}

}  // namespace nibble::formats::exl2
