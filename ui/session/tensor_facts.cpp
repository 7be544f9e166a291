// SPDX-License-Identifier: GPL-3.0-or-later
#include "ui/session/exploration.h"

#include "kernels/backend.h"

#include <algorithm>
#include <cmath>
#include <mutex>

namespace nibble {
namespace {

constexpr std::size_t rowsAtOnce = 16;
constexpr int weightBins = 128;

// Sums of powers of w, mergeable.
struct Moments {
  double sums[4] = {0, 0, 0, 0};
  std::uint64_t count = 0, nonFinite = 0;
  float low = 0, high = 0;
  double absMax = -1;
  Cell largest;

  void add(float weight) {
    const double w = static_cast<double>(weight);
    double power = 1;
    for (double& sum : sums) sum += power *= w;
    low = count == 0 ? weight : std::min(low, weight);
    high = count == 0 ? weight : std::max(high, weight);
    ++count;
  }
  Moments& operator+=(const Moments& more) {
    for (int i = 0; i < 4; ++i) sums[i] += more.sums[i];
    if (more.count > 0) {
      low = count == 0 ? more.low : std::min(low, more.low);
      high = count == 0 ? more.high : std::max(high, more.high);
    }
    count += more.count;
    nonFinite += more.nonFinite;
    const bool earlier = more.absMax == absMax && std::pair(more.largest.row, more.largest.column) < std::pair(largest.row, largest.column);
    if (more.absMax > absMax || earlier) {
      absMax = more.absMax;
      largest = more.largest;
    }
    return *this;
  }
  [[nodiscard]] double kurtosis() const {
    const double n = static_cast<double>(count);
    if (count == 0) return 0;
    const double m = sums[0] / n, a2 = sums[1] / n, a3 = sums[2] / n, a4 = sums[3] / n;
    const double variance = a2 - m * m;
    return variance > 0 ? (a4 - 4 * m * a3 + 6 * m * m * a2 - 3 * m * m * m * m) / (variance * variance) : 0;
  }
};

// The q quantile of values, which are reordered; linear between order statistics.
float quantile(std::vector<float>& values, double q) {
  const double place = q * static_cast<double>(values.size() - 1);
  const auto below = static_cast<std::size_t>(place);
  std::nth_element(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(below), values.end());
  const float low = values[below];
  if (below + 1 >= values.size()) return low;
  const float high = *std::min_element(values.begin() + static_cast<std::ptrdiff_t>(below) + 1, values.end());
  return low + static_cast<float>(place - static_cast<double>(below)) * (high - low);
}

RowQuantiles rowQuantiles(std::vector<float>& finite) {
  if (finite.empty()) return {};
  const auto [low, high] = std::minmax_element(finite.begin(), finite.end());
  RowQuantiles row{*low, 0, 0, 0, *high};
  row.percent1 = quantile(finite, 0.01);
  row.median = quantile(finite, 0.5);
  row.percent99 = quantile(finite, 0.99);
  return row;
}

Status addRow(const Tensor& tensor, std::uint64_t row, std::vector<float>& buffer, Moments& moments, RowQuantiles& out) {
  buffer.resize(tensor.columns());
  NIBBLE_TRY(tensor.read(row * tensor.columns(), buffer));
  std::size_t kept = 0;
  for (std::size_t column = 0; column < buffer.size(); ++column) {
    const float weight = buffer[column];
    if (!std::isfinite(weight)) {
      ++moments.nonFinite;
      continue;
    }
    moments.add(weight);
    if (std::abs(static_cast<double>(weight)) > moments.absMax) {
      moments.absMax = std::abs(static_cast<double>(weight));
      moments.largest = {row, column};
    }
    buffer[kept++] = weight;
  }
  buffer.resize(kept);
  out = rowQuantiles(buffer);
  return {};
}

Result<Histogram> histogramOf(const Tensor& tensor, float low, float high, const Context& context) {
  const float reach = high > low ? 0.0f : std::max(1e-6f, std::abs(low) * 0.5f);
  Histogram histogram{low - reach, high + reach, std::vector<std::uint64_t>(weightBins, 0)};
  std::vector<float> strip(std::min<std::uint64_t>(tensor.size(), 1u << 16));
  for (std::uint64_t begin = 0; begin < tensor.size(); begin += strip.size()) {
    if (context.stopRequested()) return cancelled();
    const std::span<float> part(strip.data(), std::min<std::uint64_t>(strip.size(), tensor.size() - begin));
    NIBBLE_TRY(tensor.read(begin, part));
    const auto end = std::remove_if(part.begin(), part.end(), [](float w) { return !std::isfinite(w); });
    context.backend->histogram(part.data(), static_cast<std::size_t>(end - part.begin()), static_cast<float>(histogram.low),
                               static_cast<float>(histogram.high), histogram.counts);
  }
  return histogram;
}

}  // namespace

Result<std::shared_ptr<const TensorFacts>> readFacts(const OpenedFile& file, const std::string& name, const Context& context) {
  auto tensor = file.weights->read(name);
  if (!tensor) return fail(tensor.error());
  auto facts = std::make_shared<TensorFacts>(TensorFacts{*tensor, 0, 0, 0, {}, {}, {}});
  if (tensor->size() == 0) return fail(name + ": the tensor is empty (" + toText(tensor->shape()) + ")");
  facts->rows.resize(tensor->rows());
  Moments sum;
  Status status;
  std::mutex mutex;
  auto body = [&](std::size_t begin, std::size_t end) {
    Moments moments;
    Status mine;
    std::vector<float> buffer;
    for (std::size_t row = begin; row < end && mine && !context.stopRequested(); ++row)
      mine = addRow(*tensor, row, buffer, moments, facts->rows[row]);
    const std::lock_guard lock(mutex);
    sum += moments;
    if (!mine) status = mine;
  };
  context.backend->parallelFor(tensor->rows(), rowsAtOnce, kernels::RangeBody(body));
  if (context.stopRequested()) return cancelled();
  if (!status) return fail(status.error());
  facts->absMax = std::max(0.0, sum.absMax);
  facts->kurtosis = sum.kurtosis();
  facts->nonFinite = sum.nonFinite;
  facts->largest = sum.largest;
  auto histogram = histogramOf(*tensor, sum.low, sum.high, context);
  if (!histogram) return fail(histogram.error());
  facts->weights = std::move(*histogram);
  return facts;
}

}  // namespace nibble
