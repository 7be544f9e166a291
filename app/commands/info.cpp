// SPDX-License-Identifier: GPL-3.0-or-later
// info PATH: what is in the file; values are read only for --stats and --lint.
#include "app/program.h"
#include "app/selection_options.h"
#include "app/text_table.h"
#include "core/base/text.h"

#include <nlohmann/json.hpp>

namespace nibble::cli {
namespace {

using Json = nlohmann::ordered_json;

struct Options {
  SelectionOptions selection;
  bool json = false;
};

std::string quantizedAs(const WeightList& weights, const WeightItem& item) {
  return item.packed ? weights.packedLayers()[*item.packed].layer.description : std::string();
}

Json infoJson(const std::string& path, const WeightList& weights) {
  Json json;
  json["path"] = path;
  json["format"] = weights.checkpoint().format();
  json["tensors"] = Json::array();
  for (const WeightItem& item : weights.items()) {
    Json tensor{{"name", item.name}, {"dtype", info(item.type).name}, {"shape", item.shape}, {"sizeBytes", item.sizeBytes}};
    if (item.packed) {
      tensor["quantizedAs"] = quantizedAs(weights, item);
      tensor["bitsPerWeight"] = item.bitsPerWeight();
    }
    json["tensors"].push_back(std::move(tensor));
  }
  json["metadata"] = Json::object();
  for (const auto& [key, value] : weights.checkpoint().metadata()) json["metadata"][key] = value;
  json["findings"] = Json::array();
  return json;
}

std::string infoText(const std::string& path, const WeightList& weights) {
  std::uint64_t bytes = 0;
  TextTable table({{"tensor"}, {"type"}, {"shape"}, {"size", true}, {"bits/weight", true}});
  for (const WeightItem& item : weights.items()) {
    bytes += item.sizeBytes;
    table.add({item.name, item.packed ? quantizedAs(weights, item) : std::string(info(item.type).name), toText(item.shape),
               text::byteSize(item.sizeBytes), decimals(item.bitsPerWeight(), 3)});
  }
  std::string out = path + ": " + std::string(weights.checkpoint().format()) + ", " +
                    text::number(std::uint64_t{weights.items().size()}) + " tensors, " + text::byteSize(bytes) + "\n";
  for (const auto& [key, value] : weights.checkpoint().metadata()) out += oneLine(key) + ": " + oneLine(value) + "\n";
  return out + "\n" + table.text();
}

Result<ExitStatus> infoCommand(Program& program, const Options& options) {
  const auto weights = options.selection.open(program.context());
  if (!weights) return fail(weights.error());
  if (options.json) {
    program.printJson(infoJson(options.selection.path, **weights));
  } else {
    program.print(infoText(options.selection.path, **weights));
  }
  return ExitStatus::Done;
}

}  // namespace

void addInfo(CLI::App& app, Action& chosen) {
  auto* command = app.add_subcommand("info", "What is in a checkpoint");
  const auto options = std::make_shared<Options>();
  options->selection.addPath(*command);
  command->add_flag("--json", options->json, "One JSON document");
  command->callback([&chosen, options] {
    chosen = [options](Program& program) { return infoCommand(program, *options); };
  });
}

}  // namespace nibble::cli
