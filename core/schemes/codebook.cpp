// SPDX-License-Identifier: GPL-3.0-or-later
// Lloyd-Max levels: a table of 2^bits values for the tensor, each row or each group, placed where the squared error is least.
//
//   repeat: cells end halfway between neighbouring levels; level = mean of its cell      (Lloyd 1957, Max 1960)
//   code = nearest level (a tie goes to the lower one); w ~ level[code]
//
// Start: cells that hold equal shares of density^(1/3) (Panter and Dite), which is the optimum for many levels; then at most
// 60 rounds, until the squared error falls by less than 1e-7 of itself. A group with no more distinct values than levels keeps
// them all. Sums are in double over the sorted weights. Tables of more than a million weights are learned from 2^20 cells of
// the float's upper bits, each at its mean (16-bit input: exact); codes are nearest all the same.
// Levels are rounded to their stored type before codes are chosen.
// Storage: codes in a dense bit stream, then the tables, 2^bits numbers each.
#include "core/quant/encode.h"
#include "core/quant/layout.h"
#include "core/quant/thresholds.h"
#include "core/schemes/scheme.h"
#include "kernels/backend.h"

#include <algorithm>
#include <atomic>
#include <bit>
#include <cmath>
#include <mutex>

namespace nibble {
namespace {

struct Settings {
  std::int64_t bits = 4;
  std::string granularity = "channel";
  std::int64_t group = 128;
  std::string params = "f16";
};

const SettingTable<Settings>& table() {
  static const auto settings =
      SettingTable<Settings>{}
          .integer("bits", &Settings::bits, "Bits",
                   {.low = 1, .high = 8, .offers = {std::int64_t{2}, std::int64_t{3}, std::int64_t{4}, std::int64_t{6}, std::int64_t{8}},
                    .unit = "bits", .help = "Bits per code; a table has 2^bits levels."})
          .text("granularity", &Settings::granularity, "Tables",
                {.choices = {std::string("channel"), std::string("tensor"), std::string("group")},
                 .help = "What shares one table of levels: a row (output channel), the tensor, or a group along the row."})
          .integer("group", &Settings::group, "Group",
                   {.low = 1, .high = 1 << 20, .offers = {std::int64_t{64}, std::int64_t{128}, std::int64_t{256}}, .unit = "weights",
                    .help = "Weights along a row that share a table.", .onlyKey = "granularity", .onlyValues = {std::string("group")}})
          .text("params", &Settings::params, "Parameters",
                {.choices = {std::string("f16"), std::string("f32"), std::string("bf16")}, .help = "Stored type of the levels."});
  return settings;
}

// Ascending points with prefix sums: the weights of a group, or cells of many weights.
struct Points {
  std::vector<double> value;
  std::vector<double> count{0}, sum{0}, squares{0};  // of the points before i

