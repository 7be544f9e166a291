// SPDX-License-Identifier: GPL-3.0-or-later
// bench: speed as multiples of one memory read, measured in one interleaved run.
#include "core/run/bench.h"

#include "app/program.h"
#include "app/text_table.h"
#include "kernels/backend.h"

#include <nlohmann/json.hpp>

namespace nibble::cli {
namespace {

struct Options {
  std::string filter;
  bool json = false;
};

nlohmann::ordered_json benchJson(const BenchReport& report) {
  nlohmann::ordered_json json;
  json["read"] = {{"gbPerSecond", report.gbPerSecond}, {"bestPlainGbPerSecond", report.bestPlainGbPerSecond}};
  json["backend"] = report.backend;
  json["rows"] = nlohmann::ordered_json::array();
  for (const BenchRow& row : report.rows)
    json["rows"].push_back({{"name", row.name},
                            {"weights", row.weights},
                            {"seconds", row.seconds},
                            {"timesRead", row.timesRead},
                            {"weightsPerSecond", row.weightsPerSecond}});
  return json;
}

std::string benchText(const BenchReport& report) {
  TextTable table({{"work"}, {"weights", true}, {"ms", true}, {"x read", true}, {"Mw/s", true}, {"goal", true}, {""}});
  for (const BenchRow& row : report.rows)
    table.add({row.name, std::to_string(row.weights), decimals(row.seconds * 1e3, 2), decimals(row.timesRead, 2),
               decimals(row.weightsPerSecond / 1e6, 0), row.goal > 0 ? "<= " + decimals(row.goal, 1) : "",
               row.goal == 0               ? ""
               : row.timesRead <= row.goal ? "met"
                                           : "missed"});
  return "read " + decimals(report.gbPerSecond, 1) + " GB/s (R; best plain loop " + decimals(report.bestPlainGbPerSecond, 1) +
         " GB/s), " + report.backend + "\n\n" + table.text();
}

Result<ExitStatus> benchCommand(Program& program, const Options& options) {
  BenchOptions what;
  what.filter = options.filter;
  const auto progress = program.showProgress("bench");
  const auto report = bench(what, program.context());
  if (!report) return fail(report.error());
  if (options.json) {
    program.printJson(benchJson(*report));
  } else {
    program.print(benchText(*report));
  }
  if (report->readIsTrusted()) return ExitStatus::Done;
  program.warn("the read all rows are measured by is below 80 % of the best plain read loop of this run");
  return ExitStatus::CheckFailed;
}

}  // namespace

void addBench(CLI::App& app, Action& chosen) {
  auto* command = app.add_subcommand("bench", "Speed as multiples of one memory read");
  const auto options = std::make_shared<Options>();
  command->add_option("--filter", options->filter, "Rows whose name the regular expression finds")->type_name("REGEX");
  command->add_flag("--json", options->json, "One JSON document");
  command->callback([&chosen, options] { chosen = [options](Program& program) { return benchCommand(program, *options); }; });
}

}  // namespace nibble::cli
