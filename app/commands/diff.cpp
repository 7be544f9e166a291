// SPDX-License-Identifier: GPL-3.0-or-later
// diff A B [--reference C]: two checkpoints tensor by tensor, packed layers decoded, ranked by how far they are apart.
#include "core/run/diff.h"
#include "app/program.h"
#include "app/selection_options.h"
#include "app/text_table.h"
#include "core/base/text.h"

#include <nlohmann/json.hpp>

namespace nibble::cli {
namespace {

using Json = nlohmann::ordered_json;

struct Options {
  SelectionOptions selection;  // of A
  std::string other, reference;
  bool json = false;
};

void addFigures(Json& json, const ErrorReport& report) {
  json["mse"] = report.mse();
  json["rmse"] = report.rmse();
  json["sqnrDb"] = report.sqnrDb();  // null where nothing differs: JSON has no infinity
  json["relativeFrobenius"] = report.relativeFrobenius();
  json["maxError"] = report.maxError();
  json["meanError"] = report.meanError();
  json["cosine"] = report.cosine();
}

Json rowJson(const DiffedTensor& row) {
  Json json{{"tensor", row.a.name}, {"a", row.a.storedAs}, {"b", row.b.storedAs}, {"shape", row.shape}};
  if (row.b.name != row.a.name) json["tensorInB"] = row.b.name;
  if (!row.a.reading.empty()) json["readingA"] = row.a.reading;
  if (!row.b.reading.empty()) json["readingB"] = row.b.reading;
  json["bitsPerWeight"] = {{"a", row.a.bitsPerWeight}, {"b", row.b.bitsPerWeight}};
  addFigures(json, row.difference);
  if (!row.aFromReference || !row.bFromReference) return json;
  json["reference"] = {{"a", Json::object()}, {"b", Json::object()}};
  addFigures(json["reference"]["a"], *row.aFromReference);
  addFigures(json["reference"]["b"], *row.bFromReference);
  const double a = row.aFromReference->mse(), b = row.bFromReference->mse();
  json["reference"]["nearer"] = a < b ? "a" : b < a ? "b" : "equal";
  return json;
}

std::string sideText(const DiffSide& side) {
  return side.storedAs + (side.reading.empty() ? "" : " read as " + side.reading);
}

std::string diffTable(const std::vector<DiffedTensor>& rows, bool reference) {
  std::vector<TableColumn> columns{{"tensor"}, {"A"}, {"B"}, {"MSE", true}, {"SQNR dB", true}, {"max error", true}};
  if (reference)
    for (const char* title : {"A: MSE", "A: SQNR dB", "B: MSE", "B: SQNR dB"}) columns.push_back({title, true});
  TextTable table(std::move(columns));
  for (const DiffedTensor& row : rows) {
    std::vector<std::string> cells{oneLine(row.a.name),
                                   sideText(row.a),
                                   sideText(row.b),
                                   figure(row.difference.mse()),
                                   decimals(row.difference.sqnrDb(), 2),
                                   figure(row.difference.maxError())};
    if (reference) {
      for (const auto* report : {&row.aFromReference, &row.bFromReference}) {
        cells.push_back(*report ? figure((*report)->mse()) : "-");
        cells.push_back(*report ? decimals((*report)->sqnrDb(), 2) : "-");
      }
    }
    table.add(std::move(cells));
  }
  return table.text();
}

Result<ExitStatus> diffCommand(Program& program, const Options& options) {
  const Context context = program.context();
  const auto a = options.selection.open(context);
  if (!a) return fail(a.error());
  const auto b = openWeights(options.other, context);
  if (!b) return fail(b.error());
  std::unique_ptr<WeightList> reference;
  if (!options.reference.empty()) {
    auto opened = openWeights(options.reference, context);
    if (!opened) return fail(opened.error());
    reference = *std::move(opened);
  }
  DiffJob job;
  job.a = a->get();
  job.b = b->get();
  job.reference = reference.get();
  job.warn = [&program](const std::string& line) { program.warn(line); };
  if (!options.selection.tensors.empty() || !options.selection.pattern.empty()) {
    auto names = options.selection.select(**a);
    if (!names) return fail(names.error().within(options.selection.path));
    job.tensors = *std::move(names);
  }
  const auto progress = program.showProgress("diff");
  const auto rows = diff(job, context);
  if (!rows) return fail(rows.error());
  if (options.json) {
    Json document = Json::array();
    for (const DiffedTensor& row : *rows) document.push_back(rowJson(row));
    program.printJson(document);
  } else {
    program.print(diffTable(*rows, job.reference != nullptr));
  }
  return ExitStatus::Done;
}

}  // namespace

void addDiff(CLI::App& app, Action& chosen) {
  auto* command = app.add_subcommand("diff", "Two checkpoints tensor by tensor, plain or packed, the farthest apart first");
  const auto options = std::make_shared<Options>();
  command->add_option("A", options->selection.path, "Checkpoint, as for the other commands")->required();
  command->add_option("B", options->other, "The one it is compared with")->required();
  options->selection.addSelection(*command);
  command->add_option("--reference", options->reference, "Also the error of each against this checkpoint")->type_name("C");
  command->add_flag("--json", options->json, "One JSON document");
  command->callback([&chosen, options] { chosen = [options](Program& program) { return diffCommand(program, *options); }; });
}

}  // namespace nibble::cli
