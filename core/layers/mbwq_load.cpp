// SPDX-License-Identifier: GPL-3.0-or-later
// MBWQ layers in and out: construction, state, descriptions of other files.
#include "core/base/text.h"
#include "core/formats/input_groups.h"
#include "core/layers/mbwq_layer.h"
#include "core/quant/decode.h"
#include "core/quant/stream_layout.h"

#include <algorithm>
#include <cmath>

namespace nibble {
namespace {

using mbwq::Buffers;

std::string shapeText(const RawTensor& array) {
  return std::string(info(array.type).name) + " " + toText(array.shape);
}

// A shape that differs from the layer's own only in the number of groups or rows.
bool mayReplace(const std::string& key, const RawTensor& own, const Shape& shape) {
  if (!mbwq::isReplaceable(key) || shape.size() != own.shape.size() || shape[0] == 0) return false;
  if (key == "q_groups") return shape[0] % 2 == 0;
  if (key == "q_group_map") return false;
  return shape[1] == own.shape[1];
}

Status checkShape(const std::string& key, const RawTensor& own, const RawTensor& array) {
  if (array.type != own.type || (array.shape != own.shape && !mayReplace(key, own, array.shape)))
    return fail(key + ": expected " + shapeText(own) + ", found " + shapeText(array));
  if (storedBytes(array.type, array.shape) != array.bytes().size())
    return fail(key + ": " + text::number(std::uint64_t{array.bytes().size()}) + " bytes for " + shapeText(array));
  return {};
}

RawTensor ownCopy(const std::string& key, const RawTensor& array) {
  RawTensor copy{key, array.type, array.shape, {array.bytes().begin(), array.bytes().end()}};
  return copy;
}

std::vector<std::string> neededKeys(const MbwqSettings& settings, const std::set<std::string>& given) {
  std::vector<std::string> keys{"qweight", "q_perm", "channel_scale"};
  const std::vector<std::string> compressed{"qstatistic", "qscales_zeros", "qscales_scales", "qzeros_zeros", "qzeros_scales"};
  const bool isCompressed =
      !settings.mixed && !given.contains("scales") && !given.contains("zeros") &&
      std::any_of(compressed.begin(), compressed.end(), [&](const auto& key) { return given.contains(key); });
  if (isCompressed)
    keys.insert(keys.end(), compressed.begin(), compressed.end());
  else
    keys.insert(keys.end(), {"scales", "zeros"});
  if (settings.mixed) keys.emplace_back("q_groups");
  if (settings.bias) keys.emplace_back("bias");
  return keys;
}

// [rows, groups] to halves [groups, rows].
RawTensor byGroup(const char* key, const std::vector<float>& numbers, std::uint64_t rows, std::uint64_t groups, bool negated) {
  std::vector<float> turned(numbers.size());
  for (std::uint64_t row = 0; row < rows; ++row)
    for (std::uint64_t g = 0; g < groups; ++g) {
      const float number = numbers[row * groups + g];
      turned[g * rows + row] = negated && number != 0 ? -number : number;
    }
  return mbwq::halves(key, {groups, rows}, turned);
}

struct Offsets {
  std::vector<float> zeros;  // [rows, groups], as the layer subtracts them
  bool exact = true;
};

Result<Offsets> offsetsOf(const QuantizedTensor& weights, const formats::InputGroups& groups) {
  Offsets result{std::vector<float>(groups.scale.size()), true};
  const bool isPlain = weights.arithmetic.factor == 1 && !weights.arithmetic.divides;
  const bool isHalf = isPlain && weights.arithmetic.step == FloatType::F16 && weights.arithmetic.result == FloatType::F16;
  if (!isPlain) return fail("its values are no scale times code and zero");
  if (weights.rule == ValueRule::ScalePlusBias) {
    if (!groups.zero.empty())
      for (std::size_t i = 0; i < groups.zero.size(); ++i) result.zeros[i] = groups.zero[i] == 0 ? 0.0f : -groups.zero[i];
    result.exact = isHalf && weights.arithmetic.fused;
  } else if (weights.rule == ValueRule::ScaleMinusZero && !groups.zero.empty()) {
    result.exact = isHalf;
    for (std::size_t i = 0; i < groups.zero.size(); ++i) {
      const float zero = groups.zero[i], middle = static_cast<float>(1 << (groups.groups[i % groups.groups.size()].bits - 1));
      result.zeros[i] = kernels::roundTo(FloatType::F16, groups.scale[i] * zero);
      result.exact = result.exact && zero == middle;
    }
  } else {
    return fail("its codes have no zero; the layer's count from one");
  }
  for (std::size_t i = 0; i < groups.scale.size(); ++i) {
    if (kernels::roundTo(FloatType::F16, groups.scale[i]) != groups.scale[i])
      return fail("a scale of " + text::number(groups.scale[i]) + " is not a float16");
    if (!std::isfinite(result.zeros[i]) || kernels::roundTo(FloatType::F16, result.zeros[i]) != result.zeros[i])
      return fail("a scaled zero of " + text::number(groups.scale[i] * groups.zero[i]) + " is not a float16");
  }
  return result;
}

}  // namespace

Result<MbwqLayer> MbwqLayer::create(std::string name, const MbwqSettings& settings) {
  if (const auto reason = mbwq::refusalOf(settings)) return fail(name + ": " + *reason);
  MbwqLayer layer;
  layer.m_name = std::move(name);
  layer.m_settings = settings;
  layer.m_buffers = mbwq::freshBuffers(settings);
  return layer;
}

Result<MbwqLayer> MbwqLayer::of(std::string name, const QuantizedTensor& weights, std::vector<float> bias) {
  const auto groups = formats::inputGroupsOf(weights);
  if (!groups) return fail(groups.error().within(name));
  const auto offsets = offsetsOf(weights, *groups);
  if (!offsets) return fail(offsets.error().within(name));
  if (!formats::isOne(weights.channelScale) && !weights.channelScaleMultiplies)
    return fail(name + ": its inputs are divided by a channel scale; the layer multiplies them");
  const std::uint8_t bits = groups->groups.front().bits;
  const bool one = std::all_of(groups->groups.begin(), groups->groups.end(),
                               [&](const auto& group) { return group == groups->groups.front(); });
  MbwqSettings settings{.inputs = weights.columns, .outputs = weights.rows, .bias = !bias.empty()};
  settings.mixed = !one || (bits != 2 && bits != 4);
  settings.groups = groups->groups.size();
  settings.packedRows = packedRows(groups->groups);
  if (!settings.mixed) {
    settings.weightBits = bits;
    settings.groupSize = static_cast<std::int64_t>(groups->groups.front().inputs);
  }
  if (!bias.empty() && bias.size() != weights.rows)
    return fail(name + ": a bias of " + text::number(std::uint64_t{bias.size()}) + " numbers for " +
                text::number(weights.rows) + " outputs");
  auto layer = create(std::move(name), settings);
  if (!layer) return layer;
  std::vector<float> channelScale(weights.columns, 1.0f);
  for (std::size_t k = 0; k < weights.channelScale.size(); ++k)
    channelScale[weights.order.empty() ? k : weights.order[k]] = weights.channelScale[k];
  std::vector<std::uint16_t> order(weights.order.begin(), weights.order.end());
  order.resize(weights.columns);
  std::vector<RawTensor> state{byGroup("scales", groups->scale, weights.rows, settings.groups, false),
                               byGroup("zeros", offsets->zeros, weights.rows, settings.groups, false),
                               mbwq::shorts("q_perm", {weights.columns}, order),
                               mbwq::halves("channel_scale", {1, 1, weights.columns}, channelScale)};
  const auto layout = inputStreamLayout(weights.rows, weights.rows, widthsOf(groups->groups));
  state.push_back({"qweight", DType::I32, {settings.packedRows, weights.rows}, layout->pack(weights.codes)});
  if (settings.mixed) state.push_back({"q_groups", DType::I16, {2 * settings.groups}, groupTable(groups->groups)});
  if (!bias.empty()) state.push_back(mbwq::halves("bias", {weights.rows}, bias));
  if (const auto loaded = layer->loadState(state); !loaded) return fail(loaded.error());
  NIBBLE_TRY(layer->prepare());
  layer->m_converted = !offsets->exact;
  return layer;
}

Status MbwqLayer::setNumbers(const char* key, std::span<const float> values) {
  if (values.empty() || values.size() % m_settings.outputs != 0)
    return refuse(std::string(key) + ": " + text::number(std::uint64_t{values.size()}) + " numbers are not rows of " +
                  text::number(m_settings.outputs) + " outputs");
  RawTensor array = mbwq::halves(key, {values.size() / m_settings.outputs, m_settings.outputs}, values);
  if (!isPrepared()) {
    m_buffers[key] = std::move(array);
    m_given.insert(key);
    return {};
  }
  MbwqLayer next = *this;
  next.m_buffers = {};
  for (RawTensor& own : state()) next.m_buffers[own.name] = own;
  next.m_buffers[key] = std::move(array);
  next.m_given.insert({"scales", "zeros", key});
  next.m_linear.reset();
  NIBBLE_TRY(next.prepare());
  *this = std::move(next);
  return {};
}

Status MbwqLayer::setScales(std::span<const float> scales) {
  return setNumbers("scales", scales);
}
Status MbwqLayer::setZeros(std::span<const float> zeros) {
  return setNumbers("zeros", zeros);
}

Result<MbwqLayer::Loaded> MbwqLayer::loadState(const std::vector<RawTensor>& state, bool strict) {
  Buffers buffers = mbwq::freshBuffers(m_settings);
  std::set<std::string> given;
  if (isPrepared()) {  // what does not come anew stays
    for (RawTensor& own : this->state()) {
      given.insert(own.name);
      buffers[own.name] = own;
    }
  } else {
    buffers = m_buffers;
    given = m_given;
  }
  Buffers fresh = mbwq::freshBuffers(m_settings);
  fresh["q_group_map"] =
      mbwq::shorts("q_group_map", {2 * m_settings.inputs}, std::vector<std::uint16_t>(2 * m_settings.inputs));
  Loaded loaded;
  std::set<std::string> seen;
  for (const RawTensor& array : state) {
    const bool qualified = array.name.starts_with(m_name + ".");
    const std::string key = qualified ? array.name.substr(m_name.size() + 1) : array.name;
    const auto own = fresh.find(key);
    if (own == fresh.end()) {
      loaded.ignored.push_back(array.name);
      continue;
    }
    if (!seen.insert(key).second) return fail(m_name + ": " + key + ": given twice");
    if (auto status = checkShape(key, own->second, array); !status) return fail(status.error().within(m_name));
    if (array.shape != own->second.shape) loaded.replaced.push_back(key);
    if (key == "q_groups" && !seen.contains("q_group_map")) buffers.erase("q_group_map");
    buffers[key] = ownCopy(key, array);
  }
  given.insert(seen.begin(), seen.end());
  for (const std::string& key : neededKeys(m_settings, seen))
    if (!seen.contains(key)) loaded.missing.push_back(key);
  if (strict && !loaded.ignored.empty()) return fail(m_name + ": not a part of the layer: " + text::join(loaded.ignored, ", "));
  if (strict && !loaded.missing.empty()) return fail(m_name + ": missing: " + text::join(loaded.missing, ", "));
  m_buffers = std::move(buffers);
  m_given = std::move(given);
  m_linear.reset();
  m_held.reset();
  m_gradient.clear();
  return loaded;
}

std::vector<RawTensor> MbwqLayer::state(const std::string& prefix) const {
  std::vector<RawTensor> arrays;
  const auto add = [&](const std::string& key, const RawTensor& array) { arrays.push_back(ownCopy(prefix + key, array)); };
  static constexpr const char* order[] = {"qweight",    "scales",        "zeros",          "q_perm",       "channel_scale",
                                          "q_groups",   "q_group_map",   "bias",           "g_idx",        "wf",
                                          "qstatistic", "qscales_zeros", "qscales_scales", "qzeros_zeros", "qzeros_scales"};
  for (const std::string key : order) {
    if (key == "qweight" && isPrepared())
      arrays.push_back(
          {prefix + key, DType::I32, {packedRows(m_groups), m_settings.outputs}, stored().layout->pack(stored().codes)});
    else if (const auto found = m_buffers.find(key); found != m_buffers.end())
      add(key, found->second);
  }
  return arrays;
}

Result<std::vector<float>> uniformToWeights(const RawTensor& qweight, const RawTensor& scales, const RawTensor& zeros,
                                            std::uint64_t groupSize, int bits, const RawTensor& perm) {
  if (qweight.shape.size() != 2 || perm.shape.size() != 1) return fail("qweight or q_perm: unexpected shape");
  MbwqSettings settings{.inputs = perm.shape[0], .outputs = qweight.shape[1], .weightBits = bits};
  settings.groupSize = static_cast<std::int64_t>(groupSize);
  settings.mixed = false;
  auto layer = MbwqLayer::create("layer", settings);
  if (!layer) return fail(layer.error());
  const auto loaded = layer->loadState(
      {ownCopy("qweight", qweight), ownCopy("scales", scales), ownCopy("zeros", zeros), ownCopy("q_perm", perm)}, false);
  if (!loaded) return fail(loaded.error());
  NIBBLE_TRY(layer->prepare());
  return layer->weights();
}

Result<std::vector<float>> mixedToWeights(const RawTensor& qweight, const RawTensor& scales, const RawTensor& zeros,
                                          const RawTensor& perm, const RawTensor& groups) {
  if (qweight.shape.size() != 2 || perm.shape.size() != 1) return fail("qweight or q_perm: unexpected shape");
  auto layer = MbwqLayer::create("layer", {.inputs = perm.shape[0], .outputs = qweight.shape[1]});
  if (!layer) return fail(layer.error());
  const auto loaded = layer->loadState({ownCopy("qweight", qweight), ownCopy("scales", scales), ownCopy("zeros", zeros),
                                        ownCopy("q_perm", perm), ownCopy("q_groups", groups)},
                                       false);
  if (!loaded) return fail(loaded.error());
  NIBBLE_TRY(layer->prepare());
  return layer->weights();
}

}  // namespace nibble
