// SPDX-License-Identifier: GPL-3.0-or-later
#include "core/layers/mbwq_state.h"

#include "core/base/text.h"
#include "core/formats/input_groups.h"
#include "core/quant/decode.h"
#include "core/quant/stream_layout.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace nibble::mbwq {
namespace {

using kernels::roundTo;

constexpr std::uint64_t inputStep = 32, mostInputs = 65535, largestCompressedGroup = 255, mostOutputs = std::uint64_t{1} << 31;
constexpr Arithmetic fusedHalf{FloatType::F16, FloatType::F16, true};
constexpr Arithmetic half{FloatType::F16, FloatType::F16, false};

template <class T>
RawTensor arrayOf(std::string name, DType type, Shape shape, std::span<const T> values) {
  const auto bytes = std::as_bytes(values);
  RawTensor array;
  array.name = std::move(name);
  array.type = type;
  array.shape = std::move(shape);
  array.owned.assign(bytes.begin(), bytes.end());
  return array;
}

std::uint64_t ceilDivided(std::uint64_t count, std::uint64_t size) {
  return (count + size - 1) / size;
}

std::optional<std::string> refusalOfUniform(const MbwqSettings& settings) {
  if (settings.weightBits != 2 && settings.weightBits != 4)
    return text::number(std::int64_t{settings.weightBits}) + " bits: one width is 2 or 4";
  const std::uint64_t size = settings.uniformGroup();
  if (size < inputStep || size % inputStep != 0) return "groups of " + text::number(size) + " inputs are not a multiple of 32";
  return std::nullopt;
}

void addCompressed(Buffers& buffers, const MbwqSettings& settings, std::uint64_t groups) {
  const std::uint64_t each = settings.doubleGroup(), blocks = ceilDivided(settings.outputs, each);
  const auto add = [&](const char* key, Shape shape, float value) {
    const std::vector<float> values(elementCount(shape), value);
    buffers[key] = halves(key, std::move(shape), values);
  };
  const std::vector<std::uint8_t> ones(groups * blocks * each, 1);
  buffers["qstatistic"] = arrayOf<std::uint8_t>("qstatistic", DType::U8, {groups, blocks, each}, ones);
  const Shape outer{groups, blocks, 1}, scales = settings.doubleMode == 1 ? Shape{1, settings.outputs, 1} : outer;
  add("qzeros_zeros", outer, 0);
  add("qzeros_scales", outer, 1);
  add("qscales_zeros", scales, 0);
  add("qscales_scales", scales, 1);
}

// [groups, outputs] of the nibbles of qstatistic from bit `shift`.
Result<std::vector<float>> decompressed(const MbwqSettings& settings, const Buffers& buffers, const std::string& what,
                                        unsigned shift) {
  const RawTensor& codes = buffers.at("qstatistic");
  const auto zeros = floatsOf(buffers.at("q" + what + "_zeros")), scales = floatsOf(buffers.at("q" + what + "_scales"));
  const std::uint64_t groups = codes.shape[0], blocks = codes.shape[1], each = codes.shape[2];
  const bool byOutput = settings.doubleMode == 1 && what == "scales";
  if (byOutput && blocks != settings.outputs)
    return fail("qstatistic: double quantization of mode 1 needs groups of one output, not of " + text::number(each));
  std::vector<float> values(groups * settings.outputs);
  for (std::uint64_t g = 0; g < groups; ++g) {
    for (std::uint64_t n = 0; n < settings.outputs; ++n) {
      const std::uint64_t outer = byOutput ? n : g * blocks + n / each;
      const auto code = std::to_integer<unsigned>(codes.bytes()[g * blocks * each + n]) >> shift & 15u;
      values[g * settings.outputs + n] =
          applyRule(ValueRule::ScaleMinusZero, half, true, static_cast<float>(code), scales[outer], zeros[outer]);
    }
  }
  return values;
}

struct Numbers {
  std::vector<float> scales, zeros;  // [groups, outputs]
  std::uint64_t groups = 0;
};

Result<Numbers> numbersOf(const MbwqSettings& settings, const Buffers& buffers, const std::set<std::string>& given) {
  const bool plain = given.contains("scales") && given.contains("zeros");
  if (plain || settings.mixed || !given.contains("qstatistic") || settings.uniformGroup() > largestCompressedGroup)
    return Numbers{floatsOf(buffers.at("scales")), floatsOf(buffers.at("zeros")), buffers.at("scales").shape[0]};
  auto scales = decompressed(settings, buffers, "scales", 4), zeros = decompressed(settings, buffers, "zeros", 0);
  if (!scales) return fail(scales.error());
  if (!zeros) return fail(zeros.error());
  return Numbers{*std::move(scales), *std::move(zeros), buffers.at("qstatistic").shape[0]};
}

Status checkFinite(std::span<const float> values, std::uint64_t outputs, const char* key) {
  for (std::size_t i = 0; i < values.size(); ++i)
    if (!std::isfinite(values[i]))
      return fail(std::string(key) + ": the number at " + text::number(i / outputs) + ", " + text::number(i % outputs) +
                  " is not finite");
  return {};
}

Result<std::vector<WidthGroup>> uniformGroups(const MbwqSettings& settings, std::uint64_t count) {
  std::uint64_t size = settings.uniformGroup();
  if (ceilDivided(settings.inputs, size) != count && settings.inputs % count == 0) size = settings.inputs / count;
  if (ceilDivided(settings.inputs, size) != count || size % inputStep != 0)
    return fail("scales: " + text::number(count) + " groups do not divide " + text::number(settings.inputs) +
                " inputs in multiples of 32");
  std::vector<WidthGroup> groups;
  for (std::uint64_t first = 0; first < settings.inputs; first += size)
    groups.push_back({static_cast<std::uint8_t>(settings.weightBits), std::min(size, settings.inputs - first)});
  return groups;
}

Result<std::vector<WidthGroup>> groupsOf(const MbwqSettings& settings, const Buffers& buffers,
                                         const std::set<std::string>& given, std::uint64_t count) {
  const RawTensor& words = buffers.at("qweight");
  if (!settings.mixed) {
    auto groups = uniformGroups(settings, count);
    if (groups && packedRows(*groups) != words.shape[0])
      return fail("qweight: " + text::number(words.shape[0]) + " rows for " + text::number(settings.inputs) + " inputs of " +
                  text::number(std::int64_t{settings.weightBits}) + " bits");
    return groups;
  }
  if (!given.contains("q_groups")) return fail("q_groups: was never loaded; a mixed layer has no widths without it");
  auto groups = parseGroupTable(buffers.at("q_groups").bytes(), words.shape[0]);
  if (!groups) return fail(groups.error().within("q_groups"));
  if (inputCount(*groups) != settings.inputs)
    return fail("q_groups: the groups hold " + text::number(inputCount(*groups)) + " inputs of " +
                text::number(settings.inputs));
  if (groups->size() != count)
    return fail("scales: " + text::number(count) + " groups, q_groups has " + text::number(std::uint64_t{groups->size()}));
  if (buffers.contains("q_group_map") && shortsOf(buffers.at("q_group_map")) != groupMap(*groups))
    return fail("q_group_map: does not follow from q_groups");
  return groups;
}

Result<std::vector<std::uint32_t>> orderOf(const RawTensor& array) {
  const auto numbers = shortsOf(array);
  std::vector<std::uint32_t> order(numbers.begin(), numbers.end());
  const bool none = std::all_of(order.begin(), order.end(), [](std::uint32_t place) { return place == 0; });
  if (none || formats::isIdentity(order)) return std::vector<std::uint32_t>();
  if (!formats::isPermutation(order)) return fail("q_perm: not a permutation of the inputs");
  return order;
}

Status checkIndex(const MbwqSettings& settings, const Buffers& buffers, const std::set<std::string>& given) {
  if (!given.contains("g_idx")) return {};
  const RawTensor& index = buffers.at("g_idx");
  for (std::uint64_t k = 0; k < settings.inputs; ++k) {
    std::int32_t group = 0;
    std::memcpy(&group, index.bytes().data() + 4 * k, 4);
    if (static_cast<std::uint64_t>(group) != k / settings.uniformGroup())
      return fail("g_idx: input " + text::number(k) + " is in group " + text::number(std::int64_t{group}) + ", not in its own");
  }
  return {};
}

// [groups, outputs] to [outputs, groups].
std::vector<float> turned(std::span<const float> numbers, std::uint64_t groups, bool negated) {
  const std::uint64_t outputs = numbers.size() / groups;
  std::vector<float> result(numbers.size());
  for (std::uint64_t g = 0; g < groups; ++g)
    for (std::uint64_t n = 0; n < outputs; ++n)
      result[n * groups + g] = negated ? -numbers[g * outputs + n] : numbers[g * outputs + n];
  return result;
}

}  // namespace

