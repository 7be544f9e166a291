// SPDX-License-Identifier: GPL-3.0-or-later
// bench: speed as multiples of one memory read, measured in one interleaved run; and what the CUDA kernels move, counted under
// the emulator.
#include "core/run/bench.h"

#include "app/program.h"
#include "app/text_table.h"
#include "kernels/backend.h"
#include "kernels/emulator/traffic.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <optional>
#include <regex>

namespace nibble::cli {
namespace {

struct Options {
  std::string filter;
  bool json = false;
};

using Traffic = std::vector<kernels::TrafficRow>;

nlohmann::ordered_json trafficJson(const Traffic& traffic) {
  auto rows = nlohmann::ordered_json::array();
  for (const kernels::TrafficRow& row : traffic)
    rows.push_back({{"name", row.name},
                    {"bytesNeeded", row.needed},
                    {"bytesMoved", row.moved},
                    {"sectorUse", row.sectorUse},
                    {"bankConflicts", row.conflictShare},
                    {"holds", row.holds()}});
  return rows;
}

std::string trafficText(const Traffic& traffic) {
  TextTable table(
      {{"CUDA kernel"}, {"needed", true}, {"moved", true}, {"ratio", true}, {"sectors used", true}, {"conflicts", true}, {""}});
  for (const kernels::TrafficRow& row : traffic)
    table.add({row.name, decimals(row.needed, 0), decimals(row.moved, 0), decimals(row.moved / row.needed, 3),
               decimals(100 * row.sectorUse, 1) + " %", decimals(100 * row.conflictShare, 1) + " %",
               row.holds() ? "met" : "missed"});
  return "bytes the CUDA kernels move, counted by emulation without caches; no time was measured on a GPU\n\n" + table.text();
}

// The rows of traffic that the filter finds. A filter that is no regular expression is bench's to refuse.
Traffic trafficFor(const std::string& filter) try {
  const std::regex pattern(filter, std::regex::ECMAScript);
  return kernels::countTraffic([&](const std::string& name) { return std::regex_search(name, pattern); });
} catch (const std::regex_error&) {
  return {};
}

bool findsTimedRow(const std::string& filter) {
  const std::regex pattern(filter, std::regex::ECMAScript);
  const auto names = benchRowNames();
  return std::any_of(names.begin(), names.end(), [&](const std::string& name) { return std::regex_search(name, pattern); });
}

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
  const Traffic traffic = trafficFor(options.filter);
  if (!traffic.empty() && !findsTimedRow(options.filter)) {
    if (options.json)
      program.printJson({{"traffic", trafficJson(traffic)}});
    else
      program.print(trafficText(traffic));
    return ExitStatus::Done;
  }
  const auto report = bench(what, program.context());
  if (!report) return fail(report.error());
  if (options.json) {
    auto json = benchJson(*report);
    if (!traffic.empty()) json["traffic"] = trafficJson(traffic);
    program.printJson(json);
  } else {
    program.print(benchText(*report));
    if (!traffic.empty()) program.print("\n" + trafficText(traffic));
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
