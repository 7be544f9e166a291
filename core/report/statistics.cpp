// SPDX-License-Identifier: GPL-3.0-or-later
#include "core/report/statistics.h"

#include "core/quant/encode.h"
#include "core/report/order_statistics.h"
#include "kernels/math/statistics.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <mutex>
#include <new>
#include <span>

namespace nibble {
namespace {

constexpr std::uint64_t stripWeights = std::uint64_t{1} << 16;
constexpr std::uint64_t mostChunks = 64;  // fixed, so that sums do not depend on the number of threads
constexpr std::uint64_t longRow = std::uint64_t{1} << 18;  // above it a row is looked at in strips
constexpr double quantiles[] = {0.01, 0.5, 0.99};

// Calls visit(begin, weights) for the strips of weights [begin, end) in order.
Status visitStrips(const Tensor& tensor, std::uint64_t begin, std::uint64_t end, const Context& context,
                   const std::function<void(std::uint64_t, std::span<const float>)>& visit) {
  const auto direct = tensor.floats();
  std::vector<float> buffer(direct ? 0 : std::min(stripWeights, end - begin));
  for (; begin < end; begin += stripWeights) {
    if (context.stopRequested()) return cancelled();
    const std::uint64_t count = std::min(stripWeights, end - begin);
    if (direct) {
      visit(begin, direct->subspan(begin, count));
    } else {
      NIBBLE_TRY(tensor.read(begin, std::span(buffer).first(count)));
      visit(begin, std::span<const float>(buffer).first(count));
    }
    context.addDone(count);
  }
  return {};
}

// The tensor in at most mostChunks runs of whole strips: body(chunk, begin, end), in parallel.
struct Chunks {
  std::uint64_t weights, strips, count;
  explicit Chunks(const Tensor& tensor)
      : weights(tensor.size()), strips((weights + stripWeights - 1) / stripWeights), count(std::min(strips, mostChunks)) {}
  [[nodiscard]] std::uint64_t begin(std::uint64_t chunk) const { return std::min(weights, chunk * strips / count * stripWeights); }
};

Status forEachChunk(const Chunks& chunks, const Context& context,
                    const std::function<Status(std::uint64_t, std::uint64_t, std::uint64_t)>& body) {
  context.addTotal(chunks.weights);
  return forEachPiece(chunks.count, 1, 0, context, [&](std::uint64_t first, std::uint64_t end) -> Status {
    for (std::uint64_t chunk = first; chunk < end; ++chunk)
      NIBBLE_TRY(body(chunk, chunks.begin(chunk), chunks.begin(chunk + 1)));
    return {};
  });
}

// What the first look sees of one chunk.
struct Seen {
  TensorStatistics figures;  // counts and ends
  double sum = 0;
  Seen() {
    figures.min = HUGE_VALF;
    figures.max = -HUGE_VALF;
    figures.firstNonFinite = std::numeric_limits<std::uint64_t>::max();
  }
  void add(std::uint64_t begin, std::span<const float> weights);
  void operator+=(const Seen& more);
};

void Seen::add(std::uint64_t begin, std::span<const float> weights) {
  for (std::size_t i = 0; i < weights.size(); ++i) {
    const float weight = weights[i];
    if (!kernels::isFinite(weight)) {
      ++figures.nonFinite;
      figures.firstNonFinite = std::min(figures.firstNonFinite, begin + i);
      continue;
    }
    ++figures.count;
    sum += weight;
    figures.min = std::min(figures.min, weight);
    figures.max = std::max(figures.max, weight);
    figures.zeros += weight == 0.0f ? 1 : 0;
    figures.denormals += weight != 0.0f && std::fabs(weight) < 0x1p-126f ? 1 : 0;
  }
}

void Seen::operator+=(const Seen& more) {
  sum += more.sum;
  figures.count += more.figures.count;
  figures.zeros += more.figures.zeros;
  figures.denormals += more.figures.denormals;
  figures.nonFinite += more.figures.nonFinite;
  figures.firstNonFinite = std::min(figures.firstNonFinite, more.figures.firstNonFinite);
  figures.min = std::min(figures.min, more.figures.min);
  figures.max = std::max(figures.max, more.figures.max);
}

struct Moments {
  double second = 0, fourth = 0;  // sums of powers of deviations
};

Moments momentsOf(std::span<const float> weights, double mean) {
  Moments moments;
  for (const float weight : weights) {
    if (!kernels::isFinite(weight)) continue;
    const double deviation = weight - mean, square = deviation * deviation;
    moments.second += square;
    moments.fourth += square * square;
  }
  return moments;
}

void finish(TensorStatistics& figures, const Moments& moments, const FineCounts& fine) {
  const auto count = static_cast<double>(figures.count);
  figures.std = std::sqrt(moments.second / count);
  if (moments.second > 0) figures.kurtosis = moments.fourth * count / (moments.second * moments.second);
  figures.p01 = fine.quantile(0);
  figures.p99 = fine.quantile(2);
  figures.min += 0.0f;  // -0 is 0
  figures.max += 0.0f;
  figures.absMax = std::max(std::fabs(figures.min), std::fabs(figures.max));
}

float quantileOf(std::span<const float> ascending, double quantile) {
  const QuantilePlace place = quantilePlace(quantile, ascending.size());
  const double below = ascending[place.below], above = ascending[std::min<std::size_t>(place.below + 1, ascending.size() - 1)];
  return static_cast<float>(below + place.fraction * (above - below)) + 0.0f;
}

Result<RowSpread> spreadOfShortRow(const Tensor& tensor, std::uint64_t begin, std::vector<float>& row) {
  row.resize(tensor.columns());
  NIBBLE_TRY(tensor.read(begin, row));
  std::erase_if(row, [](float weight) { return !kernels::isFinite(weight); });
  if (row.empty()) return RowSpread{};
  std::sort(row.begin(), row.end());
  return RowSpread{row.front() + 0.0f, quantileOf(row, quantiles[0]), quantileOf(row, quantiles[1]), quantileOf(row, quantiles[2]),
                   row.back() + 0.0f};
}

Result<RowSpread> spreadOfLongRow(const Tensor& tensor, std::uint64_t begin, const Context& context) {
  Seen seen;
  CoarseCounts coarse;
  NIBBLE_TRY(visitStrips(tensor, begin, begin + tensor.columns(), context, [&](std::uint64_t at, std::span<const float> weights) {
    seen.add(at, weights);
    coarse.add(weights);
  }));
  if (seen.figures.count == 0) return RowSpread{};
  FineCounts fine(coarse, quantiles);
  NIBBLE_TRY(visitStrips(tensor, begin, begin + tensor.columns(), context,
                         [&](std::uint64_t, std::span<const float> weights) { fine.add(weights); }));
  return RowSpread{seen.figures.min + 0.0f, static_cast<float>(fine.quantile(0)), static_cast<float>(fine.quantile(1)),
                   static_cast<float>(fine.quantile(2)), seen.figures.max + 0.0f};
}

}  // namespace

Result<TensorStatistics> tensorStatistics(const Tensor& tensor, const Context& context) try {
  const Chunks chunks(tensor);
  std::vector<Seen> parts(chunks.count);
  CoarseCounts coarse;
  std::mutex mutex;
  NIBBLE_TRY(forEachChunk(chunks, context, [&](std::uint64_t chunk, std::uint64_t begin, std::uint64_t end) -> Status {
    CoarseCounts counts;
    NIBBLE_TRY(visitStrips(tensor, begin, end, context, [&](std::uint64_t at, std::span<const float> weights) {
      parts[chunk].add(at, weights);
      counts.add(weights);
    }));
    const std::lock_guard lock(mutex);
    coarse += counts;
    return {};
  }));
  Seen seen;
  for (const Seen& part : parts) seen += part;
  TensorStatistics figures = seen.figures;
  if (figures.nonFinite == 0) figures.firstNonFinite = 0;
  if (figures.count == 0) {
    figures.min = figures.max = 0;
    return figures;
  }
  figures.mean = seen.sum / static_cast<double>(figures.count);
  FineCounts fine(coarse, quantiles);
  const FineCounts empty = fine;
  std::vector<Moments> moments(chunks.count);
  NIBBLE_TRY(forEachChunk(chunks, context, [&](std::uint64_t chunk, std::uint64_t begin, std::uint64_t end) -> Status {
    FineCounts counts = empty;
    NIBBLE_TRY(visitStrips(tensor, begin, end, context, [&](std::uint64_t, std::span<const float> weights) {
      const Moments part = momentsOf(weights, figures.mean);
      moments[chunk].second += part.second;
      moments[chunk].fourth += part.fourth;
      counts.add(weights);
    }));
    const std::lock_guard lock(mutex);
    fine += counts;
    return {};
  }));
  NIBBLE_TRY(tensor.intact());
  Moments sum;
  for (const Moments& part : moments) {
    sum.second += part.second;
    sum.fourth += part.fourth;
  }
  finish(figures, sum, fine);
  return figures;
} catch (const std::bad_alloc&) {
  return fail(tensor.name() + ": not enough memory for its statistics");
}

Result<std::vector<RowSpread>> rowSpreads(const Tensor& tensor, const Context& context) try {
  std::vector<RowSpread> spreads(tensor.rows());
  if (tensor.size() == 0) return spreads;
  const std::uint64_t grain = std::max<std::uint64_t>(1, stripWeights / tensor.columns());
  const bool isLong = tensor.columns() > longRow;
  NIBBLE_TRY(forEachPiece(tensor.rows(), grain, isLong ? 0 : tensor.columns(), context,
                          [&](std::uint64_t begin, std::uint64_t end) -> Status {
                            std::vector<float> buffer;
                            for (std::uint64_t row = begin; row < end; ++row) {
                              auto spread = isLong ? spreadOfLongRow(tensor, row * tensor.columns(), context)
                                                   : spreadOfShortRow(tensor, row * tensor.columns(), buffer);
                              if (!spread) return fail(spread.error());
                              spreads[row] = *spread;
                            }
                            return {};
                          }));
  NIBBLE_TRY(tensor.intact());
  return spreads;
} catch (const std::bad_alloc&) {
  return fail(tensor.name() + ": not enough memory for the spread of its rows");
}

}  // namespace nibble