RawTensor halves(std::string name, Shape shape, std::span<const float> values) {
  std::vector<std::uint16_t> bits(values.size());
  for (std::size_t i = 0; i < values.size(); ++i) bits[i] = kernels::floatToHalf(values[i]);
  return arrayOf<std::uint16_t>(std::move(name), DType::F16, std::move(shape), bits);
}

RawTensor shorts(std::string name, Shape shape, std::span<const std::uint16_t> values) {
  return arrayOf<std::uint16_t>(std::move(name), DType::I16, std::move(shape), values);
}

std::vector<float> floatsOf(const RawTensor& array) {
  std::vector<float> values(elementCount(array.shape));
  toFloat(array.type, array.bytes(), 0, values);
  return values;
}

std::vector<std::uint16_t> shortsOf(const RawTensor& array) {
  std::vector<std::uint16_t> values(array.bytes().size() / 2);
  std::memcpy(values.data(), array.bytes().data(), values.size() * 2);
  return values;
}

std::optional<std::string> refusalOf(const MbwqSettings& settings) {
  if (settings.type != FloatType::F16) return "the layer is of float16 alone";
  if (settings.activationBits != 16)
    return text::number(std::int64_t{settings.activationBits}) + " bits of activations: there are 16";
  if (settings.asymmetric)
    return "asymmetric integer zeros (asym) are another layer's; here a zero is a float16 that is scaled already";
  if (settings.inputs == 0 || settings.inputs % inputStep != 0)
    return text::number(settings.inputs) + " inputs are not a multiple of 32";
  if (settings.inputs > mostInputs) return text::number(settings.inputs) + " inputs are more than 65535";
  if (settings.outputs == 0 || settings.outputs > mostOutputs) return text::number(settings.outputs) + " outputs";
  if (settings.groupSize == 0 || settings.groupSize < -1) return "groups of " + text::number(settings.groupSize) + " inputs";
  if (settings.doubleGroupSize == 0 || settings.doubleGroupSize < -1)
    return "double quantization in groups of " + text::number(settings.doubleGroupSize);
  if (settings.doubleMode != 1 && settings.doubleMode != 2)
    return "double quantization of mode " + text::number(std::int64_t{settings.doubleMode});
  if (!settings.mixed) return refusalOfUniform(settings);
  if (settings.groups == 0 || settings.groups > mostInputs / inputStep) return text::number(settings.groups) + " groups";
  if (settings.packedRows == 0 || settings.packedRows > mostInputs) return text::number(settings.packedRows) + " rows of codes";
  return std::nullopt;
}

