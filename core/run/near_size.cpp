// SPDX-License-Identifier: GPL-3.0-or-later
#include "core/run/near_size.h"

#include "core/quant/layout.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

namespace nibble {
namespace {

constexpr std::uint64_t sampleRows = 32;
constexpr double farthest = 0.5;
constexpr std::array<std::string_view, 9> sizeKeys = {"bits", "group", "block", "granularity", "element", "nested", "bpw", "mix", "type"};

Result<Tensor> firstRows(const Tensor& tensor) {
  const std::uint64_t rows = std::min(tensor.rows(), sampleRows);
  std::vector<float> values(rows * tensor.columns());
  NIBBLE_TRY(tensor.read(0, values));
  return Tensor::fromFloats(tensor.name(), {rows, tensor.columns()}, std::move(values));
}

std::vector<SettingValue> offers(const SettingInfo& info) {
  if (info.type == SettingType::Boolean) return {false, true};
  return !info.offers.empty() ? info.offers : info.choices;
}

// Whether the setting means anything beside the others.
bool isIdle(const SettingInfo& info, const Choice& choice) {
  if (info.onlyKey.empty() || !choice.has(info.onlyKey)) return false;
  return std::find(info.onlyValues.begin(), info.onlyValues.end(), choice.value(info.onlyKey)) == info.onlyValues.end();
}

// The scheme under every combination of the settings that decide its size.
std::vector<Choice> combinations(const Scheme& scheme) {
  std::vector<Choice> choices = {Choice(scheme)};
  for (const auto& info : scheme.settings()) {
    if (std::find(sizeKeys.begin(), sizeKeys.end(), info.key) == sizeKeys.end()) continue;
    std::vector<Choice> next;
    for (const auto& choice : choices) {
      if (isIdle(info, choice)) next.push_back(choice);
      else
        for (const auto& value : offers(info))
          if (auto changed = choice.with(info.key, value)) next.push_back(*changed);
    }
    if (!next.empty()) choices = std::move(next);
  }
  return choices;
}

}  // namespace

std::optional<Choice> fittingChoice(const Scheme& scheme, MatrixSize size) {
  const Choice plain(scheme);
  if (!plain.refusal(size)) return plain;
  for (const auto& info : scheme.settings())
    for (const auto& value : offers(info))
      if (auto changed = plain.with(info.key, value); changed && !changed->refusal(size)) return *changed;
  return std::nullopt;
}

Result<std::vector<Choice>> nearSize(const Tensor& tensor, double wanted, const Context& context) {
  auto sample = firstRows(tensor);
  if (!sample) return fail(sample.error());
  Context quiet = context;
  quiet.progress = nullptr;
  context.addTotal(allSchemes().size());
  std::vector<Choice> nearest;
  for (const Scheme* scheme : allSchemes()) {
    std::optional<Choice> best;
    double bestMiss = farthest;
    for (const auto& choice : combinations(*scheme)) {
      if (context.stopRequested()) return cancelled();
      if (choice.refusal({tensor.rows(), tensor.columns()}) || choice.refusal({sample->rows(), sample->columns()})) continue;
      const auto quantized = scheme->quantize(*sample, choice.values(), quiet);
      if (!quantized && quantized.error().kind == ErrorKind::Cancelled) return cancelled();
      if (!quantized) continue;
      const double miss = std::abs(nibble::bitsPerWeight(*quantized) - wanted);
      if (miss < bestMiss) {
        bestMiss = miss;
        best = choice;
      }
    }
    if (best) nearest.push_back(*best);
    context.addDone(1);
  }
  return nearest;
}

}  // namespace nibble
