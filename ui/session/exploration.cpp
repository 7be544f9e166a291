// SPDX-License-Identifier: GPL-3.0-or-later
#include "ui/session/exploration.h"

#include <algorithm>

namespace nibble {
namespace {

constexpr int errorBins = 120;
constexpr std::uint64_t rowsTogether = 16;

// Every `every`th block of rows, as a tensor of its own.
Result<Tensor> sampleRows(const Tensor& tensor, unsigned every, const Context& context) {
  const std::uint64_t block = std::min<std::uint64_t>(rowsTogether, std::max<std::uint64_t>(1, tensor.rows() / every));
  std::vector<float> values;
  std::uint64_t rows = 0;
  for (std::uint64_t row = 0; row < tensor.rows(); row += block * every) {
    if (context.stopRequested()) return cancelled();
    const std::uint64_t count = std::min(block, tensor.rows() - row);
    const std::size_t begin = values.size();
    values.resize(begin + count * tensor.columns());
    NIBBLE_TRY(tensor.read(row * tensor.columns(), std::span(values).subspan(begin)));
    rows += count;
  }
  return Tensor::fromFloats(tensor.name(), {rows, tensor.columns()}, std::move(values));
}

Status fill(Exploration& exploration, const Tensor& tensor, const Choice& choice, bool exact, const Context& context) {
  ReportOptions options;
  options.percentile = exact;
  auto outcome = run(tensor, choice, context, options);
  if (!outcome) return fail(outcome.error());
  exploration.report = std::move(outcome->report);
  exploration.seconds = outcome->seconds;
  exploration.size = storageSize(*outcome->quantized);
  exploration.bitsPerWeight = bitsPerWeight(*outcome->quantized);
  auto steps = stepErrors(tensor, *outcome->quantized, exploration.report.maxError(), errorBins, context);
  if (!steps) return fail(steps.error());
  exploration.steps = std::move(*steps);
  if (exact) exploration.quantized = outcome->quantized;
  return {};
}

}  // namespace

Result<std::shared_ptr<const Exploration>> explore(std::shared_ptr<const TensorFacts> facts, const Choice& choice, unsigned every,
                                                   const Context& context) {
  auto exploration = std::make_shared<Exploration>();
  exploration->choice = choice;
  exploration->facts = facts;
  exploration->sampledEvery = every;
  Status status;
  if (every > 1) {
    const auto sample = sampleRows(facts->tensor, every, context);
    status = sample ? fill(*exploration, *sample, choice, false, context) : Status(fail(sample.error()));
  } else {
    status = fill(*exploration, facts->tensor, choice, true, context);
  }
  if (!status && status.error().kind == ErrorKind::Cancelled) return cancelled();
  if (!status) exploration->problem = status.error().message;
  return exploration;
}

}  // namespace nibble