  void add(double mean, double number, double squareSum) {
    value.push_back(mean);
    count.push_back(count.back() + number);
    sum.push_back(sum.back() + mean * number);
    squares.push_back(squares.back() + squareSum);
  }
};

constexpr std::size_t mostSorted = std::size_t{1} << 20;
constexpr int keyBits = 20;

// Order-preserving: larger floats have larger keys.
std::uint32_t orderKey(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  return (bits & 0x80000000u) != 0 ? ~bits : bits | 0x80000000u;
}

Points sortedPoints(std::vector<float> weights) {
  std::sort(weights.begin(), weights.end());
  Points points;
  for (std::size_t i = 0; i < weights.size();) {
    std::size_t end = i;
    while (end < weights.size() && weights[end] == weights[i]) ++end;
    const auto number = static_cast<double>(end - i);
    points.add(weights[i], number, number * weights[i] * weights[i]);
    i = end;
  }
  return points;
}

Result<Points> cellPoints(std::span<const float> weights, const Context& context) {
  std::vector<std::uint64_t> number(std::size_t{1} << keyBits);
  std::vector<double> sum(number.size()), squares(number.size());
  for (std::size_t i = 0; i < weights.size(); ++i) {
    if (i % mostSorted == 0 && context.stopRequested()) return cancelled();
    const std::uint32_t cell = orderKey(weights[i]) >> (32 - keyBits);
    ++number[cell];
    sum[cell] += weights[i];
    squares[cell] += static_cast<double>(weights[i]) * weights[i];
  }
  Points points;
  for (std::size_t cell = 0; cell < number.size(); ++cell)
    if (number[cell] != 0) points.add(sum[cell] / static_cast<double>(number[cell]), static_cast<double>(number[cell]), squares[cell]);
  return points;
}

// Levels at equal shares of density^(1/3): over slots of equal population the share of a slot is its width^(2/3).
std::vector<double> startLevels(const Points& points, std::size_t levels) {
  const std::size_t slots = std::min<std::size_t>(points.value.size() - 1, 1024);
  std::vector<double> edge{points.value.front()}, share{0};
  for (std::size_t slot = 1; slot <= slots; ++slot) {
    const double target = points.count.back() * static_cast<double>(slot) / static_cast<double>(slots);
    auto index = static_cast<std::size_t>(std::lower_bound(points.count.begin(), points.count.end(), target) - points.count.begin());
    index = std::clamp<std::size_t>(index, 1, points.value.size()) - 1;
    edge.push_back(std::max(edge.back(), points.value[index]));
    share.push_back(share.back() + std::pow(edge[slot] - edge[slot - 1], 2.0 / 3.0));
  }
  std::vector<double> start;
  std::size_t slot = 1;
  for (std::size_t level = 0; level < levels; ++level) {
    const double target = share.back() * (static_cast<double>(level) + 0.5) / static_cast<double>(levels);
    while (slot + 1 < share.size() && share[slot] < target) ++slot;
    const double width = share[slot] - share[slot - 1];
    const double part = width == 0 ? 0.5 : (target - share[slot - 1]) / width;
    start.push_back(edge[slot - 1] + part * (edge[slot] - edge[slot - 1]));
  }
  return start;
}

// One round: every level moves to the mean of its cell (an empty cell's level stays). Returns the squared error before it.
double moveLevels(const Points& points, std::vector<double>& levels) {
  double error = 0;
  std::size_t begin = 0;
  for (std::size_t level = 0; level < levels.size(); ++level) {
    std::size_t end = points.value.size();
    if (level + 1 < levels.size()) {
      const double border = (levels[level] + levels[level + 1]) / 2;
      end = static_cast<std::size_t>(std::upper_bound(points.value.begin() + static_cast<std::ptrdiff_t>(begin), points.value.end(), border) -
                                     points.value.begin());
    }
    const double count = points.count[end] - points.count[begin], sum = points.sum[end] - points.sum[begin];
    error += points.squares[end] - points.squares[begin] - 2 * levels[level] * sum + levels[level] * levels[level] * count;
    if (count > 0) levels[level] = sum / count;
    begin = end;
  }
  return error;
}

std::vector<double> learnLevels(const Points& points, std::size_t count) {
  if (points.value.size() <= count) {
    std::vector<double> all = points.value;
    all.resize(count, points.value.back());
    return all;
  }
  constexpr int mostRounds = 60;
  constexpr double smallestGain = 1e-7;
  std::vector<double> levels = startLevels(points, count);
  double best = HUGE_VAL;
  for (int round = 0; round < mostRounds; ++round) {
    const double error = moveLevels(points, levels);
    if (!(best - error > smallestGain * error)) break;
    best = error;
  }
  return levels;
}

// The first error of many groups, by group number.
struct GroupFailure {
  std::mutex mutex;
  std::uint64_t group = ~std::uint64_t{0};
  std::optional<Error> error;
  void report(std::uint64_t failing, Error what) {
    const std::lock_guard lock(mutex);
    if (failing >= group) return;
    group = failing;
    error = std::move(what);
  }
};

class Learner {
 public:
  Learner(const Context& context, std::span<const float> weights, const Grouping& grouping, int bits, Stored stored)
      : m_context(context), m_weights(weights), m_grouping(grouping), m_levelCount(std::size_t{1} << bits), m_stored(stored) {
    m_table.resize(grouping.groupCount() * m_levelCount);
    m_codes.resize(weights.size());
    for (std::size_t i = 0; i < m_identity.size(); ++i) m_identity[i] = static_cast<std::uint8_t>(i);
  }

  Status learnAll() {
    GroupFailure failure;
    const auto body = [&](std::size_t begin, std::size_t end) {
      for (std::size_t group = begin; group < end; ++group)
        if (Status status = learn(group); !status) return failure.report(group, std::move(status).error());
    };
    m_context.addTotal(m_weights.size());
    m_context.backend->parallelFor(m_grouping.groupCount(), 1, body);
    return failure.error ? Status(fail(*failure.error)) : Status();
  }
  std::vector<float> takeTable() { return std::move(m_table); }
  std::vector<std::uint8_t> takeCodes() { return std::move(m_codes); }

