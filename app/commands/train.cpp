// SPDX-License-Identifier: GPL-3.0-or-later
// train PATH --tensor NAME --method METHOD: the stepper without a window.
#include "app/activation_options.h"
#include "app/program.h"
#include "app/train_options.h"
#include "app/train_run.h"
#include "core/export/staging.h"

#include <nlohmann/json.hpp>

namespace nibble::cli {
namespace {

// What a run needs to stay alive while its method is made.
struct Inputs {
  std::unique_ptr<WeightList> weights;
  ActivationData activations;
  train::TrainJob job;
};

Result<Inputs> openInputs(Program& program, const TrainOptions& options, const Context& context) {
  Inputs inputs;
  auto settings = options.settings([&program](const std::string& line) { program.warn(line); });
  auto weights = options.selection.open(context);
  if (!weights) return fail(weights.error());
  inputs.weights = *std::move(weights);
  auto names = options.selection.select(*inputs.weights);
  if (!names) return fail(names.error().within(options.selection.path));
  inputs.job = {inputs.weights.get(), *std::move(names), std::move(settings),
                [&program](const std::string& line) { program.warn(line); }};
  // Schemes that look at activations see those that train.
  if (!inputs.job.settings.adapter.base.empty()) {
    auto activations = options.activations.read(program, *inputs.weights, inputs.job.tensors);
    if (!activations) return fail(activations.error());
    inputs.activations = *std::move(activations);
  }
  return inputs;
}

Result<ExitStatus> trainCommand(Program& program, const TrainOptions& options) {
  Context context = program.context();
  if (!options.files.out.empty()) NIBBLE_TRY(checkDestination(options.files.out, true));
  const auto inputs = openInputs(program, options, context);
  if (!inputs) return fail(inputs.error());
  if (!options.files.out.empty()) NIBBLE_TRY(checkNotSource(inputs->weights->checkpoint(), options.files.out));
  context.activations = &inputs->activations;
  const auto progress = program.showProgress("train");
  const auto result = trainRun(inputs->job, options.breakpoints(), options.files, context);
  if (!result) return fail(result.error());
  if (options.json)
    program.printJson(trainJson(*result));
  else
    program.print(trainText(*result));
  return result->stop == train::StopReason::Reached ? ExitStatus::Done : ExitStatus::CheckFailed;
}

}  // namespace

void addTrain(CLI::App& app, Action& chosen) {
  auto* command = app.add_subcommand("train", "Train adapters or bits of one layer, step by step");
  const auto options = std::make_shared<TrainOptions>();
  options->add(*command);
  command->callback([&chosen, options] { chosen = [options](Program& program) { return trainCommand(program, *options); }; });
}

}  // namespace nibble::cli
