// SPDX-License-Identifier: GPL-3.0-or-later
#include "ui/session/preflight.h"

#include "core/export/convert.h"
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

// The layer as it would be written: quantized, or a packed one said in the format's own way.
Result<std::shared_ptr<const QuantizedTensor>> layerFor(const OpenedFile& file, const std::string& name, const std::optional<Choice>& choice,
                                                        const Format& format, const Context& context) {
  if (!choice) {
    const WeightItem* item = file.weights->find(name);
    if (item == nullptr || !item->packed) return fail(name + ": is not a packed layer");
    auto packed = file.weights->readPacked(*item);
    if (!packed) return fail(packed.error());
    auto converted = convertFor(format, std::make_shared<const QuantizedTensor>(*std::move(packed)), context);
    if (!converted) return fail(converted.error().within(name));
    return converted->tensor;
  }
  const auto tensor = file.weights->read(name);
  if (!tensor) return fail(tensor.error());
  ReportOptions options;
  options.percentile = false;
  auto outcome = run(*tensor, *choice, context, options);
  if (!outcome) return fail(outcome.error());
  if (const auto refusal = format.refusal(*outcome->quantized)) return fail(name + ": " + *refusal);
  return outcome->quantized;
}

}  // namespace

Result<Preflight> preflightTable(const OpenedFile& file, const std::vector<std::string>& tensors, const std::optional<Choice>& choice,
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
    auto layer = layerFor(file, name, choice, format, quiet);
    if (!layer && layer.error().kind == ErrorKind::Cancelled) return cancelled();
    if (!layer) {
      table.problem = layer.error().message;
      return table;
    }
    kept.push_back(*std::move(layer));
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
