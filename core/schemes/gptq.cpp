// SPDX-License-Identifier: GPL-3.0-or-later
// GPTQ: rounds one input column after the other and lets the columns still to come make up for what was lost, as the inputs X of
// the layer weigh it. With H = 2/N X^T X:
//
//   inputs that are never active (H_jj = 0): H_jj = 1, W_j = 0
//   `order`: columns by falling H_jj, equal ones as they stand
//   H += damp mean(diag H) I,  V upper triangular with H^-1 = V^T V
//   for each column i:  [at the first of a group: s, z from the group's weights as corrected so far]
//       code = clamp(rne(w / s) + z, 0, 2^b - 1),  e = (w - s (code - z)) / V_ii,  W[:, j] -= e V_ij for all j > i
//   group:  lo = min(w, 0), hi = max(w, 0);  both 0: -1 and 1
//       symmetric  s = 2 max |w| / (2^b - 1), z = 2^(b-1)        affine  s = (hi - lo) / (2^b - 1), z = rne(-lo / s)
//
// A sum over j is put off until `block` columns are done. fit=fresh: blocks end where groups end, so that parameters always see
// all corrections. fit=stale: blocks of exactly `block` columns, parameters from the weights as they stood when the block began,
// as AutoGPTQ 0.7 computes them (it has block = 128; the same where groups are whole blocks). A group of positive weights
// alone keeps a symmetric range, which AutoGPTQ clips at 7/15 of it. Scales are rounded to their type before use. All in double;
// a common factor of H does not matter (beyond inputs never active), so a Gram matrix may be unscaled.
// Without samples or a Gram matrix there is nothing to weigh with: the same parameters, plain rounding.
//
// Storage: 32-bit words along the input (quant/input_words.h), scales, zero points of b bits. With `order` columns stay where they
// are and the group of each is kept (GPTQ's g_idx).
// Source: Frantar et al. 2023 (arXiv 2210.17323); AutoGPTQ 0.7 for the fit (spec uniform 6.5, 9.1, 9.2).
#include "core/base/text.h"
#include "core/quant/encode.h"
#include "core/quant/gram.h"
#include "core/schemes/integer_groups.h"
#include "core/schemes/scheme.h"

#include <Eigen/Dense>

#include <algorithm>
#include <cmath>
#include <numeric>

