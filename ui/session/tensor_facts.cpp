// SPDX-License-Identifier: GPL-3.0-or-later
#include "ui/session/exploration.h"

#include "kernels/backend.h"

#include <algorithm>
#include <cmath>

namespace nibble {
namespace {

constexpr int weightBins = 128;
constexpr std::uint64_t stripWeights = std::uint64_t{1} << 16;

// Calls `take` with the finite weights of one strip after the other.
template <class Take>
Status forStrips(const Tensor& tensor, const Context& context, Take take) {
  std::vector<float> strip(std::min(tensor.size(), stripWeights));
  for (std::uint64_t begin = 0; begin < tensor.size(); begin += strip.size()) {
    if (context.stopRequested()) return cancelled();
    const std::span<float> part(strip.data(), std::min<std::uint64_t>(strip.size(), tensor.size() - begin));
    NIBBLE_TRY(tensor.read(begin, part));
    take(begin, part);
  }
  return {};
}

Result<Histogram> histogramOf(const Tensor& tensor, const TensorStatistics& statistics, const Context& context) {
  const float low = statistics.min, high = statistics.max;
  const float reach = high > low ? 0.0f : std::max(1e-6f, std::abs(low) * 0.5f);
  Histogram histogram{low - reach, high + reach, std::vector<std::uint64_t>(weightBins, 0)};
  const Status status = forStrips(tensor, context, [&](std::uint64_t, std::span<float> part) {
    const auto end = std::remove_if(part.begin(), part.end(), [](float w) { return !std::isfinite(w); });
    context.backend->histogram(part.data(), static_cast<std::size_t>(end - part.begin()), static_cast<float>(histogram.low),
                               static_cast<float>(histogram.high), histogram.counts);
  });
  if (!status) return fail(status.error());
  return histogram;
}

// The first weight of the largest magnitude, in a row where the row spreads say it is.
Status findLargest(TensorFacts& facts) {
  const float largest = facts.statistics.absMax;
  for (std::uint64_t row = 0; row < facts.rows.size(); ++row) {
    if (std::max(-facts.rows[row].min, facts.rows[row].max) < largest) continue;
    std::vector<float> values(facts.tensor.columns());
    NIBBLE_TRY(facts.tensor.read(row * facts.tensor.columns(), values));
    for (std::uint64_t column = 0; column < values.size(); ++column)
      if (std::abs(values[column]) == largest) {
        facts.largest = {row, column};
        return {};
      }
  }
  return {};
}

}  // namespace

Result<std::shared_ptr<const TensorFacts>> readFacts(const OpenedFile& file, const std::string& name, const std::string& reading,
                                                     const Context& context) {
  auto tensor = file.weights->read(name, reading);
  if (!tensor) return fail(tensor.error());
  if (tensor->size() == 0) return fail(name + ": the tensor is empty (" + toText(tensor->shape()) + ")");
  auto statistics = tensorStatistics(*tensor, context);
  if (!statistics) return fail(statistics.error());
  auto rows = rowSpreads(*tensor, context);
  if (!rows) return fail(rows.error());
  auto histogram = histogramOf(*tensor, *statistics, context);
  if (!histogram) return fail(histogram.error());
  auto facts = std::make_shared<TensorFacts>(TensorFacts{*tensor, reading, *statistics, std::move(*rows), std::move(*histogram), {}});
  NIBBLE_TRY(findLargest(*facts));
  return facts;
}

}  // namespace nibble
