// SPDX-License-Identifier: GPL-3.0-or-later
#include "core/run/run.h"

#include "core/base/text.h"
#include "core/run/transformed.h"
#include "core/tensor/activations.h"

#include <algorithm>
#include <chrono>
#include <new>

namespace nibble {
namespace {

constexpr std::size_t stripWeights = std::size_t{1} << 16;

std::string place(const Tensor& tensor, std::uint64_t index) {
  return "[" + text::number(index / tensor.columns()) + ", " + text::number(index % tensor.columns()) + "]";
}

}  // namespace

Status checkWeights(const Tensor& tensor, const Context& context) {
  if (!info(tensor.type()).floating)
    return fail(tensor.name() + ": " + std::string(info(tensor.type()).name) + " is not a floating-point type, nothing to quantize");
  if (tensor.size() == 0) return fail(tensor.name() + ": the tensor is empty (" + toText(tensor.shape()) + ")");
  std::vector<float> strip(std::min<std::uint64_t>(stripWeights, tensor.size()));
  for (std::uint64_t begin = 0; begin < tensor.size(); begin += strip.size()) {
    if (context.stopRequested()) return cancelled();
    const std::span<float> part(strip.data(), std::min<std::uint64_t>(strip.size(), tensor.size() - begin));
    NIBBLE_TRY(tensor.read(begin, part));
    const std::size_t bad = context.backend->firstNonFinite(part.data(), part.size());
    if (bad == part.size()) continue;
    return fail(tensor.name() + ": weight " + text::number(begin + bad) + " at " + place(tensor, begin + bad) + " is " +
                text::number(part[bad]) + "; only finite weights can be quantized");
  }
  return {};
}

std::span<const float> knownMeanSquares(const Tensor& tensor, const Context& context) {
  if (context.activations == nullptr) return {};
  const LayerInputs* inputs = context.activations->find(tensor.name(), tensor.columns());
  return inputs != nullptr ? std::span<const float>(inputs->meanSquares) : std::span<const float>();
}

Result<Outcome> run(const Tensor& tensor, const Choice& choice, const Context& context, const ReportOptions& options) try {
  const auto start = std::chrono::steady_clock::now();
  if (const auto reason = choice.refusal({tensor.rows(), tensor.columns()}))
    return fail(tensor.name() + ": " + choice.shortText() + ": " + *reason);
  NIBBLE_TRY(checkWeights(tensor, context));
  auto quantized = quantizeTransformed(tensor, choice, context);
  if (!quantized) return fail(quantized.error());
  quantized->scheme = choice.text();
  quantized->shape = tensor.shape();
  auto shared = std::make_shared<const QuantizedTensor>(*std::move(quantized));
  ReportOptions weighing = options;
  if (weighing.inputWeights.empty()) weighing.inputWeights = knownMeanSquares(tensor, context);
  auto report = errorReport(tensor, *shared, weighing, context);
  if (!report) return fail(report.error());
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
  return Outcome{choice, std::move(shared), *std::move(report), seconds.count()};
} catch (const std::bad_alloc&) {
  return fail(tensor.name() + ": not enough memory for " + choice.shortText());
}

}  // namespace nibble