namespace nibble {
namespace {

using Index = Eigen::Index;
using Columns = Eigen::MatrixXd;  // [rows of a chunk, columns], a column's weights beside each other
using FactorView = Eigen::Map<const Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>>;

constexpr std::uint64_t chunkRows = 64;  // weights of a chunk stay in the second-level cache

struct Settings {
  std::int64_t bits = 4, group = 128;
  bool symmetric = true, order = false;
  double damp = 0.01;
  std::int64_t block = 128;
  std::string fit = "fresh", params = "f16";
};

std::vector<SettingValue> words(std::initializer_list<const char*> list) {
  std::vector<SettingValue> values;
  for (const char* word : list) values.emplace_back(std::string(word));
  return values;
}

const SettingTable<Settings>& table() {
  using Values = std::vector<SettingValue>;
  using Int = std::int64_t;
  static const auto settings =
      SettingTable<Settings>{}
          .integer("bits", &Settings::bits, "Bits",
                   {.low = 2, .high = 8, .offers = Values{Int{2}, Int{3}, Int{4}, Int{8}}, .unit = "bits", .help = "Bits per code."})
          .integer("group", &Settings::group, "Group",
                   {.low = 0,
                    .high = 1 << 20,
                    .offers = Values{Int{32}, Int{64}, Int{128}},
                    .unit = "weights",
                    .help = "Weights along a row that share a scale (0: the whole row); the last group may be shorter."})
          .boolean("symmetric", &Settings::symmetric, "Symmetric", {.help = "Zero point in the middle; else it fits the group's range."})
          .boolean("order", &Settings::order, "Activation order",
                   {.help = "Round the inputs of the largest activations first; groups are then no runs of columns."})
          .real("damp", &Settings::damp, "Damping",
                {.low = 0.0001, .high = 1, .offers = Values{0.01, 0.05, 0.1}, .help = "Added to the diagonal, as a share of its mean."})
          .integer("block", &Settings::block, "Block",
                   {.low = 1,
                    .high = 1 << 14,
                    .offers = Values{Int{32}, Int{128}},
                    .unit = "columns",
                    .help = "Columns after which the loss is passed on to the rest; matters to the result with fit=stale only."})
          .text("fit", &Settings::fit, "Fit",
                {.choices = words({"fresh", "stale"}),
                 .help = "Group parameters see all corrections so far, or only those before the current block (as AutoGPTQ)."})
          .text("params", &Settings::params, "Parameters", {.choices = words({"f16", "f32", "bf16"}), .help = "Stored type of scales."});
  return settings;
}

// V and what goes with it; no factor: plain rounding.
struct Plan {
  std::vector<double> factor;
  std::vector<std::uint32_t> order;  // column at each place; empty: as they stand
  std::vector<bool> dead;            // by column
  std::vector<std::string> notes;
};

void permute(std::vector<double>& gram, const std::vector<std::uint32_t>& order) {
  const std::uint64_t n = order.size();
  std::vector<double> permuted(gram.size());
  for (std::uint64_t row = 0; row < n; ++row)
    for (std::uint64_t column = 0; column < n; ++column) permuted[row * n + column] = gram[order[row] * n + order[column]];
  gram = std::move(permuted);
}

Result<Plan> planFrom(const LayerInputs& inputs, const Settings& settings, const Context& context) {
  Plan plan;
  auto gram = gramMatrix(inputs, context);
  if (!gram) return fail(gram.error());
  const std::uint64_t n = inputs.channels;
  std::vector<double>& h = *gram;
  if (inputs.tokens != 0)
    for (double& value : h) value *= 2.0 / static_cast<double>(inputs.tokens);
  plan.dead.resize(n);
  std::vector<double> diagonal(n);
  for (std::uint64_t j = 0; j < n; ++j) {
    plan.dead[j] = h[j * n + j] == 0;
    if (plan.dead[j]) h[j * n + j] = 1;
    diagonal[j] = h[j * n + j];
  }
  if (const auto dead = std::count(plan.dead.begin(), plan.dead.end(), true); dead != 0)
    plan.notes.push_back(text::number(std::int64_t{dead}) + " inputs are never active: their weights became 0");
  if (settings.order) {
    plan.order.resize(n);
    std::iota(plan.order.begin(), plan.order.end(), 0u);
    std::stable_sort(plan.order.begin(), plan.order.end(), [&](std::uint32_t a, std::uint32_t b) { return diagonal[a] > diagonal[b]; });
    permute(h, plan.order);
  }
  const double damping = settings.damp * std::accumulate(diagonal.begin(), diagonal.end(), 0.0) / static_cast<double>(n);
  for (std::uint64_t j = 0; j < n; ++j) h[j * n + j] += damping;
  if (auto status = factorOfInverse(h, n, context); !status)
    return status.error().kind == ErrorKind::Cancelled ? fail(status.error())
                                                       : fail("the damped Gram matrix of its inputs is " + status.error().message);
  plan.factor = *std::move(gram);
  return plan;
}

Result<Plan> makePlan(const Tensor& tensor, const Settings& settings, const Context& context) {
  const LayerInputs* inputs = context.activations == nullptr ? nullptr : context.activations->find(tensor.name(), tensor.columns());
  if (inputs != nullptr && (!inputs->samples.empty() || !inputs->gram.empty())) return planFrom(*inputs, settings, context);
  Plan plan;
  plan.notes.push_back(inputs == nullptr ? "no activations: rounded plainly, nothing compensated"
                                         : "only E[x^2] of the inputs is known, which compensates nothing: rounded plainly");
  return plan;
}

// Rows [begin, begin + rows) of the matrix, column after column.
class Chunk {
 public:
  Chunk(IntegerGroups& result, const Settings& settings, const Plan& plan, std::uint64_t begin, std::uint64_t rows)
      : m_result(result),
        m_plan(plan),
        m_symmetric(settings.symmetric),
        m_stale(settings.fit == "stale"),
        m_block(static_cast<Index>(settings.block)),
        m_begin(begin),
        m_weights(static_cast<Index>(rows), static_cast<Index>(result.columns)) {}
  Status read(const Tensor& tensor);
  Status quantize(const Context& context);

