// SPDX-License-Identifier: GPL-3.0-or-later
// train PATH --tensor NAME --method METHOD: the stepper without a window.
#include "app/activation_options.h"
#include "app/program.h"
#include "app/train_options.h"
#include "app/train_output.h"
#include "core/export/staging.h"
#include "core/train/methods.h"
#include "core/train/trace.h"

#include <nlohmann/json.hpp>

#include <algorithm>

namespace nibble::cli {
namespace {

using train::Stepper;
using train::StepRecord;

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

// What is written while steps are made: a trace, and the run so far from time to time.
class Writing {
 public:
  explicit Writing(const TrainOptions& options) : m_options(options) {}
  Status open() {
    if (m_options.trace.empty()) return {};
    auto trace = train::TraceFile::create(m_options.trace);
    if (!trace) return fail(trace.error());
    m_trace = *std::move(trace);
    return {};
  }
  Status step(const StepRecord& record, const Stepper& stepper) {
    if (m_trace != nullptr) NIBBLE_TRY(m_trace->add(record, stepper.trainable()));
    if (m_options.checkpoint.empty() || record.step % m_options.checkpointEvery != 0) return {};
    return save(stepper);
  }
  // An error leaves the file as it was.
  Status save(const Stepper& stepper) {
    if (m_options.checkpoint.empty()) return {};
    if (const auto saved = stepper.save(m_options.checkpoint); !saved)
      return fail(saved.error().within("step " + std::to_string(stepper.position()) + " could not be saved" +
                                       (m_saved == 0 ? "" : ", step " + std::to_string(m_saved) + " still is")));
    m_saved = stepper.position();
    return {};
  }
  Status finish() { return m_trace == nullptr ? Status() : m_trace->finish(); }

 private:
  const TrainOptions& m_options;
  std::unique_ptr<train::TraceFile> m_trace;
  std::uint64_t m_saved = 0;
};

Status trainSteps(Stepper& stepper, const TrainOptions& options, const Context& context, TrainResult& result) {
  const auto before = stepper.trainable().evaluate(context);
  if (!before) return fail(before.error());
  result.startLoss = *before;
  if (!options.resume.empty()) NIBBLE_TRY(stepper.resume(options.resume));
  Writing writing(options);
  NIBBLE_TRY(writing.open());
  const std::uint64_t steps = stepper.settings().steps;
  context.addTotal(steps - std::min(steps, stepper.position()));
  const auto visit = [&](const StepRecord& record) {
    context.addDone(1);
    return writing.step(record, stepper);
  };
  const auto stop = stepper.runTo(steps, options.breakpoints(), context, visit);
  // What is done by now can be gone on from, also after Ctrl+C.
  const Status saved = writing.save(stepper);
  if (!stop) return fail(stop.error());
  NIBBLE_TRY(saved);
  NIBBLE_TRY(writing.finish());
  result.stop = *stop;
  result.stopDetail = stepper.notFinite();
  result.steps = stepper.records();
  return {};
}

Status writeOut(Stepper& stepper, const TrainOptions& options, const Context& context, TrainResult& result) {
  if (options.out.empty()) return {};
  auto staging = Staging::create(options.out, true);
  if (!staging) return fail(staging.error());
  const auto files = stepper.trainable().write(staging->place(""), context);
  if (!files) return fail(files.error().within(options.out));
  NIBBLE_TRY(staging->publish());
  result.out = options.out;
  result.files = *files;
  return {};
}

Result<ExitStatus> trainCommand(Program& program, const TrainOptions& options) {
  Context context = program.context();
  if (!options.out.empty()) NIBBLE_TRY(checkDestination(options.out, true));
  const auto inputs = openInputs(program, options, context);
  if (!inputs) return fail(inputs.error());
  if (!options.out.empty()) NIBBLE_TRY(checkNotSource(inputs->weights->checkpoint(), options.out));
  context.activations = &inputs->activations;
  const auto progress = program.showProgress("train");
  auto made = train::makeTrainable(inputs->job, context);
  if (!made) return fail(made.error());
  // Nothing here goes back: only the start is kept.
  Stepper stepper(*std::move(made), inputs->job.settings, inputs->job.tensors, 0);
  TrainResult result;
  NIBBLE_TRY(trainSteps(stepper, options, context, result));
  const auto loss = stepper.trainable().evaluate(context);
  if (!loss) return fail(loss.error());
  result.loss = *loss;
  auto figures = stepper.trainable().finalFigures(context);
  if (!figures) return fail(figures.error());
  result.figures = *std::move(figures);
  NIBBLE_TRY(writeOut(stepper, options, context, result));
  if (options.json)
    program.printJson(trainJson(result));
  else
    program.print(trainText(result));
  return result.stop == train::StopReason::Reached ? ExitStatus::Done : ExitStatus::CheckFailed;
}

}  // namespace

void addTrain(CLI::App& app, Action& chosen) {
  auto* command = app.add_subcommand("train", "Train adapters or bits of one layer, step by step");
  const auto options = std::make_shared<TrainOptions>();
  options->add(*command);
  command->callback([&chosen, options] { chosen = [options](Program& program) { return trainCommand(program, *options); }; });
}

}  // namespace nibble::cli
