// SPDX-License-Identifier: GPL-3.0-or-later
#include "core/report/error_report.h"

#include "core/quant/decode.h"
#include "core/report/code_entropy.h"
#include "core/tensor/tensor.h"

#include <algorithm>
#include <atomic>
#include <bit>
#include <cmath>
#include <mutex>
#include <optional>

namespace nibble {
namespace {

constexpr std::uint64_t stripWeights = std::uint64_t{1} << 15;  // weights and reconstruction of a strip stay in L2
constexpr std::uint64_t mostChunks = 32;                        // fixed, so that sums do not depend on the number of threads

// The tensor cut into strips (whole rows where only rows can be decoded) and the strips into chunks that merge in order.
struct Cut {
  std::uint64_t weights = 0, strip = 0, strips = 0, chunks = 0;
  explicit Cut(const QuantizedTensor& tensor) : weights(tensor.weightCount()) {
    strip = stripWeights;
    if (decodesByRow(tensor)) strip = std::max<std::uint64_t>(1, stripWeights / tensor.columns) * tensor.columns;
    strips = (weights + strip - 1) / strip;
    chunks = std::min(strips, mostChunks);
  }
  [[nodiscard]] std::uint64_t chunkBegin(std::uint64_t chunk) const { return chunk * strips / chunks * strip; }
  [[nodiscard]] std::uint64_t chunkEnd(std::uint64_t chunk) const { return std::min(weights, (chunk + 1) * strips / chunks * strip); }
};

// The first failure of many threads.
class FirstError {
 public:
  void set(Error error) {
    const std::lock_guard lock(m_mutex);
    if (!m_error) m_error = std::move(error);
    m_failed.store(true, std::memory_order_relaxed);
  }
  [[nodiscard]] bool failed() const { return m_failed.load(std::memory_order_relaxed); }
  [[nodiscard]] Status status() const { return m_error ? Status(fail(*m_error)) : Status(); }