 private:
  // A group is one run of consecutive weights: rows, groups along a row, or all of them.
  Status learn(std::uint64_t group) {
    if (m_context.stopRequested()) return cancelled();
    const std::uint64_t first = firstOf(group), size = m_grouping.runLength(first);
    const std::span<const float> weights = m_weights.subspan(first, size);
    Points points;
    if (size <= mostSorted) {
      points = sortedPoints({weights.begin(), weights.end()});
    } else {
      auto cells = cellPoints(weights, m_context);
      if (!cells) return fail(cells.error());
      points = *std::move(cells);
    }
    const std::span<float> levels = std::span(m_table).subspan(group * m_levelCount, m_levelCount);
    const std::vector<double> learned = learnLevels(points, m_levelCount);
    std::transform(learned.begin(), learned.end(), levels.begin(), [](double level) { return static_cast<float>(level); });
    NIBBLE_TRY(roundOffsets(levels, m_stored, group, "level"));
    return encode(first, size, nearestThresholds(levels));
  }

  Status encode(std::uint64_t first, std::uint64_t size, const std::vector<float>& thresholds) {
    const float one = 1.0f;
    for (std::uint64_t begin = first; begin < first + size; begin += mostSorted) {
      if (m_context.stopRequested()) return cancelled();
      const std::uint64_t count = std::min<std::uint64_t>(mostSorted, first + size - begin);
      m_context.backend->encodeThresholds(kernels::GroupView::contiguous(m_weights.data() + begin, 1, count), &one, thresholds,
                                          m_identity, m_codes.data() + begin);
      m_context.addDone(count);
    }
    return {};
  }

  [[nodiscard]] std::uint64_t firstOf(std::uint64_t group) const {
    const std::uint64_t across = (m_grouping.columns() + m_grouping.tileColumns() - 1) / m_grouping.tileColumns();
    return group / across * m_grouping.tileRows() * m_grouping.columns() + group % across * m_grouping.tileColumns();
  }

  const Context& m_context;
  std::span<const float> m_weights;
  const Grouping& m_grouping;
  std::size_t m_levelCount;
  Stored m_stored;
  std::array<std::uint8_t, 256> m_identity{};
  std::vector<float> m_table;
  std::vector<std::uint8_t> m_codes;
};

class CodebookScheme final : public Scheme {
 public:
  const SchemeInfo& info() const override {
    static const SchemeInfo about{"codebook", "Codebook", "Lloyd-Max levels, learned from the weights", "Lloyd 1957, Max 1960", Family::Codebook};
    return about;
  }
  const std::vector<SettingInfo>& settings() const override { return table().infos(); }
  std::vector<Promise> promises(const SettingValues&) const override { return {Promise::Deterministic, Promise::NearestLevel}; }
  std::optional<std::string> refusal(const SettingValues&, MatrixSize) const override { return std::nullopt; }

  Result<QuantizedTensor> quantize(const Tensor& tensor, const SettingValues& values, const Context& context) const override {
    const Settings settings = table().read(values);
    auto weights = AllWeights::read(tensor, context);
    if (!weights) return fail(weights.error());
    const std::uint64_t tileRows = settings.granularity == "tensor" ? 0 : 1;
    const std::uint64_t tileColumns = settings.granularity == "group" ? static_cast<std::uint64_t>(settings.group) : 0;
    const Grouping grouping = Grouping::blocks(tensor.rows(), tensor.columns(), tileRows, tileColumns);
    Learner learner(context, weights->values(), grouping, static_cast<int>(settings.bits), storedFromName(settings.params));
    NIBBLE_TRY(learner.learnAll());
    NIBBLE_TRY(tensor.intact());
    QuantizedTensor result;
    result.rows = tensor.rows();
    result.columns = tensor.columns();
    result.shape = tensor.shape();
    result.codes = Codes(learner.takeCodes());
    result.width.uniform = static_cast<std::uint8_t>(settings.bits);
    result.levels.kind = Levels::Kind::Table;
    result.levels.table = learner.takeTable();
    result.levels.levelCount = 1u << settings.bits;
    result.levels.stored = storedFromName(settings.params);
    if (grouping.groupCount() > 1) result.levels.grouping = grouping;
    result.layout = denseLayout(tensor.size(), static_cast<int>(settings.bits));
    return result;
  }
};

}  // namespace

const Scheme& codebookScheme() {
  static const CodebookScheme scheme;
  return scheme;
}

}  // namespace nibble
