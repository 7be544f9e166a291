// SPDX-License-Identifier: GPL-3.0-or-later
// info PATH: what is in the file; values are read only for --stats and --lint.
#include "app/program.h"
#include "app/selection_options.h"
#include "app/text_table.h"
#include "core/base/text.h"
#include "core/report/lint.h"
#include "core/report/statistics.h"

#include <nlohmann/json.hpp>

namespace nibble::cli {
namespace {

using Json = nlohmann::ordered_json;

struct Options {
  SelectionOptions selection;
  bool stats = false, lint = false, json = false;
};

struct Inspected {
  std::vector<TensorStatistics> statistics;  // one per item, or none at all
  std::vector<Finding> findings;
};

bool countsAsFloat(const WeightItem& item) {
  return item.packed || info(item.type).floating;
}

// Codes of packed layers and integer tensors are no weights: the rules are about weights.
std::vector<TensorEntry> entriesToLint(const WeightList& weights) {
  std::vector<TensorEntry> entries;
  for (const WeightItem& item : weights.items())
    if (!item.packed) entries.push_back(weights.checkpoint().entries()[item.entry]);
  return entries;
}

Status inspectItem(const WeightList& weights, const WeightItem& item, const Options& options, const Context& context,
                   Inspected& out) {
  const auto tensor = weights.read(item.name);
  if (!tensor) return fail(tensor.error());
  if (options.stats) {
    auto statistics = tensorStatistics(*tensor, context);
    if (!statistics) return fail(statistics.error());
    out.statistics.push_back(*statistics);
  }
  if (options.lint && countsAsFloat(item)) {
    auto findings = lintValues(*tensor, context);
    if (!findings) return fail(findings.error());
    out.findings.insert(out.findings.end(), findings->begin(), findings->end());
  }
  return {};
}

Result<Inspected> inspectValues(const WeightList& weights, const Options& options, const Context& context) {
  Inspected out;
  out.findings = lintReadings(weights.packedLayers());
  if (!options.stats && !options.lint) return out;
  if (options.lint) {
    const auto headers = lintHeaders(entriesToLint(weights));
    out.findings.insert(out.findings.end(), headers.begin(), headers.end());
  }
  for (const WeightItem& item : weights.items()) context.addTotal(elementCount(item.shape));
  Context quiet = context;
  quiet.progress = nullptr;
  for (const WeightItem& item : weights.items()) {
    if (context.stopRequested()) return cancelled();
    NIBBLE_TRY(inspectItem(weights, item, options, quiet, out));
    context.addDone(elementCount(item.shape));
  }
  return out;
}

std::string quantizedAs(const WeightList& weights, const WeightItem& item) {
  return item.packed ? weights.packedLayers()[*item.packed].layer.description : std::string();
}

Json statisticsJson(const TensorStatistics& statistics) {
  return {{"min", statistics.min},
          {"max", statistics.max},
          {"mean", statistics.mean},
          {"std", statistics.std},
          {"absMax", statistics.absMax},
          {"zeros", statistics.zeros},
          {"nonFinite", statistics.nonFinite},
          {"p01", statistics.p01},
          {"p99", statistics.p99},
          {"kurtosis", statistics.kurtosis}};
}

Json infoJson(const std::string& path, const WeightList& weights, const Inspected& inspected) {
  Json json;
  json["path"] = path;
  json["format"] = weights.checkpoint().format();
  json["tensors"] = Json::array();
  for (std::size_t i = 0; i < weights.items().size(); ++i) {
    const WeightItem& item = weights.items()[i];
    Json tensor{{"name", item.name}, {"dtype", info(item.type).name}, {"shape", item.shape}, {"sizeBytes", item.sizeBytes}};
    if (item.packed) {
      tensor["quantizedAs"] = quantizedAs(weights, item);
      tensor["bitsPerWeight"] = item.bitsPerWeight();
      const PackedLayer& layer = weights.packedLayers()[*item.packed].layer;
      if (!layer.doubt.empty()) tensor["readings"] = layer.readings;
    }
    if (!inspected.statistics.empty()) tensor["stats"] = statisticsJson(inspected.statistics[i]);
    json["tensors"].push_back(std::move(tensor));
  }
  json["metadata"] = Json::object();
  for (const auto& [key, value] : weights.checkpoint().metadata()) json["metadata"][key] = value;
  json["findings"] = Json::array();
  for (const Finding& finding : inspected.findings)
    json["findings"].push_back({{"severity", name(finding.severity)}, {"tensor", finding.tensor}, {"what", finding.what}});
  return json;
}

std::string tensorTable(const WeightList& weights, const Inspected& inspected) {
  const bool stats = !inspected.statistics.empty();
  std::vector<TableColumn> columns{{"tensor"}, {"type"}, {"shape"}, {"size", true}, {"bits/weight", true}};
  if (stats)
    for (const char* title : {"min", "1 %", "mean", "99 %", "max", "std", "kurtosis", "zeros", "not finite"})
      columns.push_back({title, true});
  TextTable table(std::move(columns));
  for (std::size_t i = 0; i < weights.items().size(); ++i) {
    const WeightItem& item = weights.items()[i];
    std::vector<std::string> cells{item.name, item.packed ? quantizedAs(weights, item) : std::string(info(item.type).name),
                                   toText(item.shape), text::byteSize(item.sizeBytes), decimals(item.bitsPerWeight(), 3)};
    if (stats) {
      const TensorStatistics& s = inspected.statistics[i];
      for (const double value : {double(s.min), s.p01, s.mean, s.p99, double(s.max), s.std, s.kurtosis})
        cells.push_back(figure(value));
      cells.push_back(text::number(s.zeros));
      cells.push_back(text::number(s.nonFinite));
    }
    table.add(std::move(cells));
  }
  return table.text();
}

std::string infoText(const Options& options, const WeightList& weights, const Inspected& inspected) {
  std::uint64_t bytes = 0;
  for (const WeightItem& item : weights.items()) bytes += item.sizeBytes;
  std::string out = options.selection.path + ": " + std::string(weights.checkpoint().format()) + ", " +
                    text::number(std::uint64_t{weights.items().size()}) +
                    (weights.items().size() == 1 ? " tensor, " : " tensors, ") + text::byteSize(bytes) + "\n";
  for (const auto& [key, value] : weights.checkpoint().metadata()) out += oneLine(key) + ": " + oneLine(value) + "\n";
  out += "\n" + tensorTable(weights, inspected);
  if (!options.lint && inspected.findings.empty()) return out;
  out += inspected.findings.empty() ? "\nno findings\n" : "\n";
  for (const Finding& finding : inspected.findings)
    out += std::string(name(finding.severity)) + ": " + oneLine(finding.tensor) + (finding.tensor.empty() ? "" : ": ") +
           oneLine(finding.what) + "\n";
  return out;
}

Result<ExitStatus> infoCommand(Program& program, const Options& options) {
  const Context context = program.context();
  const auto weights = options.selection.open(context);
  if (!weights) return fail(weights.error());
  const auto progress = program.showProgress("info");
  const auto inspected = inspectValues(**weights, options, context);
  if (!inspected) return fail(inspected.error());
  if (options.json) {
    program.printJson(infoJson(options.selection.path, **weights, *inspected));
  } else {
    program.print(infoText(options, **weights, *inspected));
  }
  return ExitStatus::Done;
}

}  // namespace

void addInfo(CLI::App& app, Action& chosen) {
  auto* command = app.add_subcommand("info", "What is in a checkpoint");
  const auto options = std::make_shared<Options>();
  options->selection.addPath(*command);
  command->add_flag("--stats", options->stats, "Read all values: range, moments, percentiles");
  command->add_flag("--lint", options->lint, "Read all values: what may go wrong");
  command->add_flag("--json", options->json, "One JSON document");
  command->callback([&chosen, options] { chosen = [options](Program& program) { return infoCommand(program, *options); }; });
}

}  // namespace nibble::cli
