// SPDX-License-Identifier: GPL-3.0-or-later
// EXL2: widths mixed along the input, widest first; symmetric codes of 2, 3, 4, 5, 6 or 8 bits; for each group of inputs one
// float16 maximum and a 4-bit root per output (square_search.h finds them).
//
//   code = clamp(rne(w / scale) + 2^(bits-1), 0, 2^bits - 1)     w ~ half((code - 2^(bits-1)) * scale)
//
// Codes are chosen with the scale as it decodes. With `bpw` the mix is the largest of a list (candidates below) that is not
// larger than asked, everything written counted: codes, roots, maxima, group table, permutation, outputs filled up to a
// multiple of 32. `mix` says it outright. Which inputs get the wide codes: those with the largest mean square of what comes in
// (the diagonal of the Gram matrix, as exllamav2 sorts them); without such data the inputs stay in order and the first ones get
// them. The number of groups of a share is rounded up.
//
// Storage: int32 words down the input, one row of words after another; core/quant/stream_layout.h draws them.
#include "core/base/text.h"
#include "core/quant/encode.h"
#include "core/quant/layout.h"
#include "core/quant/square_scales.h"
#include "core/quant/stream_layout.h"
#include "core/schemes/mix.h"
#include "core/schemes/scheme.h"
#include "core/schemes/square_search.h"
#include "core/tensor/activations.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace nibble {
namespace {

constexpr std::uint64_t mostInputs = 65535, outputStep = 32;

struct Settings {
  double bpw = 4.0;
  std::string mix{noMix};
};

const SettingTable<Settings>& table() {
  static const auto settings =
      SettingTable<Settings>{}
          .real("bpw", &Settings::bpw, "Bits per weight",
                {.low = 2,
                 .high = 9,
                 .offers = {2.5, 3.0, 3.5, 4.0, 5.0, 6.0},
                 .unit = "bits",
                 .help = "At most so many bits per weight, everything written counted.",
                 .onlyKey = "mix",
                 .onlyValues = {std::string(noMix)}})
          .text("mix", &Settings::mix, "Mix",
                {.offers = {std::string(noMix), std::string("4b:0.9@128+3b:0.1@128"),
                            std::string("8b:0.1@64+6b:0.2@64+2b:0.7@32")},
                 .help = "Widths along the input, as 4b:0.9@128+3b:0.1@128 (bits, share, group), or none: bpw chooses."});
  return settings;
}

using Mix = std::vector<MixPart>;

// Neighbouring widths in steps of 5 %, and the pure ones: the pattern of exllamav2's own list, whose shares end at 30 %.
const std::vector<Mix>& candidates() {
  static const std::vector<Mix> all = [] {
    std::vector<Mix> mixes;
    for (const std::uint64_t group : {64u, 32u}) mixes.push_back({{2, 1, group}});
    for (const int bits : {3, 4, 5, 6, 8})
      for (const std::uint64_t group : {128u, 64u, 32u}) mixes.push_back({{static_cast<std::uint8_t>(bits), 1, group}});
    struct Pair {
      std::uint8_t high, low;
      std::uint64_t group;
    };
    for (const Pair& pair : {Pair{3, 2, 64}, {4, 3, 128}, {5, 4, 128}, {6, 5, 128}, {8, 6, 128}})
      for (int percent = 5; percent <= 95; percent += 5)
        mixes.push_back({{pair.high, percent / 100.0, pair.group}, {pair.low, (100 - percent) / 100.0, pair.group}});
    return mixes;
  }();
  return all;
}

// Everything an EXL2 file holds for these groups, in bits.
std::uint64_t costOf(const std::vector<WidthGroup>& groups, MatrixSize size) {
  const std::uint64_t outputs = (size.rows + outputStep - 1) / outputStep * outputStep;
  return packedRows(groups) * 32 * outputs + groups.size() * (48 + 4 * outputs) + size.columns * 32;
}

struct Chosen {
  Mix mix;
  std::vector<WidthGroup> groups;
};

Result<Chosen> chooseMix(const Settings& settings, MatrixSize size) {
  if (settings.mix != noMix) {
    auto mix = parseMix(settings.mix);
    if (!mix) return fail(mix.error());
    auto groups = groupsOfMix(*mix, size.columns, ShareRounding::Up);
    return Chosen{*std::move(mix), std::move(groups)};
  }
  const double budget = settings.bpw * static_cast<double>(size.count());
  std::optional<Chosen> best;
  std::uint64_t bestCost = 0, least = ~std::uint64_t{0};
  for (const Mix& mix : candidates()) {
    auto groups = groupsOfMix(mix, size.columns, ShareRounding::Up);
    const std::uint64_t cost = costOf(groups, size);
    least = std::min(least, cost);
    if (static_cast<double>(cost) > budget || cost <= bestCost) continue;
    bestCost = cost;
    best = Chosen{mix, std::move(groups)};
  }
  if (!best)
    return fail("bpw=" + text::number(settings.bpw) + " cannot be met: the smallest mix takes " +
                text::digits(static_cast<double>(least) / static_cast<double>(size.count()), 4) + " bits per weight here");
  return *std::move(best);
}

class Job {
 public:
  Job(const Tensor& tensor, Chosen chosen, const Context& context)
      : m_tensor(tensor), m_groups(std::move(chosen.groups)), m_context(context) {
    m_notes.push_back("mix " + mixText(chosen.mix));
  }

