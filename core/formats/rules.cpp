// SPDX-License-Identifier: GPL-3.0-or-later
#include "core/formats/rules.h"

#include "core/base/text.h"

#include <algorithm>

namespace nibble::formats {
namespace {

std::vector<std::string> distinctValues(const std::vector<ExportLayer>& layers, std::string (*value)(const ExportLayer&)) {
  std::vector<std::string> values;
  for (const ExportLayer& layer : layers)
    if (std::string text = value(layer); std::find(values.begin(), values.end(), text) == values.end())
      values.push_back(std::move(text));
  return values;
}

}  // namespace

std::vector<RuleResult> apply(std::span<const Rule> rules, std::string_view runtime, const std::vector<ExportLayer>& layers) {
  std::vector<RuleResult> results;
  for (const Rule& rule : rules) {
    const bool asked =
        rule.runtimes.empty() || std::find(rule.runtimes.begin(), rule.runtimes.end(), runtime) != rule.runtimes.end();
    Verdict verdict = rule.check(layers);
    results.push_back({std::string(rule.text), asked, verdict.ok, std::move(verdict.detail), std::string(rule.source)});
  }
  return results;
}

std::string distinct(const std::vector<ExportLayer>& layers, std::string (*value)(const ExportLayer&)) {
  constexpr std::size_t mostNamed = 4;
  std::vector<std::string> values = distinctValues(layers, value);
  const std::size_t more = values.size() > mostNamed ? values.size() - mostNamed : 0;
  values.resize(values.size() - more);
  std::string joined = text::join(values, ", ");
  if (more != 0) joined += " and " + std::to_string(more) + " more";
  return joined;
}

Verdict sameOverLayers(const std::vector<ExportLayer>& layers, std::string (*value)(const ExportLayer&)) {
  return {distinctValues(layers, value).size() <= 1, distinct(layers, value)};
}

Verdict noneRefused(const std::vector<ExportLayer>& layers, std::optional<std::string> (*refusal)(const ExportLayer&),
                    std::string detailWhenOk) {
  for (const ExportLayer& layer : layers)
    if (auto reason = refusal(layer)) return {false, layer.name + ": " + *reason};
  return {true, std::move(detailWhenOk)};
}

Verdict namesEndInWeight(const std::vector<ExportLayer>& layers) {
  for (const ExportLayer& layer : layers)
    if (!layer.name.ends_with(".weight")) return {false, layer.name + " has no module name"};
  return {true, std::to_string(layers.size()) + (layers.size() == 1 ? " layer" : " layers")};
}

Verdict twoDimensional(const std::vector<ExportLayer>& layers) {
  return noneRefused(
      layers,
      [](const ExportLayer& layer) -> std::optional<std::string> {
        if (layer.tensor->shape.size() == 2) return std::nullopt;
        return toText(layer.tensor->shape) + " is not a matrix";
      },
      "[out, in]");
}

}  // namespace nibble::formats
