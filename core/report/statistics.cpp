// SPDX-License-Identifier: GPL-3.0-or-later
#include "core/report/statistics.h"

#include "core/quant/encode.h"
#include "kernels/backend.h"
#include "kernels/math/statistics.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <mutex>
#include <new>
#include <span>

namespace nibble {
namespace {

constexpr std::uint64_t stripWeights = std::uint64_t{1} << 16;
constexpr std::uint64_t mostChunks = 64;  // fixed, so that sums do not depend on the number of threads
constexpr int fineBits = 16;
constexpr std::size_t bins = std::size_t{1} << 16;

// An integer that is ordered as the floats are: negative numbers turned over, positive ones moved above them.
std::uint32_t orderedBits(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  return (bits & 0x80000000u) != 0 ? ~bits : bits | 0x80000000u;
}
float fromOrderedBits(std::uint32_t key) {
  return std::bit_cast<float>((key & 0x80000000u) != 0 ? key & 0x7FFFFFFFu : ~key);
}

bool isDenormal(float value) {
  return value != 0 && std::fabs(value) < 0x1p-126f;
}

// Quantile `fraction` of n sorted values lies between the order statistics floor(p) and floor(p) + 1, p = fraction * (n - 1).
struct Position {
  std::uint64_t below = 0, above = 0;
  double part = 0;
  Position(double fraction, std::uint64_t count) {
    const double position = fraction * static_cast<double>(count - 1);
    below = static_cast<std::uint64_t>(position);
    above = std::min(below + 1, count - 1);
    part = position - static_cast<double>(below);
  }
  [[nodiscard]] double between(float low, float high) const {
    return static_cast<double>(low) + part * (static_cast<double>(high) - static_cast<double>(low)) + 0.0;  // -0 becomes 0
  }
};

struct Sums {
  float min = HUGE_VALF, max = -HUGE_VALF;
  double sum = 0;
  std::uint64_t zeros = 0, denormals = 0, nonFinite = 0, firstNonFinite = 0;
};

struct Moments {
  double second = 0, fourth = 0;  // sums of powers of deviations
};

// The elements [begin, end) of a tensor, looked at twice: counts by the upper half of the ordered bits, then by the lower half
// in the bins that hold an order statistic asked for.
class Scan {
 public:
  Scan(const Tensor& tensor, std::uint64_t begin, std::uint64_t end, const Context& context)
      : m_tensor(tensor), m_begin(begin), m_end(end), m_context(context) {
    m_strips = (end - begin + stripWeights - 1) / stripWeights;
    m_chunks = std::min(m_strips, mostChunks);
  }
  Status run(std::span<const double> fractions);
  [[nodiscard]] const TensorStatistics& statistics() const { return m_statistics; }
  [[nodiscard]] double quantile(std::size_t i) const { return m_quantiles[i]; }

 private:
  // Calls visit(chunk, begin, values) for the strips of each chunk in order, chunks in parallel, then finish(chunk).
  template <class State, class Visit, class Finish>
  Status eachStrip(const Visit& visit, const Finish& finish) const;
  Status firstPass();
  Status secondPass(std::span<const double> fractions);
  [[nodiscard]] std::uint32_t binOf(std::uint64_t rank, std::uint64_t& rest) const;