 private:
  std::mutex m_mutex;
  std::optional<Error> m_error;
  std::atomic<bool> m_failed{false};
};

// Calls visit(chunk, begin, weights, reconstruction) for every strip; chunks run in parallel, the strips of one in order.
template <class Visit>
Status forEachStrip(const Tensor& tensor, const QuantizedTensor& quantized, const Context& context, const Visit& visit) {
  const Cut cut(quantized);
  FirstError error;
  auto body = [&](std::size_t firstChunk, std::size_t endChunk) {
    std::vector<float> weights(cut.strip), reconstruction(cut.strip);
    for (std::size_t chunk = firstChunk; chunk < endChunk; ++chunk) {
      for (std::uint64_t begin = cut.chunkBegin(chunk); begin < cut.chunkEnd(chunk) && !error.failed(); begin += cut.strip) {
        if (context.stopRequested()) return error.set({ErrorKind::Cancelled, "cancelled"});
        const std::uint64_t count = std::min(cut.strip, cut.weights - begin);
        std::span<const float> view(weights.data(), count);
        if (const auto direct = tensor.floats()) {
          view = direct->subspan(begin, count);
        } else if (auto read = tensor.read(begin, std::span(weights.data(), count)); !read) {
          return error.set(read.error());
        }
        decode(quantized, begin, std::span(reconstruction.data(), count));
        visit(chunk, begin, view, std::span<const float>(reconstruction.data(), count));
      }
    }
  };
  context.backend->parallelFor(cut.chunks, 1, kernels::RangeBody(body));
  if (auto status = error.status(); !status) return status;
  return tensor.intact();
}

std::uint32_t magnitudeBits(float error) { return std::bit_cast<std::uint32_t>(error) & 0x7FFFFFFFu; }

constexpr int coarseShift = 15;  // upper 16 bits of the magnitude, then the lower 15: two exact counting passes
constexpr std::size_t coarseBins = std::size_t{1} << 16, fineBins = std::size_t{1} << coarseShift;

struct FirstPass {
  kernels::ErrorSums sums;
  float low = HUGE_VALF, high = -HUGE_VALF;
  double weighted = 0;
  std::vector<std::uint64_t> coarse;
};

struct SecondPass {
  std::vector<std::uint64_t> errors, weights;
  std::vector<std::uint64_t> fineLow, fineHigh;  // within the coarse bins of the two order statistics
};

double weightedSum(std::span<const float> weights, std::span<const float> reconstruction, std::uint64_t begin,
                   std::span<const float> inputWeights) {
  double sum = 0;
  std::size_t column = begin % inputWeights.size();
  for (std::size_t i = 0; i < weights.size(); ++i) {
    const double error = weights[i] - reconstruction[i];
    sum += inputWeights[column] * error * error;
    if (++column == inputWeights.size()) column = 0;
  }
  return sum;
}

void addTo(std::vector<std::uint64_t>& total, const std::vector<std::uint64_t>& more) {
  total.resize(std::max(total.size(), more.size()));
  for (std::size_t i = 0; i < more.size(); ++i) total[i] += more[i];
}

Result<FirstPass> firstPass(const Tensor& tensor, const QuantizedTensor& quantized, const ReportOptions& options, const Context& context) {
  std::vector<FirstPass> parts(Cut(quantized).chunks);
  NIBBLE_TRY(forEachStrip(tensor, quantized, context, [&](std::size_t chunk, std::uint64_t begin, auto weights, auto reconstruction) {
    FirstPass& part = parts[chunk];
    part.sums += context.backend->errorSums(weights.data(), reconstruction.data(), weights.size());
    float low = 0, high = 0;
    context.backend->ranges(kernels::GroupView::contiguous(weights.data(), 1, weights.size()), &low, &high);
    part.low = std::min(part.low, low);
    part.high = std::max(part.high, high);
    if (!options.inputWeights.empty()) part.weighted += weightedSum(weights, reconstruction, begin, options.inputWeights);
    if (!options.percentile) return;
    part.coarse.resize(coarseBins);
    for (std::size_t i = 0; i < weights.size(); ++i) ++part.coarse[magnitudeBits(weights[i] - reconstruction[i]) >> coarseShift];
  }));
  FirstPass merged;
  for (const FirstPass& part : parts) {
    merged.sums += part.sums;
    merged.low = std::min(merged.low, part.low);
    merged.high = std::max(merged.high, part.high);
    merged.weighted += part.weighted;
    addTo(merged.coarse, part.coarse);
  }
  return merged;
}

// Bin that holds the order statistic `rank`, and the rank within it.
std::pair<std::uint32_t, std::uint64_t> locateRank(const std::vector<std::uint64_t>& counts, std::uint64_t rank) {
  std::uint32_t bin = 0;
  while (rank >= counts[bin]) rank -= counts[bin++];
  return {bin, rank};
}

Result<SecondPass> secondPass(const Tensor& tensor, const QuantizedTensor& quantized, const ReportOptions& options, const Context& context,
                              const ErrorReport& report, std::uint32_t lowBin, std::uint32_t highBin) {
  const auto bins = static_cast<std::size_t>(std::max(0, options.histogramBins));
  std::vector<SecondPass> parts(Cut(quantized).chunks);
  const auto limit = static_cast<float>(report.errors.high);
  NIBBLE_TRY(forEachStrip(tensor, quantized, context, [&](std::size_t chunk, std::uint64_t, auto weights, auto reconstruction) {
    SecondPass& part = parts[chunk];
    if (bins != 0) {
      part.errors.resize(bins);
      part.weights.resize(bins);
      context.backend->errorHistogram(weights.data(), reconstruction.data(), weights.size(), -limit, limit, part.errors);
      context.backend->histogram(weights.data(), weights.size(), static_cast<float>(report.weights.low),
                                 static_cast<float>(report.weights.high), part.weights);
    }
    if (!options.percentile) return;
    part.fineLow.resize(fineBins);
    part.fineHigh.resize(fineBins);
    for (std::size_t i = 0; i < weights.size(); ++i) {
      const std::uint32_t bits = magnitudeBits(weights[i] - reconstruction[i]);
      if (bits >> coarseShift == lowBin) ++part.fineLow[bits & (fineBins - 1)];
      if (bits >> coarseShift == highBin) ++part.fineHigh[bits & (fineBins - 1)];
    }
  }));
  SecondPass merged;
  for (const SecondPass& part : parts) {
    addTo(merged.errors, part.errors);
    addTo(merged.weights, part.weights);
    addTo(merged.fineLow, part.fineLow);
    addTo(merged.fineHigh, part.fineHigh);
  }
  return merged;
}

double orderStatistic(std::uint32_t coarseBin, const std::vector<std::uint64_t>& fine, std::uint64_t rankInBin) {
  return std::bit_cast<float>(coarseBin << coarseShift | locateRank(fine, rankInBin).first);
}

// Errors per group by a loop over weights in the model's order: groupings of every kind, one thread. Groups count stored places:
// where columns are permuted, `stored` says at which stored column each of the model's stands.
void addGroups(const Grouping& grouping, std::span<const std::uint64_t> stored, std::uint64_t begin, std::span<const float> weights,
               std::span<const float> reconstruction, std::vector<GroupError>& groups) {
  for (std::uint64_t i = 0; i < weights.size();) {
    std::uint64_t place = begin + i, run = 1;
    if (stored.empty()) {
      run = std::min<std::uint64_t>(weights.size() - i, grouping.runLength(place));
    } else {
      place += stored[place % stored.size()] - place % stored.size();
    }
    GroupError& group = groups[grouping.groupOf(place)];
    for (const std::uint64_t end = i + run; i < end; ++i) {
      const float error = weights[i] - reconstruction[i];
      group.errorSquared += static_cast<double>(error) * error;
      group.maxError = std::max(group.maxError, std::fabs(error));
      ++group.count;
    }
  }
}

Status countGroups(const Tensor& tensor, const QuantizedTensor& quantized, const ReportOptions& options, const Context& context,
                   ErrorReport& report) {
  const Grouping rows = Grouping::blocks(quantized.rows, quantized.columns, 1, 0);
  const Grouping groups = quantized.scale ? quantized.scale->grouping
                          : quantized.levels.grouping ? *quantized.levels.grouping : Grouping::tensor(quantized.rows, quantized.columns);
  if (options.perRow) report.rows.resize(rows.groupCount());
  if (options.perGroup) report.groups.resize(groups.groupCount());
  std::vector<std::uint64_t> stored(quantized.order.size());
  for (std::size_t column = 0; column < stored.size(); ++column) stored[quantized.order[column]] = column;
  const Cut cut(quantized);
  std::vector<float> weights(cut.strip), reconstruction(cut.strip);
  for (std::uint64_t begin = 0; begin < cut.weights; begin += cut.strip) {
    if (context.stopRequested()) return cancelled();
    const std::span<float> w(weights.data(), std::min(cut.strip, cut.weights - begin));
    const std::span<float> r(reconstruction.data(), w.size());
    NIBBLE_TRY(tensor.read(begin, w));
    decode(quantized, begin, r);
    if (options.perRow) addGroups(rows, {}, begin, w, r, report.rows);
    if (options.perGroup) addGroups(groups, stored, begin, w, r, report.groups);
  }
  return {};
}

}  // namespace

Result<ErrorReport> errorReport(const Tensor& tensor, const QuantizedTensor& quantized, const ReportOptions& options,
                                const Context& context) {
  if (!options.inputWeights.empty() && options.inputWeights.size() != quantized.columns)
    return fail(tensor.name() + ": the input weights have another length than the tensor has columns");
  auto first = firstPass(tensor, quantized, options, context);
  if (!first) return fail(first.error());
  ErrorReport report;
  report.sums = first->sums;
  report.weightLow = first->low;
  report.weightHigh = first->high;
  report.weights = {first->low, first->high, {}};
  report.errors = {-report.maxError(), report.maxError(), {}};
  if (!options.inputWeights.empty()) report.weightedMse = first->weighted / static_cast<double>(first->sums.count);
  CodeCounts codes = countCodes(quantized, context);
  report.codeEntropy = codes.bitsPerWeight;
  report.occupancy = std::move(codes.occupancy);
  if (options.percentile || options.histogramBins > 0) {
    const double position = 0.99 * static_cast<double>(report.sums.count - 1);
    const auto rank = static_cast<std::uint64_t>(position);
    std::pair<std::uint32_t, std::uint64_t> low{0, 0}, high{0, 0};
    if (options.percentile) {
      low = locateRank(first->coarse, rank);
      high = locateRank(first->coarse, std::min(rank + 1, report.sums.count - 1));
    }
    auto second = secondPass(tensor, quantized, options, context, report, low.first, high.first);
    if (!second) return fail(second.error());
    report.errors.counts = std::move(second->errors);
    report.weights.counts = std::move(second->weights);
    if (options.percentile) {
      const double below = orderStatistic(low.first, second->fineLow, low.second);
      const double above = orderStatistic(high.first, second->fineHigh, high.second);
      report.p99Error = below + (position - static_cast<double>(rank)) * (above - below);
    }
  }
  if (options.perGroup || options.perRow) NIBBLE_TRY(countGroups(tensor, quantized, options, context, report));
  return report;
}

}  // namespace nibble