Buffers freshBuffers(const MbwqSettings& settings) {
  Buffers buffers;
  const std::uint64_t own = ceilDivided(settings.inputs, settings.uniformGroup());
  const std::uint64_t groups = settings.mixed ? settings.groups : own;
  const auto bits = static_cast<std::uint64_t>(settings.weightBits);
  const std::uint64_t rows = settings.mixed ? settings.packedRows : settings.inputs / inputStep * bits;
  const std::vector<std::uint32_t> words(rows * settings.outputs);
  const std::vector<float> first(groups * settings.outputs, settings.mixed ? 0.0f : 1.0f), none(first.size());
  const std::vector<float> ones(settings.inputs, 1.0f), outputs(settings.outputs);
  buffers["qweight"] = arrayOf<std::uint32_t>("qweight", DType::I32, {rows, settings.outputs}, words);
  buffers["scales"] = halves("scales", {groups, settings.outputs}, first);
  buffers["zeros"] = halves("zeros", {groups, settings.outputs}, none);
  buffers["q_perm"] = shorts("q_perm", {settings.inputs}, std::vector<std::uint16_t>(settings.inputs));
  buffers["channel_scale"] = halves("channel_scale", {1, 1, settings.inputs}, ones);
  if (settings.mixed) buffers["q_groups"] = shorts("q_groups", {2 * groups}, std::vector<std::uint16_t>(2 * groups));
  if (settings.bias) buffers["bias"] = halves("bias", {settings.outputs}, outputs);
  std::vector<std::int32_t> index(settings.inputs), shifts;
  for (std::uint64_t k = 0; k < index.size(); ++k) index[k] = static_cast<std::int32_t>(k / settings.uniformGroup());
  for (std::uint64_t shift = 0; bits != 0 && shift < 32; shift += bits) shifts.push_back(static_cast<std::int32_t>(shift));
  buffers["g_idx"] = arrayOf<std::int32_t>("g_idx", DType::I32, {settings.inputs}, index);
  buffers["wf"] = arrayOf<std::int32_t>("wf", DType::I32, {1, shifts.size()}, shifts);
  addCompressed(buffers, settings, own);
  return buffers;
}