  const Tensor& m_tensor;
  std::uint64_t m_begin, m_end, m_strips = 0, m_chunks = 0;
  const Context& m_context;
  std::vector<std::uint64_t> m_coarse = std::vector<std::uint64_t>(bins);
  TensorStatistics m_statistics;
  std::vector<double> m_quantiles;
};

template <class State, class Visit, class Finish>
Status Scan::eachStrip(const Visit& visit, const Finish& finish) const {
  m_context.addTotal(m_end - m_begin);
  const auto floats = m_tensor.floats();
  NIBBLE_TRY(forEachPiece(m_chunks, 1, 0, m_context, [&](std::uint64_t firstChunk, std::uint64_t endChunk) -> Status {
    std::vector<float> buffer(floats ? 0 : stripWeights);
    for (std::uint64_t chunk = firstChunk; chunk < endChunk; ++chunk) {
      State state;
      for (std::uint64_t strip = chunk * m_strips / m_chunks; strip < (chunk + 1) * m_strips / m_chunks; ++strip) {
        if (m_context.stopRequested()) return cancelled();
        const std::uint64_t begin = m_begin + strip * stripWeights, count = std::min(stripWeights, m_end - begin);
        if (!floats) NIBBLE_TRY(m_tensor.read(begin, std::span(buffer).first(count)));
        visit(state, begin, floats ? floats->subspan(begin, count) : std::span<const float>(buffer).first(count));
        m_context.addDone(count);
      }
      finish(chunk, state);
    }
    return {};
  }));
  return m_tensor.intact();
}

struct FirstState {
  Sums sums;
  std::vector<std::uint32_t> coarse = std::vector<std::uint32_t>(bins);
  void add(std::uint64_t begin, std::span<const float> values);
};

void FirstState::add(std::uint64_t begin, std::span<const float> values) {
  for (std::size_t i = 0; i < values.size(); ++i) {
    const float value = values[i];
    if (!kernels::isFinite(value)) {
      if (sums.nonFinite++ == 0) sums.firstNonFinite = begin + i;
      continue;
    }
    sums.min = std::min(sums.min, value);
    sums.max = std::max(sums.max, value);
    sums.sum += value;
    sums.zeros += value == 0 ? 1 : 0;
    sums.denormals += isDenormal(value) ? 1 : 0;
    ++coarse[orderedBits(value) >> fineBits];
  }
}

Status Scan::firstPass() {
  std::vector<Sums> parts(m_chunks);
  std::mutex merging;
  NIBBLE_TRY(eachStrip<FirstState>([](FirstState& state, std::uint64_t begin, auto values) { state.add(begin, values); },
                                   [&](std::uint64_t chunk, const FirstState& state) {
                                     parts[chunk] = state.sums;
                                     const std::lock_guard lock(merging);
                                     for (std::size_t i = 0; i < bins; ++i) m_coarse[i] += state.coarse[i];
                                   }));
  Sums all;
  for (const Sums& part : parts) {
    if (all.nonFinite == 0) all.firstNonFinite = part.firstNonFinite;
    all.nonFinite += part.nonFinite;
    all.min = std::min(all.min, part.min);
    all.max = std::max(all.max, part.max);
    all.sum += part.sum;
    all.zeros += part.zeros;
    all.denormals += part.denormals;
  }
  TensorStatistics& result = m_statistics;
  result.nonFinite = all.nonFinite;
  result.firstNonFinite = all.firstNonFinite;
  result.count = m_end - m_begin - all.nonFinite;
  result.zeros = all.zeros;
  result.denormals = all.denormals;
  if (result.count == 0) return {};
  result.min = all.min + 0.0f;
  result.max = all.max + 0.0f;
  result.absMax = std::max(std::fabs(result.min), std::fabs(result.max));
  // The mean of equal numbers is that number, whatever the sum rounded to.
  result.mean = result.min == result.max ? result.min : all.sum / static_cast<double>(result.count);
  return {};
}

std::uint32_t Scan::binOf(std::uint64_t rank, std::uint64_t& rest) const {
  std::uint32_t bin = 0;
  while (rank >= m_coarse[bin]) rank -= m_coarse[bin++];
  rest = rank;
  return bin;
}

// The order statistics wanted, and fine counts of the coarse bins that hold them.
struct Wanted {
  std::vector<std::int8_t> slotOfBin = std::vector<std::int8_t>(bins, -1);
  std::vector<std::vector<std::uint64_t>> fine;  // one per slot
  void include(std::uint32_t bin) {
    if (slotOfBin[bin] >= 0) return;
    slotOfBin[bin] = static_cast<std::int8_t>(fine.size());
    fine.emplace_back(bins);
  }
  [[nodiscard]] float at(std::uint32_t bin, std::uint64_t rank) const {
    const auto& counts = fine[static_cast<std::size_t>(slotOfBin[bin])];
    std::uint32_t low = 0;
    while (rank >= counts[low]) rank -= counts[low++];
    return fromOrderedBits(bin << fineBits | low);
  }
};

Status Scan::secondPass(std::span<const double> fractions) {
  const std::uint64_t count = m_statistics.count;
  const double mean = m_statistics.mean;
  Wanted wanted;
  std::uint64_t rest = 0;
  for (const double fraction : fractions)
    for (const std::uint64_t rank : {Position(fraction, count).below, Position(fraction, count).above})
      wanted.include(binOf(rank, rest));
  struct State {
    Moments moments;
    std::vector<std::uint32_t> fine;
  };
  std::vector<Moments> parts(m_chunks);
  std::mutex merging;
  const auto visit = [&](State& state, std::uint64_t, std::span<const float> values) {
    state.fine.resize(wanted.fine.size() * bins);
    for (const float value : values) {
      if (!kernels::isFinite(value)) continue;
      const double square = (value - mean) * (value - mean);
      state.moments.second += square;
      state.moments.fourth += square * square;
      const std::uint32_t key = orderedBits(value);
      if (const int slot = wanted.slotOfBin[key >> fineBits]; slot >= 0)
        ++state.fine[static_cast<std::size_t>(slot) * bins + (key & (bins - 1))];
    }
  };
  NIBBLE_TRY(eachStrip<State>(visit, [&](std::uint64_t chunk, const State& state) {
    parts[chunk] = state.moments;
    const std::lock_guard lock(merging);
    for (std::size_t i = 0; i < state.fine.size(); ++i) wanted.fine[i / bins][i % bins] += state.fine[i];
  }));
  Moments all;
  for (const Moments& part : parts) {
    all.second += part.second;
    all.fourth += part.fourth;
  }
  const double n = static_cast<double>(count), variance = all.second / n;
  m_statistics.std = std::sqrt(variance);
  m_statistics.kurtosis = variance > 0 ? all.fourth / n / (variance * variance) : 0;
  const auto orderStatistic = [&](std::uint64_t rank) {
    const std::uint32_t bin = binOf(rank, rest);
    return wanted.at(bin, rest);
  };
  for (const double fraction : fractions) {
    const Position position(fraction, count);
    m_quantiles.push_back(position.between(orderStatistic(position.below), orderStatistic(position.above)));
  }
  return {};
}

Status Scan::run(std::span<const double> fractions) {
  NIBBLE_TRY(firstPass());
  if (m_statistics.count != 0) return secondPass(fractions);
  m_quantiles.assign(fractions.size(), 0);
  return {};
}

constexpr std::array<double, 3> rowFractions = {0.01, 0.5, 0.99};
constexpr std::uint64_t longRow = std::uint64_t{1} << 22;  // sorting by parts beyond this would not stop quickly enough

RowSpread spreadOf(std::vector<float>& row) {
  row.erase(std::remove_if(row.begin(), row.end(), [](float value) { return !kernels::isFinite(value); }), row.end());
  if (row.empty()) return {};
  const auto quantile = [&](double fraction) {
    const Position position(fraction, row.size());
    const auto at = row.begin() + static_cast<std::ptrdiff_t>(position.below);
    std::nth_element(row.begin(), at, row.end());
    const float above = position.above == position.below ? *at : *std::min_element(at + 1, row.end());
    return static_cast<float>(position.between(*at, above));
  };
  const auto [low, high] = std::minmax_element(row.begin(), row.end());
  RowSpread spread{*low + 0.0f, 0, 0, 0, *high + 0.0f};
  spread.p01 = quantile(rowFractions[0]);
  spread.median = quantile(rowFractions[1]);
  spread.p99 = quantile(rowFractions[2]);
  return spread;
}

Result<std::vector<RowSpread>> longRowSpreads(const Tensor& tensor, const Context& context) {
  std::vector<RowSpread> spreads;
  for (std::uint64_t row = 0; row < tensor.rows(); ++row) {
    Scan scan(tensor, row * tensor.columns(), (row + 1) * tensor.columns(), context);
    NIBBLE_TRY(scan.run(rowFractions));
    const TensorStatistics& statistics = scan.statistics();
    spreads.push_back({statistics.min, static_cast<float>(scan.quantile(0)), static_cast<float>(scan.quantile(1)),
                       static_cast<float>(scan.quantile(2)), statistics.max});
  }
  return spreads;
}

tl::unexpected<Error> noMemory(const Tensor& tensor) {
  return fail(tensor.name() + ": not enough memory for statistics");
}

}  // namespace

Result<TensorStatistics> tensorStatistics(const Tensor& tensor, const Context& context) try {
  constexpr std::array<double, 2> fractions = {0.01, 0.99};
  Scan scan(tensor, 0, tensor.size(), context);
  NIBBLE_TRY(scan.run(fractions));
  TensorStatistics statistics = scan.statistics();
  statistics.p01 = scan.quantile(0);
  statistics.p99 = scan.quantile(1);
  return statistics;
} catch (const std::bad_alloc&) {
  return noMemory(tensor);
}

Result<std::vector<RowSpread>> rowSpreads(const Tensor& tensor, const Context& context) try {
  const std::uint64_t columns = tensor.columns();
  if (tensor.size() == 0) return std::vector<RowSpread>(tensor.rows());
  if (columns > longRow) return longRowSpreads(tensor, context);
  std::vector<RowSpread> spreads(tensor.rows());
  const std::uint64_t grain = std::max<std::uint64_t>(1, stripWeights / columns);
  NIBBLE_TRY(forEachPiece(tensor.rows(), grain, columns, context, [&](std::uint64_t begin, std::uint64_t end) -> Status {
    std::vector<float> row;
    for (std::uint64_t r = begin; r < end; ++r) {
      row.resize(columns);
      NIBBLE_TRY(tensor.read(r * columns, row));
      spreads[r] = spreadOf(row);
    }
    return {};
  }));
  return spreads;
} catch (const std::bad_alloc&) {
  return noMemory(tensor);
}

}  // namespace nibble
