// SPDX-License-Identifier: GPL-3.0-or-later
// AWQ: input channels that matter are made larger before rounding and smaller after it. With X the inputs, N = 2^b - 1 and
// Q(w) affine codes in groups along the input:
//
//   a_j = mean |X_j|,  b_j = mean over rows of |W_j| / (largest |W| of its group + 1e-6)
//   for r = 0, 1/grid, ... (grid - 1)/grid:  s_j = max(a_j^r / (b_j^(1-r) + 1e-4), 1e-4),  s /= sqrt(max s min s)
//       [not finite: 1];  the r with the least mean square of (W - Q(W s) / s) X wins, the first of equals
//   `clip`: for each group the limit max |w s| (1 - i / 20), i = 0..9, with the least mean square of its part of the output
//   Q:  d = max(max - min, 1e-5) / N,  z = clamp(-rne(min / d), 0, N),  code = clamp(rne(w / d) + z, 0, N),  w ~ d (code - z) / s
//
// The range is not widened to hold 0: groups of one sign saturate, as the reference has it. Scales are rounded to their type
// before use, channel scales too. In the model files 1 / s is folded into the layer before; here it belongs to the tensor
// (channel scale), so the awq format takes the result only with scale=false or without data.
// The reference leaves the clipping of query and key projections out, known by their names ("q_", "k_", "query", "key"); so do we.
// Large layers: the search looks at evenly spaced 512 samples, and at as many rows as make rows x samples 2^18. With a Gram
// matrix instead of samples, or E[x^2] alone, a_j is the root of the mean square, and the losses use what there is (E[x^2]:
// its diagonal). Without any: Q alone.
// Source: Lin et al. 2023 (arXiv 2306.00978), AutoAWQ 0.2.9 (spec uniform 6.6).
#include "core/base/text.h"
#include "core/quant/encode.h"
#include "core/schemes/integer_groups.h"
#include "core/schemes/scheme.h"

#include <Eigen/Dense>

#include <algorithm>
#include <cmath>

namespace nibble {
namespace {

using Index = Eigen::Index;
using Matrix = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
using GramView = Eigen::Map<const Matrix>;
using SampleView = Eigen::Map<const Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>>;

constexpr Index mostSamples = 512, rowsTimesDepth = Index{1} << 18, leastRows = 32;
constexpr Index rowsAtOnce = 16;
constexpr int clipSteps = 20, clipTries = 10;

struct Settings {
  std::int64_t bits = 4, group = 128, grid = 20;
  bool clip = true, scale = true;
  std::string params = "f16";
};

const SettingTable<Settings>& table() {
  using Values = std::vector<SettingValue>;
  using Int = std::int64_t;
  static const auto settings =
      SettingTable<Settings>{}
          .integer("bits", &Settings::bits, "Bits",
                   {.low = 2, .high = 8, .offers = Values{Int{3}, Int{4}, Int{8}}, .unit = "bits", .help = "Bits per code; AWQ files hold 4."})
          .integer("group", &Settings::group, "Group",
                   {.low = 0,
                    .high = 1 << 20,
                    .offers = Values{Int{32}, Int{64}, Int{128}},
                    .unit = "weights",
                    .help = "Weights along a row that share a scale (0: the whole row); it divides the row."})
          .integer("grid", &Settings::grid, "Grid", {.low = 1, .high = 100, .offers = Values{Int{20}}, .help = "Exponents tried for the channel scales."})
          .boolean("clip", &Settings::clip, "Clip", {.help = "Cut the range of each group where that lowers the output's error."})
          .boolean("scale", &Settings::scale, "Scale channels",
                   {.help = "Search channel scales; without, the result fits AWQ files as it is."})
          .text("params", &Settings::params, "Parameters",
                {.choices = Values{std::string("f16"), std::string("f32"), std::string("bf16")}, .help = "Stored type of scales."});
  return settings;
}

float storedAs(Stored stored, double value) {
  const auto single = static_cast<float>(value);
  return stored == Stored::F32 ? single : kernels::roundTo(stored == Stored::F16 ? FloatType::F16 : FloatType::BF16, single);
}

struct Parameters {
  double scale = 1, zero = 0;
};

// One group of `count` weights, each within +-limit.
Result<Parameters> fit(const double* weights, Index count, double limit, const IntegerGroups& groups, std::uint64_t number) {
  double low = limit, high = -limit;
  for (Index k = 0; k < count; ++k) {
    const double w = std::clamp(weights[k], -limit, limit);
    low = std::min(low, w);
    high = std::max(high, w);
  }
  const double steps = groups.maxCode();
  auto scale = static_cast<float>(std::max(high - low, 1e-5) / steps);
  NIBBLE_TRY(roundScales(std::span(&scale, 1), groups.stored, number));
  const double step = scale;
  return Parameters{step, std::clamp(-std::nearbyint(low / step), 0.0, steps)};
}
double codeOf(double weight, const Parameters& p, int maxCode) {
  return std::clamp(std::nearbyint(weight / p.scale) + p.zero, 0.0, static_cast<double>(maxCode));
}

double largestOf(const double* weights, Index count) {
  double largest = 0;
  for (Index k = 0; k < count; ++k) largest = std::max(largest, std::fabs(weights[k]));
  return largest;
}

// What is known of the inputs, in the form the losses need.
class Inputs {
 public:
  explicit Inputs(const LayerInputs& inputs) : m_inputs(inputs), m_columns(static_cast<Index>(inputs.channels)) {
    if (!inputs.samples.empty()) takeSamples();
  }
  [[nodiscard]] bool hasSamples() const { return !m_inputs.samples.empty(); }
  [[nodiscard]] bool hasGram() const { return !hasSamples() && !m_inputs.gram.empty(); }
  [[nodiscard]] Index depth() const { return hasSamples() ? m_samples.rows() : hasGram() ? m_columns : 1; }

