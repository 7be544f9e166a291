// SPDX-License-Identifier: GPL-3.0-or-later
#include "core/report/step_error.h"

#include "core/quant/decode.h"
#include "kernels/backend.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <mutex>

namespace nibble {
namespace {

constexpr double stepReach = 1.5;
constexpr double halfStep = 0.5 + 1e-3;
constexpr std::uint64_t stripWeights = std::uint64_t{1} << 16;

struct Counts {
  std::vector<std::uint64_t> bins;
  std::uint64_t outside = 0, total = 0;
  explicit Counts(int count) : bins(static_cast<std::size_t>(count), 0) {}
};

// Stored column of each input column, where columns were reordered.
std::vector<std::uint32_t> storedColumns(const QuantizedTensor& quantized) {
  std::vector<std::uint32_t> stored(quantized.order.size());
  for (std::uint32_t j = 0; j < quantized.order.size(); ++j) stored[quantized.order[j]] = j;
  return stored;
}

struct Strip {
  const Tensor& tensor;
  const QuantizedTensor& quantized;
  const std::vector<std::uint32_t>& stored;
  double reach;
  bool inSteps;

  [[nodiscard]] double step(std::uint64_t flat) const {
    if (!stored.empty()) flat = flat / quantized.columns * quantized.columns + stored[flat % quantized.columns];
    return std::abs(static_cast<double>(quantized.scale->values[quantized.scale->grouping.groupOf(flat)]));
  }

  void add(double error, double unit, Counts& counts) const {
    const double value = unit > 0 ? error / unit : (error == 0 ? 0 : std::copysign(2 * reach, error));
    const auto bins = static_cast<double>(counts.bins.size());
    const double place = std::floor((value + reach) / (2 * reach) * bins);
    ++counts.bins[static_cast<std::size_t>(std::clamp(place, 0.0, bins - 1))];
    if (inSteps && std::abs(value) > halfStep) ++counts.outside;
    ++counts.total;
  }

  Status count(std::uint64_t begin, std::uint64_t end, Counts& counts) const {
    std::vector<float> weights(end - begin), values(end - begin);
    NIBBLE_TRY(tensor.read(begin, weights));
    decode(quantized, begin, values);
    for (std::uint64_t i = begin; i < end;) {
      const std::uint64_t run = !inSteps ? end - i
                                : stored.empty() ? std::min(end - i, quantized.scale->grouping.runLength(i)) : 1;
      const double unit = inSteps ? step(i) : 1;
      for (const std::uint64_t stop = i + run; i < stop; ++i)
        add(static_cast<double>(weights[i - begin] - values[i - begin]), unit, counts);
    }
    return {};
  }
};

}  // namespace

Result<StepErrors> stepErrors(const Tensor& tensor, const QuantizedTensor& quantized, double maxError, int bins,
                              const Context& context) {
  StepErrors result;
  result.inSteps = quantized.levels.kind == Levels::Kind::Identity && quantized.scale && !quantized.rotation &&
                   quantized.channelScale.empty();
  const auto stored = storedColumns(quantized);
  const double reach = result.inSteps ? stepReach : std::max(maxError, 1e-30);
  const Strip strip{tensor, quantized, stored, reach, result.inSteps};
  const std::uint64_t rowsPerStrip = std::max<std::uint64_t>(1, stripWeights / std::max<std::uint64_t>(1, quantized.columns));
  const std::uint64_t strips = (quantized.rows + rowsPerStrip - 1) / rowsPerStrip;
  Counts sum(bins);
  Status status;
  std::mutex mutex;
  auto body = [&](std::size_t first, std::size_t last) {
    Counts counts(bins);
    Status mine;
    for (std::size_t i = first; i < last && mine && !context.stopRequested(); ++i)
      mine = strip.count(i * rowsPerStrip * quantized.columns,
                         std::min(quantized.rows, (i + 1) * rowsPerStrip) * quantized.columns, counts);
    const std::lock_guard lock(mutex);
    for (std::size_t bin = 0; bin < counts.bins.size(); ++bin) sum.bins[bin] += counts.bins[bin];
    sum.outside += counts.outside;
    sum.total += counts.total;
    if (!mine) status = mine;
  };
  context.backend->parallelFor(strips, 1, kernels::RangeBody(body));
  if (context.stopRequested()) return cancelled();
  if (!status) return fail(status.error());
  result.errors = {-reach, reach, std::move(sum.bins)};
  if (result.inSteps) result.outsideShare = static_cast<double>(sum.outside) / static_cast<double>(std::max<std::uint64_t>(1, sum.total));
  return result;
}

}  // namespace nibble
