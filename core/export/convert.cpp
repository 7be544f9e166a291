// SPDX-License-Identifier: GPL-3.0-or-later
#include "core/export/convert.h"

#include "core/export/spellings.h"
#include "core/quant/decode.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace nibble {
namespace {

constexpr std::uint64_t stripWeights = std::uint64_t{1} << 16;

Result<double> differenceOf(const QuantizedTensor& a, const QuantizedTensor& b, const Context& context) {
  const std::uint64_t columns = std::max<std::uint64_t>(a.columns, 1);
  const std::uint64_t step = std::max<std::uint64_t>(stripWeights / columns, 1) * columns;
  std::vector<float> before(std::min(step, a.weightCount())), after(before.size());
  double largest = 0;
  for (std::uint64_t begin = 0; begin < a.weightCount(); begin += step) {
    if (context.stopRequested()) return cancelled();
    const std::uint64_t count = std::min(step, a.weightCount() - begin);
    decode(a, begin, std::span(before).first(count));
    decode(b, begin, std::span(after).first(count));
    for (std::uint64_t i = 0; i < count; ++i) {
      if (before[i] == after[i]) continue;
      const double gap = std::fabs(static_cast<double>(before[i]) - static_cast<double>(after[i]));
      largest = std::max(largest, std::isnan(gap) ? std::numeric_limits<double>::infinity() : gap);
    }
  }
  return largest;
}

}  // namespace

Result<Conversion> convertFor(const Format& format, std::shared_ptr<const QuantizedTensor> source, const Context& context) {
  const auto reason = format.refusal(*source);
  if (!reason) return Conversion{std::move(source), 0};
  std::optional<Conversion> best;
  for (const QuantizedTensor& arranged : arrangements(*source)) {
    for (const QuantizedTensor& typed : parameterTypes(arranged)) {
      for (QuantizedTensor& spelled : rules(typed)) {
        if (context.stopRequested()) return cancelled();
        if (format.refusal(spelled)) continue;
        const auto difference = differenceOf(*source, spelled, context);
        if (!difference) return fail(difference.error());
        if (!std::isfinite(*difference) || (best && *difference >= best->maxDifference)) continue;
        best = Conversion{std::make_shared<const QuantizedTensor>(std::move(spelled)), *difference};
        if (*difference == 0) return *std::move(best);
      }
    }
  }
  if (!best) return fail(*reason);
  return *std::move(best);
}

}  // namespace nibble
