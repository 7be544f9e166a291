// SPDX-License-Identifier: GPL-3.0-or-later
// The layer of bitorch-engine (reference document 002): one width of 2 or 4 bits, or widths mixed along the input, widest
// first. For each group of inputs of one output, with N = 2^bits - 1, all parameters float16:
//
//   scale = (max - min) / N, 1 where the group is constant      zero = -min        (a zero that is scaled already)
//   code = clamp(rne((w + zero) / scale), 0, N)                  w ~ half(code * scale - zero), rounded once
//
// Which inputs get the wide codes of a mix: those with the largest mean square of what comes in; without such data the first
// ones as they stand. The number of groups of a share is rounded down, as green-bit-llm does; the last width takes the rest.
//
// Storage: int32 words down the input, one row of words after another (core/quant/stream_layout.h), scales and zeros [groups,
// out], a permutation of 16 bits and a channel scale of float16 per input, and in mixed mode the table of groups.
#include "core/base/text.h"
#include "core/quant/decode.h"
#include "core/quant/encode.h"
#include "core/quant/layout.h"
#include "core/quant/stream_layout.h"
#include "core/schemes/mix.h"
#include "core/schemes/scheme.h"
#include "core/tensor/activations.h"

#include <algorithm>
#include <cmath>

namespace nibble {
namespace {

constexpr std::uint64_t mostInputs = 65535;
constexpr Arithmetic fusedHalf{FloatType::F16, FloatType::F16, true};

struct Settings {
  std::int64_t bits = 4, group = 32;
  std::string mix{noMix};
};

const SettingTable<Settings>& table() {
  static const auto settings =
      SettingTable<Settings>{}
          .integer("bits", &Settings::bits, "Bits",
                   {.choices = {std::int64_t{4}, std::int64_t{2}},
                    .unit = "bits",
                    .help = "Bits per code where all inputs have the same.",
                    .onlyKey = "mix",
                    .onlyValues = {std::string(noMix)}})
          .integer("group", &Settings::group, "Group",
                   {.low = 32,
                    .high = 65536,
                    .offers = {std::int64_t{32}, std::int64_t{64}, std::int64_t{128}},
                    .unit = "weights",
                    .help = "Inputs that share a scale and a zero, a multiple of 32.",
                    .onlyKey = "mix",
                    .onlyValues = {std::string(noMix)}})
          .text("mix", &Settings::mix, "Mix",
                {.offers = {std::string(noMix), std::string("4b:0.75@32+2b:0.25@32"), std::string("8b:0.1@128+4b:0.9@64")},
                 .help = "Widths along the input, as 4b:0.75@32+2b:0.25@32 (bits, share, group), or none."});
  return settings;
}

Result<std::vector<WidthGroup>> groupsFor(const Settings& settings, std::uint64_t inputs) {
  std::vector<MixPart> parts{{static_cast<std::uint8_t>(settings.bits), 1, static_cast<std::uint64_t>(settings.group)}};
  if (settings.mix != noMix) {
    auto parsed = parseMix(settings.mix);
    if (!parsed) return fail(parsed.error());
    parts = *std::move(parsed);
  } else if (settings.group % 32 != 0) {
    return fail("group=" + text::number(settings.group) + " is not a multiple of 32");
  }
  return groupsOfMix(parts, inputs, ShareRounding::Down);
}

class Job {
 public:
  Job(const Tensor& tensor, const Settings& settings, std::vector<WidthGroup> groups, const Context& context)
      : m_tensor(tensor), m_settings(settings), m_groups(std::move(groups)), m_context(context) {}

  Result<QuantizedTensor> run() {
    chooseOrder();
    const std::uint64_t count = m_tensor.rows() * m_groups.size();
    m_scale.resize(count);
    m_bias.resize(count);
    m_codes.resize(m_tensor.size());
    NIBBLE_TRY(forEachStrip(m_tensor, m_tensor.columns(), m_context, [&](std::uint64_t begin, std::span<const float> weights) {
      return encodeRows(begin / m_tensor.columns(), weights);
    }));
    return result();
  }

 private:
  void chooseOrder() {
    const bool mixed = m_groups.front().bits != m_groups.back().bits;
    m_order.resize(m_tensor.columns());
    for (std::uint32_t k = 0; k < m_order.size(); ++k) m_order[k] = k;
    if (!mixed) return;
    const LayerInputs* known =
        m_context.activations != nullptr ? m_context.activations->find(m_tensor.name(), m_tensor.columns()) : nullptr;
    if (known != nullptr && !known->meanSquares.empty())
      m_order = byImportance(known->meanSquares);
    else
      m_notes.emplace_back("nothing is known about the inputs: the first ones have the widest codes");
  }