bool isReplaceable(const std::string& key) {
  return key == "qweight" || key == "scales" || key == "zeros" || key == "q_groups" || key == "q_group_map";
}

Result<Parts> partsOf(const MbwqSettings& settings, const Buffers& buffers, const std::set<std::string>& given) {
  const auto numbers = numbersOf(settings, buffers, given);
  if (!numbers) return fail(numbers.error());
  if (numbers->scales.size() != numbers->zeros.size())
    return fail("zeros: " + toText(buffers.at("zeros").shape) + ", scales are " + toText(buffers.at("scales").shape));
  NIBBLE_TRY(checkFinite(numbers->scales, settings.outputs, "scales"));
  NIBBLE_TRY(checkFinite(numbers->zeros, settings.outputs, "zeros"));
  auto groups = groupsOf(settings, buffers, given, numbers->groups);
  if (!groups) return fail(groups.error());
  NIBBLE_TRY(checkIndex(settings, buffers, given));
  auto order = orderOf(buffers.at("q_perm"));
  if (!order) return fail(order.error());
  Parts parts;
  parts.channelScale = floatsOf(buffers.at("channel_scale"));
  NIBBLE_TRY(checkFinite(parts.channelScale, settings.inputs, "channel_scale"));
  if (settings.bias) parts.bias = floatsOf(buffers.at("bias"));
  NIBBLE_TRY(checkFinite(parts.bias, settings.outputs, "bias"));
  QuantizedTensor& tensor = parts.tensor;
  tensor.scheme = "MBWQ layer";
  tensor.rows = settings.outputs;
  tensor.columns = settings.inputs;
  tensor.shape = {tensor.rows, tensor.columns};
  if (settings.mixed)
    tensor.width = widthPlane(tensor.rows, *groups);
  else
    tensor.width.uniform = static_cast<std::uint8_t>(settings.weightBits);
  tensor.layout = inputStreamLayout(tensor.rows, tensor.rows, widthsOf(*groups));
  tensor.codes = tensor.layout->unpack(buffers.at("qweight").bytes(), tensor.weightCount());
  tensor.rule = ValueRule::ScalePlusBias;
  const Grouping grouping = Grouping::columnMap(tensor.rows, indexOf(*groups));
  tensor.scale = Plane::numbers(grouping, turned(numbers->scales, numbers->groups, false), Stored::F16);
  tensor.zero = Plane::numbers(grouping, turned(numbers->zeros, numbers->groups, true), Stored::F16);
  tensor.arithmetic = fusedHalf;
  tensor.order = *std::move(order);
  tensor.orderBytes = 2;
  parts.groups = *std::move(groups);
  return parts;
}

}  // namespace nibble::mbwq
