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
// Where samples or the Gram matrix H of the inputs are known, groups are rounded one after another, the widest first, and what
// an input loses is passed on: V is the upper Cholesky factor of (H + damp)^-1 in stored order, damp = max(0.12 mean diag H,
// 1e-5), added again up to ten times where that is not positive definite;
//   err = (w_k - q_k) / V[k, k]     w_l -= err V[k, l] for the inputs l behind k: those of the group at once, the rest after it
// (spec mbwq 3.2), in double. Else every group is rounded plainly.
//
// Storage: int32 words down the input, one row of words after another; core/quant/stream_layout.h draws them.
#include "core/base/text.h"
#include "core/quant/encode.h"
#include "core/quant/gram.h"
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
    NIBBLE_TRY(learnInputs());
    std::vector<std::uint64_t> firsts{0};
    for (const WidthGroup& group : m_groups) firsts.push_back(firsts.back() + group.inputs);
    m_roots.resize(m_tensor.rows() * m_groups.size());
    m_maxima.resize(m_groups.size());
    m_codes.resize(m_tensor.size());
    NIBBLE_TRY(m_factor.empty() ? roundPlainly(firsts) : compensate(firsts));
    NIBBLE_TRY(m_tensor.intact());
    return result();
  }

 private:
  Status roundPlainly(const std::vector<std::uint64_t>& firsts) {
    const std::uint64_t weightsEach = m_tensor.size() / m_groups.size();
    return forEachPiece(m_groups.size(), 1, weightsEach, m_context, [&](std::uint64_t begin, std::uint64_t end) -> Status {
      for (std::uint64_t g = begin; g < end; ++g) NIBBLE_TRY(encodeGroup(g, firsts[g]));
      return {};
    });
  }

  Status learnInputs() {
    m_order.resize(m_tensor.columns());
    std::iota(m_order.begin(), m_order.end(), 0u);
    const LayerInputs* known =
        m_context.activations != nullptr ? m_context.activations->find(m_tensor.name(), m_tensor.columns()) : nullptr;
    if (known != nullptr && (!known->samples.empty() || !known->gram.empty())) return factorOf(*known);
    if (known != nullptr && !known->meanSquares.empty())
      m_order = byImportance(known->meanSquares);
    else
      m_notes.emplace_back("nothing is known about the inputs: they stay in order, and the first ones have the widest codes");
    return {};
  }

  // The order by the Gram matrix's diagonal, and V in that order.
  Status factorOf(const LayerInputs& inputs) {
    auto gram = gramMatrix(inputs, m_context);
    if (!gram) return fail(gram.error());
    const std::uint64_t n = inputs.channels;
    const double tokens = inputs.tokens != 0 ? static_cast<double>(inputs.tokens) : 1.0;
    std::vector<float> diagonal(n);
    double sum = 0;
    for (std::uint64_t j = 0; j < n; ++j) {
      sum += (*gram)[j * n + j] / tokens;
      diagonal[j] = static_cast<float>((*gram)[j * n + j] / tokens);
    }
    m_order = byImportance(diagonal);
    std::vector<double> ordered(n * n);
    for (std::uint64_t j = 0; j < n; ++j)
      for (std::uint64_t k = 0; k < n; ++k) ordered[j * n + k] = (*gram)[m_order[j] * n + m_order[k]] / tokens;
    *gram = {};
    const double damp = std::max(0.12 * sum / static_cast<double>(n), 1e-5);
    constexpr int attempts = 10;
    for (int attempt = 1; attempt <= attempts; ++attempt) {
      m_factor = ordered;
      for (std::uint64_t j = 0; j < n; ++j) m_factor[j * n + j] += damp * attempt;
      const auto status = factorOfInverse(m_factor, n, m_context);
      if (status) return {};
      if (status.error().kind == ErrorKind::Cancelled) return status;
    }
    return fail("the damped Gram matrix of its inputs is not positive definite");
  }

  // Weights of the inputs in stored order, input after input: [inputs, outputs].
  Status compensate(const std::vector<std::uint64_t>& firsts) {
    const std::uint64_t rows = m_tensor.rows(), columns = m_tensor.columns();
    m_work.resize(m_tensor.size());
    for (std::uint64_t j = 0; j < columns; ++j)
      for (std::uint64_t n = 0; n < rows; ++n) m_work[j * rows + n] = static_cast<double>(m_weights[n * columns + m_order[j]]);
    for (std::uint64_t g = 0; g < m_groups.size(); ++g) {
      const std::uint64_t first = firsts[g], end = firsts[g + 1];
      std::vector<float> weights((end - first) * rows);
      for (std::uint64_t i = 0; i < weights.size(); ++i) weights[i] = static_cast<float>(m_work[first * rows + i]);
      const auto scales = searchSquareScales(weights, rows, m_groups[g].bits);
      if (!scales) return fail(scales.error().within("group " + text::number(g)));
      m_maxima[g] = scales->maximum;
      for (std::uint64_t n = 0; n < rows; ++n) m_roots[n * m_groups.size() + g] = scales->codes[n];
      constexpr std::uint64_t grain = 16;
      NIBBLE_TRY(forEachPiece(rows, grain, end - first, m_context, [&](std::uint64_t begin, std::uint64_t last) {
        return roundGroup(g, first, end, *scales, begin, last);
      }));
    }
    return {};
  }

  // Group g, inputs [first, end), of outputs [begin, last).
  Status roundGroup(std::uint64_t g, std::uint64_t first, std::uint64_t end, const GroupScales& scales, std::uint64_t begin,
                    std::uint64_t last) {
    const std::uint64_t rows = m_tensor.rows(), columns = m_tensor.columns(), width = last - begin;
    const int bits = m_groups[g].bits;
    const auto middle = static_cast<float>(1 << (bits - 1));
    std::vector<double> errors((end - first) * width);
    const auto passOn = [&](std::uint64_t from, std::uint64_t to) {  // what input `from` lost, on to input `to`
      const double share = m_factor[from * columns + to];
      const double* const lost = errors.data() + (from - first) * width;
      double* const weights = m_work.data() + to * rows + begin;
      for (std::uint64_t i = 0; i < width; ++i) weights[i] -= lost[i] * share;
    };
    for (std::uint64_t j = first; j < end; ++j) {
      for (std::uint64_t i = 0; i < width; ++i) {
        const std::uint64_t n = begin + i;
        const double wanted = m_work[j * rows + n];
        const std::uint8_t code = squareCode(static_cast<float>(wanted), scales.scale[n], bits);
        const float got = kernels::roundTo(FloatType::F16, (static_cast<float>(code) - middle) * scales.scale[n]);
        if (!std::isfinite(got))
          return fail("group " + text::number(g) + ": a weight of " + text::number(wanted) + " does not fit float16");
        m_codes[n * columns + j] = code;
        errors[(j - first) * width + i] = (wanted - static_cast<double>(got)) / m_factor[j * columns + j];
      }
      for (std::uint64_t k = j + 1; k < end; ++k) passOn(j, k);
    }
    for (std::uint64_t k = end; k < columns; ++k)
      for (std::uint64_t j = first; j < end; ++j) passOn(j, k);
    return {};
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
  std::vector<double> m_factor, m_work;  // V, empty: nothing is compensated; the weights as corrected so far
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