  Status encodeRows(std::uint64_t firstRow, std::span<const float> weights) {
    const std::uint64_t columns = m_tensor.columns(), groups = m_groups.size();
    std::vector<float> row(columns);
    for (std::uint64_t at = 0; at < weights.size(); at += columns) {
      const std::uint64_t index = firstRow + at / columns;
      for (std::uint64_t k = 0; k < columns; ++k) row[k] = weights[at + m_order[k]];
      std::uint64_t first = 0;
      for (std::uint64_t g = 0; g < groups; first += m_groups[g++].inputs)
        NIBBLE_TRY(encodeGroup(index * groups + g, m_groups[g].bits, std::span(row).subspan(first, m_groups[g].inputs),
                               m_codes.data() + index * columns + first));
    }
    return {};
  }

  Status encodeGroup(std::uint64_t group, int bits, std::span<const float> weights, std::uint8_t* codes) {
    const auto [low, high] = std::minmax_element(weights.begin(), weights.end());
    const auto largest = static_cast<float>((1 << bits) - 1);
    float scale = (*high - *low) / largest;
    if (*high == *low) scale = 1;
    m_scale[group] = scale;
    m_bias[group] = *low;
    NIBBLE_TRY(roundScales(std::span(m_scale).subspan(group, 1), Stored::F16, group));
    NIBBLE_TRY(roundOffsets(std::span(m_bias).subspan(group, 1), Stored::F16, group, "zero"));
    for (std::size_t i = 0; i < weights.size(); ++i) {
      const float code = std::clamp(std::nearbyint((weights[i] - m_bias[group]) / m_scale[group]), 0.0f, largest);
      codes[i] = static_cast<std::uint8_t>(code);
      if (!std::isfinite(applyRule(ValueRule::ScalePlusBias, fusedHalf, true, code, m_scale[group], m_bias[group])))
        return fail("group " + text::number(group) + ": a weight of " + text::number(weights[i]) + " does not fit float16");
    }
    return {};
  }

  QuantizedTensor result() {
    QuantizedTensor result;
    result.rows = m_tensor.rows();
    result.columns = m_tensor.columns();
    result.shape = m_tensor.shape();
    result.codes = Codes(std::move(m_codes));
    const bool uniform =
        std::all_of(m_groups.begin(), m_groups.end(), [&](const auto& group) { return group == m_groups.front(); });
    const std::uint8_t bits = m_groups.front().bits;
    if (uniform && (bits == 2 || bits == 4))
      result.width.uniform = bits;
    else
      result.width = widthPlane(result.rows, m_groups);
    result.layout = inputStreamLayout(result.rows, result.rows, widthsOf(m_groups));
    result.rule = ValueRule::ScalePlusBias;
    const Grouping grouping = Grouping::columnMap(result.rows, indexOf(m_groups));
    result.scale = Plane::numbers(grouping, std::move(m_scale), Stored::F16);
    result.zero = Plane::numbers(grouping, std::move(m_bias), Stored::F16);
    result.arithmetic = fusedHalf;
    result.order = std::move(m_order);
    result.orderBytes = 2;
    result.channelScale.assign(result.columns, 1.0f);
    result.channelScaleMultiplies = true;
    result.notes = std::move(m_notes);
    return result;
  }

  const Tensor& m_tensor;
  Settings m_settings;
  std::vector<WidthGroup> m_groups;
  const Context& m_context;
  std::vector<std::uint32_t> m_order;
  std::vector<float> m_scale, m_bias;  // bias = -zero
  std::vector<std::uint8_t> m_codes;
  std::vector<std::string> m_notes;
};

class MbwqScheme final : public Scheme {
 public:
  const SchemeInfo& info() const override {
    static const SchemeInfo about{"mbwq",
                                  "MBWQ",
                                  "scaled zeros, 2 or 4 bits or widths mixed along the input",
                                  "bitorch-engine 0.2.6 MBWQLinearCuda (reference document 002)",
                                  Family::Exl2,
                                  Needs::ImportanceWeights};
    return about;
  }
  const std::vector<SettingInfo>& settings() const override { return table().infos(); }
  std::vector<Promise> promises(const SettingValues&) const override { return {Promise::Deterministic}; }
  std::optional<std::string> refusal(const SettingValues& values, MatrixSize size) const override {
    if (size.columns % 32 != 0) return text::number(size.columns) + " inputs are not a multiple of 32";
    if (size.columns > mostInputs) return text::number(size.columns) + " inputs are more than 65535";
    if (size.columns == 0) return std::nullopt;
    const auto groups = groupsFor(table().read(values), size.columns);
    if (!groups) return groups.error().message;
    return refusalOf(*groups);
  }
  Result<QuantizedTensor> quantize(const Tensor& tensor, const SettingValues& values, const Context& context) const override {
    const Settings settings = table().read(values);
    auto groups = groupsFor(settings, tensor.columns());
    if (!groups) return fail(groups.error().within(tensor.name()));
    auto result = Job(tensor, settings, *std::move(groups), context).run();
    if (!result && result.error().kind == ErrorKind::Input && !result.error().message.starts_with(tensor.name()))
      return fail(result.error().within(tensor.name()));
    return result;
  }
};

}  // namespace

const Scheme& mbwqScheme() {
  static const MbwqScheme scheme;
  return scheme;
}

}  // namespace nibble
