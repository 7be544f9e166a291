// SPDX-License-Identifier: GPL-3.0-or-later
// compare PATH SCHEME...: every candidate on every selected tensor.
#include "core/run/compare.h"
#include "app/activation_options.h"
#include "app/compare_output.h"
#include "app/program.h"
#include "app/selection_options.h"
#include "core/schemes/gguf_mixes.h"
#include "kernels/backend.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <iterator>

namespace nibble::cli {
namespace {

struct Options {
  SelectionOptions selection;
  std::vector<std::string> schemes, variations;
  int histogramBins = 0;
  std::string reference;
  ActivationOptions activations;
  bool json = false, csv = false, tsv = false;
};

bool isMix(const std::string& text) {
  const auto names = mixNames();
  return std::find(names.begin(), names.end(), text) != names.end();
}

Result<std::vector<Choice>> choices(const Options& options) {
  std::vector<Choice> parsed;
  for (const std::string& text : options.schemes) {
    if (isMix(text)) continue;
    auto choice = Choice::parse(text);
    if (!choice) return fail(choice.error());
    parsed.push_back(*std::move(choice));
  }
  if (options.variations.empty()) return parsed;
  std::vector<Variation> variations;
  for (const std::string& text : options.variations) {
    auto variation = Variation::parse(text);
    if (!variation) return fail(variation.error().within("--vary"));
    variations.push_back(*std::move(variation));
  }
  return vary(parsed, variations);
}

// What a job borrows lives here until the work is done.
struct Inputs {
  std::unique_ptr<WeightList> weights, reference;
  std::vector<std::string> names;
  ActivationData activations;
};

Result<Inputs> openInputs(const Program& program, const Options& options, const Context& context) {
  Inputs inputs;
  auto weights = options.selection.open(context);
  if (!weights) return fail(weights.error());
  inputs.weights = *std::move(weights);
  if (!options.reference.empty()) {
    auto reference = openWeights(options.reference, context);
    if (!reference) return fail(reference.error());
    inputs.reference = *std::move(reference);
  }
  auto names = options.selection.select(*inputs.weights);
  if (!names) return fail(names.error().within(options.selection.path));
  inputs.names = *std::move(names);
  auto activations = options.activations.read(program, *inputs.weights, inputs.names);
  if (!activations) return fail(activations.error());
  inputs.activations = *std::move(activations);
  return inputs;
}

void print(Program& program, const Options& options, const std::vector<ComparedCandidate>& candidates) {
  if (options.json) {
    program.printJson(compareJson(options.selection.path, program.backend().name(), candidates));
  } else if (options.csv || options.tsv) {
    program.print(compareColumns(candidates, options.csv ? ',' : '\t'));
  } else {
    program.print(compareTable(candidates));
  }
}

Result<ExitStatus> compareCommand(Program& program, const Options& options) {
  auto parsed = choices(options);
  if (!parsed) return fail(parsed.error());
  Context context = program.context();
  auto inputs = openInputs(program, options, context);
  if (!inputs) return fail(inputs.error());
  context.activations = &inputs->activations;
  CompareJob job;
  job.weights = inputs->weights.get();
  job.tensors = inputs->names;
  job.choices = *std::move(parsed);
  std::copy_if(options.schemes.begin(), options.schemes.end(), std::back_inserter(job.mixes), isMix);
  job.skipRefused = !options.variations.empty();
  job.histogramBins = options.histogramBins;
  job.reference = inputs->reference.get();
  job.warn = [&program](const std::string& line) { program.warn(line); };
  const auto progress = program.showProgress("compare");
  const auto candidates = compare(job, context);
  if (!candidates) return fail(candidates.error());
  print(program, options, *candidates);
  return ExitStatus::Done;
}

}  // namespace

void addCompare(CLI::App& app, Action& chosen) {
  auto* command = app.add_subcommand("compare", "Candidates on tensors: size and error of each");
  const auto options = std::make_shared<Options>();
  options->selection.addPath(*command);
  command->add_option("SCHEME", options->schemes, "Candidates, as id:key=value,... or named mixes of llama.cpp (Q4_K_M)")->required();
  options->selection.addSelection(*command);
  command->add_option("--vary", options->variations, "Further candidates: key=a|b or key=lo..hi; repeatable")
      ->type_name("VARIATION")
      ->allow_extra_args(false);
  command->add_option("--histogram", options->histogramBins, "Error histogram of so many bins")
      ->type_name("BINS")
      ->check(CLI::Range(1, 65536));
  command->add_option("--reference", options->reference, "Errors against the tensors of this checkpoint")->type_name("PATH2");
  options->activations.add(*command);
  auto* json = command->add_flag("--json", options->json, "One JSON document");
  auto* csv = command->add_flag("--csv", options->csv, "Comma-separated columns");
  auto* tsv = command->add_flag("--tsv", options->tsv, "Tab-separated columns");
  json->excludes(csv)->excludes(tsv);
  csv->excludes(tsv);
  command->callback([&chosen, options] { chosen = [options](Program& program) { return compareCommand(program, *options); }; });
}

}  // namespace nibble::cli
