// SPDX-License-Identifier: GPL-3.0-or-later
#include "ui/session/preflight.h"

#include "core/formats/model_rules.h"
#include "core/run/run.h"

#include <algorithm>
#include <set>

namespace nibble {
namespace {

// One tensor of each shape first, then the rest, as far as the limit goes.
std::vector<std::string> sampleOf(const OpenedFile& file, const std::vector<std::string>& tensors, std::uint64_t mostWeights) {
  std::set<Shape> seen;
  std::vector<std::string> first, rest;
  for (const auto& name : tensors) {
    const auto* item = file.find(name);
    (item != nullptr && seen.insert(item->shape).second ? first : rest).push_back(name);
  }
  first.insert(first.end(), rest.begin(), rest.end());
  std::vector<std::string> sample;
  std::uint64_t weights = 0;
  for (const auto& name : first) {
    const auto* item = file.find(name);
    const std::uint64_t count = item != nullptr ? elementCount(item->shape) : 0;
    if (!sample.empty() && weights + count > mostWeights) continue;
    weights += count;
    sample.push_back(name);
  }
  return sample;
}

// The layer's bias, where the file has one.
std::optional<Tensor> biasOf(const OpenedFile& file, const std::string& name) {
  constexpr std::string_view suffix = ".weight";
  if (!name.ends_with(suffix)) return std::nullopt;
  const std::string bias = name.substr(0, name.size() - suffix.size()) + ".bias";
  if (file.find(bias) == nullptr) return std::nullopt;
  auto tensor = file.weights->read(bias);
  return tensor ? std::optional<Tensor>(*tensor) : std::nullopt;
}

void addRules(Preflight& table, std::size_t column, const std::vector<RuleResult>& rules) {
  for (const auto& rule : rules) {
    auto row = std::find_if(table.rows.begin(), table.rows.end(), [&](const auto& known) { return known.rule == rule.rule; });
    if (row == table.rows.end()) {
      table.rows.push_back({rule.rule, {}, {}, std::vector<PreflightRow::Answer>(table.runtimes.size())});
      row = table.rows.end() - 1;
    }
    if (row->detail.empty()) row->detail = rule.detail;
    if (row->source.empty()) row->source = rule.source;
    row->answers[column] = {rule.asked, rule.ok, rule.detail};
    if (rule.asked && !rule.ok) row->detail = rule.detail;
  }
}

}  // namespace

Result<Preflight> preflightTable(const OpenedFile& file, const std::vector<std::string>& tensors, const Choice& choice,
                                 const Format& format, const Context& context, std::uint64_t mostWeights) {
  Preflight table;
  table.layers = tensors.size();
  const auto sample = sampleOf(file, tensors, mostWeights);
  context.addTotal(sample.size());
  Context quiet = context;
  quiet.progress = nullptr;
  std::vector<std::shared_ptr<const QuantizedTensor>> kept;
  std::vector<ExportLayer> layers;
  for (const auto& name : sample) {
    const auto tensor = file.weights->read(name);
    if (!tensor) return fail(tensor.error());
    ReportOptions options;
    options.percentile = false;
    auto outcome = run(*tensor, choice, quiet, options);
    if (!outcome && outcome.error().kind == ErrorKind::Cancelled) return cancelled();
    if (!outcome) {
      table.problem = outcome.error().message;
      return table;
    }
    if (const auto refusal = format.refusal(*outcome->quantized)) {
      table.problem = name + ": " + *refusal;
      return table;
    }
    kept.push_back(outcome->quantized);
    layers.push_back({name, kept.back().get(), biasOf(file, name)});
    context.addDone(1);
  }
  table.checkedLayers = layers.size();
  for (const auto runtime : format.info().runtimes) table.runtimes.emplace_back(runtime);
  if (table.runtimes.empty()) table.runtimes.emplace_back();
  for (std::size_t i = 0; i < table.runtimes.size(); ++i) {
    std::vector<RuleResult> rules = format.preflight(table.runtimes[i], layers);
    if (!table.runtimes[i].empty())
      for (RuleResult& rule : modelRules(table.runtimes[i], layers, {file.weights->checkpoint().configText(), {}, 1}))
        rules.push_back(std::move(rule));
    addRules(table, i, rules);
  }
  return table;
}

}  // namespace nibble
