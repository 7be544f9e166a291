// SPDX-License-Identifier: GPL-3.0-or-later
// A training run from its start, or from where a saved one stands, to its end, with what is written on the way.
#pragma once
#include "app/train_output.h"
#include "core/train/stepper.h"

namespace nibble::cli {

struct TrainFiles {
  std::string trace, out, checkpoint, resume;  // empty: not wanted
  std::uint64_t checkpointEvery = 50;
};

// Errors leave `checkpoint` at the last step that could be saved, and no `out`.
Result<TrainResult> trainRun(const train::TrainJob& job, const train::Breakpoints& breakpoints, const TrainFiles& files,
                             const Context& context);

}  // namespace nibble::cli