 private:
  [[nodiscard]] std::uint32_t columnAt(Index place) const {
    return m_plan.order.empty() ? static_cast<std::uint32_t>(place) : m_plan.order[static_cast<std::size_t>(place)];
  }
  [[nodiscard]] Index blockEnd(Index begin) const;
  Status fit(Index begin, Index blockBegin, Index blockEnd);
  void roundColumn(Index place);
  void passOn(Index begin, Index end);

  IntegerGroups& m_result;
  const Plan& m_plan;
  bool m_symmetric, m_stale;
  Index m_block;
  std::uint64_t m_begin;
  Columns m_weights, m_errors, m_blockStart;  // errors over V_ii of a block; its weights when it began
};

Status Chunk::read(const Tensor& tensor) {
  std::vector<float> row(m_result.columns);
  for (Index r = 0; r < m_weights.rows(); ++r) {
    NIBBLE_TRY(tensor.read((m_begin + static_cast<std::uint64_t>(r)) * m_result.columns, row));
    for (Index place = 0; place < m_weights.cols(); ++place) {
      const std::uint32_t column = columnAt(place);
      m_weights(r, place) = !m_plan.dead.empty() && m_plan.dead[column] ? 0.0 : static_cast<double>(row[column]);
    }
  }
  return {};
}

Index Chunk::blockEnd(Index begin) const {
  const Index columns = m_weights.cols(), group = static_cast<Index>(m_result.group);
  Index end = begin + m_block;
  if (!m_stale) end = group <= m_block ? begin + m_block / group * group : std::min(end, (begin / group + 1) * group);
  return std::min(end, columns);
}

// Parameters of the group that begins here, for every row.
Status Chunk::fit(Index begin, Index blockBegin, Index blockEnd) {
  const Index end = std::min(begin + static_cast<Index>(m_result.group), m_weights.cols());
  const double steps = m_result.maxCode();
  for (Index r = 0; r < m_weights.rows(); ++r) {
    double low = 0, high = 0;
    for (Index place = begin; place < end; ++place) {
      const double w = m_stale && place < blockEnd ? m_blockStart(r, place - blockBegin) : m_weights(r, place);
      low = std::min(low, w);
      high = std::max(high, w);
    }
    if (m_symmetric) {
      high = std::max(high, -low);
      low = -high;
    }
    if (low == 0 && high == 0) low = -1, high = 1;
    const std::uint64_t group = (m_begin + static_cast<std::uint64_t>(r)) * m_result.groups() +
                                static_cast<std::uint64_t>(begin) / m_result.group;
    float& scale = m_result.scale[group];
    scale = static_cast<float>((high - low) / steps);
    NIBBLE_TRY(roundScales(std::span(&scale, 1), m_result.stored, group));
    m_result.zero[group] = m_symmetric ? static_cast<float>(1 << (m_result.bits - 1))
                                       : static_cast<float>(std::clamp(std::nearbyint(-low / static_cast<double>(scale)), 0.0, steps));
  }
  return {};
}

// Codes of one column; its weights become what was lost.
void Chunk::roundColumn(Index place) {
  const std::uint64_t group = static_cast<std::uint64_t>(place) / m_result.group, groups = m_result.groups(), column = columnAt(place);
  const double steps = m_result.maxCode();
  for (Index r = 0; r < m_weights.rows(); ++r) {
    const std::uint64_t row = m_begin + static_cast<std::uint64_t>(r);
    const double scale = m_result.scale[row * groups + group], zero = m_result.zero[row * groups + group];
    const double code = std::clamp(std::nearbyint(m_weights(r, place) / scale) + zero, 0.0, steps);
    m_result.codes[row * m_result.columns + column] = static_cast<std::uint8_t>(code);
    m_weights(r, place) -= scale * (code - zero);
  }
}

void Chunk::passOn(Index begin, Index end) {
  const Index columns = m_weights.cols(), rest = columns - end;
  if (rest == 0) return;
  const FactorView v(m_plan.factor.data(), columns, columns);
  m_weights.middleCols(end, rest).noalias() -= m_errors * v.block(begin, end, end - begin, rest);
}

Status Chunk::quantize(const Context& context) {
  const Index columns = m_weights.cols();
  const bool compensates = !m_plan.factor.empty();
  const FactorView v(m_plan.factor.data(), compensates ? columns : 0, compensates ? columns : 0);
  for (Index begin = 0, end = 0; begin < columns; begin = end) {
    if (context.stopRequested()) return cancelled();
    end = blockEnd(begin);
    if (m_stale) m_blockStart = m_weights.middleCols(begin, end - begin);
    m_errors.resize(m_weights.rows(), end - begin);
    for (Index place = begin; place < end; ++place) {
      if (place % static_cast<Index>(m_result.group) == 0) NIBBLE_TRY(fit(place, begin, end));
      roundColumn(place);
      if (!compensates) continue;
      auto error = m_errors.col(place - begin);
      error = m_weights.col(place) / v(place, place);
      for (Index next = place + 1; next < end; ++next) m_weights.col(next) -= v(place, next) * error;
    }
    if (compensates) passOn(begin, end);
  }
  return {};
}

Result<QuantizedTensor> quantizeGptq(const Tensor& tensor, const Settings& settings, const Context& context) {
  auto plan = makePlan(tensor, settings, context);
  if (!plan) return fail(plan.error().kind == ErrorKind::Cancelled ? plan.error() : plan.error().within(tensor.name()));
  IntegerGroups result(tensor.rows(), tensor.columns(), static_cast<std::uint64_t>(settings.group), static_cast<int>(settings.bits),
                       storedFromName(settings.params));
  NIBBLE_TRY(forEachPiece(result.rows, chunkRows, result.columns, context, [&](std::uint64_t begin, std::uint64_t end) -> Status {
    Chunk chunk(result, settings, *plan, begin, end - begin);
    NIBBLE_TRY(chunk.read(tensor));
    return chunk.quantize(context);
  }));
  NIBBLE_TRY(tensor.intact());
  std::vector<std::uint32_t> columnGroup(plan->order.size());
  for (std::size_t place = 0; place < plan->order.size(); ++place)
    columnGroup[plan->order[place]] = static_cast<std::uint32_t>(place / result.group);
  QuantizedTensor quantized = describe(std::move(result), tensor.shape(), std::move(columnGroup));
  quantized.notes = std::move(plan->notes);
  return quantized;
}

class GptqScheme final : public Scheme {
 public:
  const SchemeInfo& info() const override {
    static const SchemeInfo about{"gptq",
                                  "GPTQ",
                                  "columns rounded one by one, later ones make up for the loss",
                                  "Frantar et al. 2023 (arXiv 2210.17323), AutoGPTQ 0.7",
                                  Family::Gptq,
                                  Needs::Samples};
    return about;
  }
  const std::vector<SettingInfo>& settings() const override { return table().infos(); }
  std::vector<Promise> promises(const SettingValues& values) const override {
    const Settings settings = table().read(values);
    // What makes up for a loss moves zeros off zero and codes off the nearest. float16 scales lose their precision below 6e-5.
    if (settings.params == "f16") return {Promise::Deterministic};
    return {Promise::Deterministic, Promise::ScaleEquivariant};
  }
  std::optional<std::string> refusal(const SettingValues&, MatrixSize) const override { return std::nullopt; }
  Result<QuantizedTensor> quantize(const Tensor& tensor, const SettingValues& values, const Context& context) const override {
    return quantizeGptq(tensor, table().read(values), context);
  }
};

}  // namespace

const Scheme& gptqScheme() {
  static const GptqScheme scheme;
  return scheme;
}

}  // namespace nibble
