// SPDX-License-Identifier: GPL-3.0-or-later
#include "app/train_run.h"

#include "core/export/staging.h"
#include "core/train/methods.h"
#include "core/train/trace.h"

#include <algorithm>

namespace nibble::cli {
namespace {

using train::Stepper;
using train::StepRecord;

// What is written while steps are made: a trace, and the run so far from time to time.
class Writing {
 public:
  explicit Writing(const TrainFiles& files) : m_files(files) {}
  Status open() {
    if (m_files.trace.empty()) return {};
    auto trace = train::TraceFile::create(m_files.trace);
    if (!trace) return fail(trace.error());
    m_trace = *std::move(trace);
    return {};
  }
  Status step(const StepRecord& record, const Stepper& stepper) {
    if (m_trace != nullptr) NIBBLE_TRY(m_trace->add(record, stepper.trainable()));
    if (m_files.checkpoint.empty() || record.step % m_files.checkpointEvery != 0) return {};
    return save(stepper);
  }
  // An error leaves the file as it was.
  Status save(const Stepper& stepper) {
    if (m_files.checkpoint.empty()) return {};
    if (const auto saved = stepper.save(m_files.checkpoint); !saved)
      return fail(saved.error().within("step " + std::to_string(stepper.position()) + " could not be saved" +
                                       (m_saved == 0 ? "" : ", step " + std::to_string(m_saved) + " still is")));
    m_saved = stepper.position();
    return {};
  }
  Status finish() { return m_trace == nullptr ? Status() : m_trace->finish(); }

 private:
  const TrainFiles& m_files;
  std::unique_ptr<train::TraceFile> m_trace;
  std::uint64_t m_saved = 0;
};

Status trainSteps(Stepper& stepper, const train::Breakpoints& breakpoints, const TrainFiles& files, const Context& context, TrainResult& result) {
  const auto before = stepper.trainable().evaluate(context);
  if (!before) return fail(before.error());
  result.startLoss = *before;
  if (!files.resume.empty()) NIBBLE_TRY(stepper.resume(files.resume));
  Writing writing(files);
  NIBBLE_TRY(writing.open());
  const std::uint64_t steps = stepper.settings().steps;
  context.addTotal(steps - std::min(steps, stepper.position()));
  const auto visit = [&](const StepRecord& record) {
    context.addDone(1);
    return writing.step(record, stepper);
  };
  const auto stop = stepper.runTo(steps, breakpoints, context, visit);
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

Status writeOut(Stepper& stepper, const TrainFiles& files, const Context& context, TrainResult& result) {
  if (files.out.empty()) return {};
  auto staging = Staging::create(files.out, true);
  if (!staging) return fail(staging.error());
  const auto written = stepper.trainable().write(staging->place(""), context);
  if (!written) return fail(written.error().within(files.out));
  NIBBLE_TRY(staging->publish());
  result.out = files.out;
  result.files = *written;
  return {};
}

}  // namespace

Result<TrainResult> trainRun(const train::TrainJob& job, const train::Breakpoints& breakpoints, const TrainFiles& files,
                             const Context& context) {
  auto made = train::makeTrainable(job, context);
  if (!made) return fail(made.error());
  // Nothing here goes back: only the start is kept.
  Stepper stepper(*std::move(made), job.settings, job.tensors, 0);
  TrainResult result;
  NIBBLE_TRY(trainSteps(stepper, breakpoints, files, context, result));
  const auto loss = stepper.trainable().evaluate(context);
  if (!loss) return fail(loss.error());
  result.loss = *loss;
  auto figures = stepper.trainable().finalFigures(context);
  if (!figures) return fail(figures.error());
  result.figures = *std::move(figures);
  NIBBLE_TRY(writeOut(stepper, files, context, result));
  return result;
}

}  // namespace nibble::cli