  // a_j; up to a common factor where only squares are known.
  [[nodiscard]] std::vector<double> magnitudes() const {
    std::vector<double> means(static_cast<std::size_t>(m_columns));
    if (hasSamples()) {
      const SampleView x(m_inputs.samples.data(), static_cast<Index>(m_inputs.tokens), m_columns);
      for (Index t = 0; t < x.rows(); ++t)
        for (Index j = 0; j < m_columns; ++j) means[static_cast<std::size_t>(j)] += std::fabs(static_cast<double>(x(t, j)));
      for (double& mean : means) mean /= static_cast<double>(x.rows());
      return means;
    }
    for (Index j = 0; j < m_columns; ++j) means[static_cast<std::size_t>(j)] = std::sqrt(square(j));
    return means;
  }
  // Mean square (up to a common factor) of rows of errors times the inputs.
  [[nodiscard]] double loss(const Matrix& errors) const {
    if (hasSamples()) return (errors * m_samples.transpose()).squaredNorm() / static_cast<double>(m_samples.rows());
    if (hasGram()) return (errors * gram()).cwiseProduct(errors).sum();
    double sum = 0;
    for (Index j = 0; j < m_columns; ++j) sum += square(j) * errors.col(j).squaredNorm();
    return sum;
  }
  // X^T X of the channels of a group, of what samples there are.
  [[nodiscard]] Matrix groupGram(Index begin, Index count) const {
    if (hasSamples()) return m_samples.middleCols(begin, count).transpose() * m_samples.middleCols(begin, count);
    if (hasGram()) return gram().block(begin, begin, count, count);
    Matrix squares = Matrix::Zero(count, count);
    for (Index k = 0; k < count; ++k) squares(k, k) = square(begin + k);
    return squares;
  }

 private:
  void takeSamples() {
    const auto tokens = static_cast<Index>(m_inputs.tokens), taken = std::min(tokens, mostSamples);
    const SampleView x(m_inputs.samples.data(), tokens, m_columns);
    m_samples.resize(taken, m_columns);
    for (Index t = 0; t < taken; ++t) m_samples.row(t) = x.row(t * tokens / taken).cast<double>();
  }
  [[nodiscard]] GramView gram() const { return {m_inputs.gram.data(), m_columns, m_columns}; }
  [[nodiscard]] double square(Index j) const {
    return m_inputs.gram.empty() ? static_cast<double>(m_inputs.meanSquares[static_cast<std::size_t>(j)]) : gram()(j, j);
  }
  const LayerInputs& m_inputs;
  Index m_columns;
  Matrix m_samples;
};

class Job {
 public:
  Job(const Tensor& tensor, const Settings& settings, const Context& context)
      : m_tensor(tensor),
        m_settings(settings),
        m_context(context),
        m_result(tensor.rows(), tensor.columns(), static_cast<std::uint64_t>(settings.group), static_cast<int>(settings.bits),
                 storedFromName(settings.params)),
        m_rows(static_cast<Index>(tensor.rows())),
        m_columns(static_cast<Index>(tensor.columns())),
        m_group(static_cast<Index>(m_result.group)),
        m_channelScale(tensor.columns(), 1.0f) {}
  Result<QuantizedTensor> run();