  Result<QuantizedTensor> run() {
    auto weights = AllWeights::read(m_tensor, m_context);
    if (!weights) return fail(weights.error());
    m_weights = weights->values();
    chooseOrder();
    std::vector<std::uint64_t> firsts{0};
    for (const WidthGroup& group : m_groups) firsts.push_back(firsts.back() + group.inputs);
    m_roots.resize(m_tensor.rows() * m_groups.size());
    m_maxima.resize(m_groups.size());
    m_codes.resize(m_tensor.size());
    const std::uint64_t weightsEach = m_tensor.size() / m_groups.size();
    NIBBLE_TRY(forEachPiece(m_groups.size(), 1, weightsEach, m_context, [&](std::uint64_t begin, std::uint64_t end) -> Status {
      for (std::uint64_t g = begin; g < end; ++g) NIBBLE_TRY(encodeGroup(g, firsts[g]));
      return {};
    }));
    NIBBLE_TRY(m_tensor.intact());
    return result();
  }

 private:
  void chooseOrder() {
    m_order.resize(m_tensor.columns());
    std::iota(m_order.begin(), m_order.end(), 0u);
    const LayerInputs* known =
        m_context.activations != nullptr ? m_context.activations->find(m_tensor.name(), m_tensor.columns()) : nullptr;
    if (known != nullptr && !known->meanSquares.empty())
      m_order = byImportance(known->meanSquares);
    else
      m_notes.emplace_back("nothing is known about the inputs: they stay in order, and the first ones have the widest codes");
  }

  Status encodeGroup(std::uint64_t g, std::uint64_t first) {
    const std::uint64_t rows = m_tensor.rows(), columns = m_tensor.columns(), inputs = m_groups[g].inputs;
    const int bits = m_groups[g].bits;
    std::vector<float> weights(inputs * rows);
    for (std::uint64_t n = 0; n < rows; ++n)
      for (std::uint64_t j = 0; j < inputs; ++j) weights[j * rows + n] = m_weights[n * columns + m_order[first + j]];
    const auto scales = searchSquareScales(weights, rows, bits);
    if (!scales) return fail(scales.error().within("group " + text::number(g)));
    m_maxima[g] = scales->maximum;
    const auto middle = static_cast<float>(1 << (bits - 1));
    for (std::uint64_t n = 0; n < rows; ++n) {
      m_roots[n * m_groups.size() + g] = scales->codes[n];
      for (std::uint64_t j = 0; j < inputs; ++j) {
        const std::uint8_t code = squareCode(weights[j * rows + n], scales->scale[n], bits);
        if (!std::isfinite(kernels::roundTo(FloatType::F16, (static_cast<float>(code) - middle) * scales->scale[n])))
          return fail("group " + text::number(g) + ": a weight of " + text::number(weights[j * rows + n]) +
                      " does not fit float16");
        m_codes[n * columns + first + j] = code;
      }
    }
    return {};
  }

  QuantizedTensor result() {
    QuantizedTensor result;
    const std::uint64_t outputs = (m_tensor.rows() + outputStep - 1) / outputStep * outputStep;
    result.rows = m_tensor.rows();
    result.columns = m_tensor.columns();
    result.shape = m_tensor.shape();
    result.codes = Codes(std::move(m_codes));
    result.width = widthPlane(result.rows, m_groups);
    result.layout = inputStreamLayout(result.rows, outputs, widthsOf(m_groups));
    result.rule = ValueRule::ScaleMinusZero;
    result.scale = squareScales(result.rows, indexOf(m_groups), std::move(m_roots), m_maxima, outputs);
    result.zero = middles(result.rows, m_groups);
    result.arithmetic = {FloatType::F16, FloatType::F16, false};
    result.order = std::move(m_order);
    result.notes = std::move(m_notes);
    return result;
  }

  const Tensor& m_tensor;
  std::vector<WidthGroup> m_groups;
  const Context& m_context;
  std::span<const float> m_weights;
  std::vector<std::uint32_t> m_order;
  std::vector<std::uint8_t> m_roots, m_codes;
  std::vector<std::uint16_t> m_maxima;
  std::vector<std::string> m_notes;
};

class Exl2Scheme final : public Scheme {
 public:
  const SchemeInfo& info() const override {
    static const SchemeInfo about{"exl2",
                                  "EXL2",
                                  "widths mixed along the input, 4-bit scales",
                                  "exllamav2 0.3.2",
                                  Family::Exl2,
                                  Needs::ImportanceWeights};
    return about;
  }
  const std::vector<SettingInfo>& settings() const override { return table().infos(); }
  std::vector<Promise> promises(const SettingValues&) const override {
    return {Promise::Deterministic, Promise::ZeroStaysZero};
  }
  std::optional<std::string> refusal(const SettingValues& values, MatrixSize size) const override {
    if (size.columns % 32 != 0) return text::number(size.columns) + " inputs are not a multiple of 32";
    if (size.columns > mostInputs) return text::number(size.columns) + " inputs are more than 65535";
    if (size.count() == 0) return std::nullopt;
    const auto chosen = chooseMix(table().read(values), size);
    if (!chosen) return chosen.error().message;
    return refusalOf(chosen->groups);
  }
  Result<QuantizedTensor> quantize(const Tensor& tensor, const SettingValues& values, const Context& context) const override {
    auto chosen = chooseMix(table().read(values), {tensor.rows(), tensor.columns()});
    if (!chosen) return fail(chosen.error().within(tensor.name()));
    auto result = Job(tensor, *std::move(chosen), context).run();
    if (!result && result.error().kind == ErrorKind::Input && !result.error().message.starts_with(tensor.name()))
      return fail(result.error().within(tensor.name()));
    return result;
  }
};

}  // namespace

const Scheme& exl2Scheme() {
  static const Exl2Scheme scheme;
  return scheme;
}

}  // namespace nibble