 private:
  Result<Matrix> readRow(Index row) const {
    std::vector<float> weights(static_cast<std::size_t>(m_columns));
    NIBBLE_TRY(m_tensor.read(static_cast<std::uint64_t>(row * m_columns), weights));
    return Matrix(Eigen::Map<const Eigen::RowVectorXf>(weights.data(), m_columns).cast<double>());
  }
  Result<std::vector<double>> relativeWeights() const;
  [[nodiscard]] std::vector<float> scalesFor(double ratio, const std::vector<double>& inputs, const std::vector<double>& weights) const;
  Result<double> lossWith(const std::vector<float>& scales, const Inputs& inputs) const;
  Status searchScales(const Inputs& inputs);
  Status limitGroups(const Inputs& inputs);
  Status encode();
  [[nodiscard]] bool isClipped() const;

  const Tensor& m_tensor;
  const Settings& m_settings;
  const Context& m_context;
  IntegerGroups m_result;
  Index m_rows, m_columns, m_group;
  std::vector<float> m_channelScale;
  std::vector<double> m_limits;  // [rows, groups]; empty: none
  std::vector<std::string> m_notes;
};

// b_j, row by row in order: one sum whatever the number of threads.
Result<std::vector<double>> Job::relativeWeights() const {
  std::vector<double> means(static_cast<std::size_t>(m_columns));
  for (Index r = 0; r < m_rows; ++r) {
    if (m_context.stopRequested()) return cancelled();
    const auto row = readRow(r);
    if (!row) return fail(row.error());
    for (Index begin = 0; begin < m_columns; begin += m_group) {
      const double largest = largestOf(row->data() + begin, m_group) + 1e-6;
      for (Index j = begin; j < begin + m_group; ++j) means[static_cast<std::size_t>(j)] += std::fabs((*row)(0, j)) / largest;
    }
  }
  for (double& mean : means) mean /= static_cast<double>(m_rows);
  return means;
}

std::vector<float> Job::scalesFor(double ratio, const std::vector<double>& inputs, const std::vector<double>& weights) const {
  std::vector<double> scales(inputs.size());
  for (std::size_t j = 0; j < scales.size(); ++j)
    scales[j] = std::max(std::pow(inputs[j], ratio) / (std::pow(weights[j], 1 - ratio) + 1e-4), 1e-4);
  const auto [low, high] = std::minmax_element(scales.begin(), scales.end());
  const double middle = std::sqrt(*low * *high);
  std::vector<float> stored(scales.size());
  for (std::size_t j = 0; j < scales.size(); ++j) {
    stored[j] = storedAs(m_result.stored, scales[j] / middle);
    if (!std::isfinite(stored[j]) || stored[j] <= 0) stored[j] = 1;
  }
  return stored;
}

// Loss over the rows looked at, in pieces that add up in order.
Result<double> Job::lossWith(const std::vector<float>& scales, const Inputs& inputs) const {
  const Index looked = std::min(m_rows, std::max(leastRows, rowsTimesDepth / inputs.depth()));
  const Index pieces = (looked + rowsAtOnce - 1) / rowsAtOnce;
  std::vector<double> losses(static_cast<std::size_t>(pieces));
  Context quiet = m_context;
  quiet.progress = nullptr;
  NIBBLE_TRY(forEachPiece(static_cast<std::uint64_t>(pieces), 1, 0, quiet, [&](std::uint64_t piece, std::uint64_t) -> Status {
    const Index first = static_cast<Index>(piece) * rowsAtOnce, count = std::min(rowsAtOnce, looked - first);
    Matrix errors(count, m_columns);
    for (Index i = 0; i < count; ++i) {
      auto row = readRow((first + i) * m_rows / looked);
      if (!row) return fail(row.error());
      for (Index j = 0; j < m_columns; ++j) (*row)(0, j) *= static_cast<double>(scales[static_cast<std::size_t>(j)]);
      for (Index begin = 0; begin < m_columns; begin += m_group) {
        const auto p = fit(row->data() + begin, m_group, HUGE_VAL, m_result, 0);
        if (!p) return fail(p.error());
        for (Index j = begin; j < begin + m_group; ++j) {
          const double w = (*row)(0, j);
          errors(i, j) = (w - p->scale * (codeOf(w, *p, m_result.maxCode()) - p->zero)) / static_cast<double>(scales[static_cast<std::size_t>(j)]);
        }
      }
    }
    losses[piece] = inputs.loss(errors);
    return {};
  }));
  double sum = 0;
  for (const double loss : losses) sum += loss;
  return sum;
}

Status Job::searchScales(const Inputs& inputs) {
  const std::vector<double> magnitudes = inputs.magnitudes();
  const auto weights = relativeWeights();
  if (!weights) return fail(weights.error());
  double least = HUGE_VAL;
  for (std::int64_t step = 0; step < m_settings.grid; ++step) {
    const double ratio = static_cast<double>(step) / static_cast<double>(m_settings.grid);
    std::vector<float> scales = scalesFor(ratio, magnitudes, *weights);
    const auto loss = lossWith(scales, inputs);
    if (!loss) return fail(loss.error());
    if (*loss >= least) continue;
    least = *loss;
    m_channelScale = std::move(scales);
  }
  return {};
}

bool Job::isClipped() const {
  for (const std::string_view part : {"q_", "k_", "query", "key"})
    if (m_tensor.name().find(part) != std::string::npos) return false;
  return true;
}

// The limit of each group that loses least of its part of the output.
Status Job::limitGroups(const Inputs& inputs) {
  m_limits.assign(m_result.scale.size(), HUGE_VAL);
  const auto groups = static_cast<Index>(m_result.groups());
  std::vector<Matrix> grams(static_cast<std::size_t>(groups));
  NIBBLE_TRY(forEachPiece(static_cast<std::uint64_t>(groups), 1, 0, m_context, [&](std::uint64_t g, std::uint64_t) -> Status {
    const Index begin = static_cast<Index>(g) * m_group;
    Eigen::VectorXd inverse(m_group);
    for (Index k = 0; k < m_group; ++k) inverse(k) = 1 / static_cast<double>(m_channelScale[static_cast<std::size_t>(begin + k)]);
    grams[g] = inverse.asDiagonal() * inputs.groupGram(begin, m_group) * inverse.asDiagonal();
    return {};
  }));
  return forEachPiece(m_tensor.rows(), 1, 0, m_context, [&](std::uint64_t r, std::uint64_t) -> Status {
    const auto row = readRow(static_cast<Index>(r));
    if (!row) return fail(row.error());
    Matrix scaled = *row, errors(clipTries, m_group);
    for (Index j = 0; j < m_columns; ++j) scaled(0, j) *= static_cast<double>(m_channelScale[static_cast<std::size_t>(j)]);
    for (Index g = 0; g < groups; ++g) {
      const double* weights = scaled.data() + g * m_group;
      const double largest = largestOf(weights, m_group);
      for (int i = 0; i < clipTries; ++i) {
        const double limit = largest * (1 - static_cast<double>(i) / clipSteps);
        const auto p = fit(weights, m_group, limit, m_result, r * m_result.groups() + static_cast<std::uint64_t>(g));
        if (!p) return fail(p.error());
        for (Index k = 0; k < m_group; ++k)
          errors(i, k) = weights[k] - p->scale * (codeOf(std::clamp(weights[k], -limit, limit), *p, m_result.maxCode()) - p->zero);
      }
      const Eigen::VectorXd losses = (errors * grams[static_cast<std::size_t>(g)]).cwiseProduct(errors).rowwise().sum();
      Index best = 0;
      for (Index i = 1; i < clipTries; ++i)
        if (losses(i) < losses(best)) best = i;
      if (best != 0)
        m_limits[r * m_result.groups() + static_cast<std::uint64_t>(g)] = largest * (1 - static_cast<double>(best) / clipSteps);
    }
    return {};
  });
}

Status Job::encode() {
  return forEachPiece(m_tensor.rows(), rowsAtOnce, m_result.columns, m_context, [&](std::uint64_t first, std::uint64_t end) -> Status {
    for (std::uint64_t r = first; r < end; ++r) {
      auto row = readRow(static_cast<Index>(r));
      if (!row) return fail(row.error());
      for (Index j = 0; j < m_columns; ++j) (*row)(0, j) *= static_cast<double>(m_channelScale[static_cast<std::size_t>(j)]);
      for (std::uint64_t g = 0; g < m_result.groups(); ++g) {
        const std::uint64_t number = r * m_result.groups() + g;
        const double limit = m_limits.empty() ? HUGE_VAL : m_limits[number];
        const double* weights = row->data() + static_cast<Index>(g) * m_group;
        const auto p = fit(weights, m_group, limit, m_result, number);
        if (!p) return fail(p.error());
        m_result.scale[number] = static_cast<float>(p->scale);
        m_result.zero[number] = static_cast<float>(p->zero);
        std::uint8_t* codes = m_result.codes.data() + r * m_result.columns + g * m_result.group;
        for (Index k = 0; k < m_group; ++k)
          codes[k] = static_cast<std::uint8_t>(codeOf(std::clamp(weights[k], -limit, limit), *p, m_result.maxCode()));
      }
    }
    return {};
  });
}

Result<QuantizedTensor> Job::run() {
  const LayerInputs* known = m_context.activations == nullptr ? nullptr : m_context.activations->find(m_tensor.name(), m_tensor.columns());
  if (known == nullptr || known->empty()) {
    m_notes.push_back("no activations: rounded plainly, no channel scaled or clipped");
  } else {
    const Inputs inputs(*known);
    if (!inputs.hasSamples()) m_notes.push_back("no samples of the inputs: root mean squares stand for their mean magnitudes");
    if (m_settings.scale) NIBBLE_TRY(searchScales(inputs));
    if (m_settings.clip && isClipped()) NIBBLE_TRY(limitGroups(inputs));
    if (m_settings.clip && !isClipped()) m_notes.push_back("query and key projections are not clipped, as in the reference");
  }
  NIBBLE_TRY(encode());
  NIBBLE_TRY(m_tensor.intact());
  const Stored stored = m_result.stored;
  QuantizedTensor quantized = describe(std::move(m_result), m_tensor.shape());
  if (std::any_of(m_channelScale.begin(), m_channelScale.end(), [](float scale) { return scale != 1; })) {
    quantized.channelScale = std::move(m_channelScale);
    quantized.channelScaleStored = stored;
  }
  quantized.notes = std::move(m_notes);
  return quantized;
}

class AwqScheme final : public Scheme {
 public:
  const SchemeInfo& info() const override {
    static const SchemeInfo about{"awq",
                                  "AWQ",
                                  "channel scales and ranges searched for the least error of the output",
                                  "Lin et al. 2023 (arXiv 2306.00978), AutoAWQ 0.2.9",
                                  Family::Gptq,
                                  Needs::Samples};
    return about;
  }
  const std::vector<SettingInfo>& settings() const override { return table().infos(); }
  std::vector<Promise> promises(const SettingValues&) const override { return {Promise::Deterministic}; }
  std::optional<std::string> refusal(const SettingValues& values, MatrixSize size) const override {
    const auto group = static_cast<std::uint64_t>(table().read(values).group);
    if (group == 0 || size.columns % group == 0) return std::nullopt;
    return "group " + text::number(group) + " does not divide the " + text::number(size.columns) + " columns";
  }
  Result<QuantizedTensor> quantize(const Tensor& tensor, const SettingValues& values, const Context& context) const override {
    const Settings settings = table().read(values);
    return Job(tensor, settings, context).run();
  }
};

}  // namespace

const Scheme& awqScheme() {
  static const AwqScheme scheme;
  return scheme;
}

}  // namespace nibble
