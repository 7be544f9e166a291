// SPDX-License-Identifier: GPL-3.0-or-later
// Training as a session has it: options of core/train/train_options.h are kept in the view options under "train.KEY", so undo
// and session files have them; the base is the Scheme dock's choice. Pure functions of the state.
#pragma once
#include "core/train/stepper.h"
#include "core/train/train_options.h"
#include "ui/session/session_state.h"

#include <QString>

namespace nibble {

// The text that is chosen for an option, else what it is in these settings of the state.
std::string trainText(const SessionState& state, const train::TrainOption& option, const train::TrainSettings& settings);
// All of them as settings, with the Scheme dock's choice as base where the method quantizes its base. A text that is no value
// counts as the default.
train::TrainSettings trainSettings(const SessionState& state);
// What trains: the current tensor, or with methods that train several, all selected matrices.
std::vector<std::string> trainTensors(const SessionState& state);
train::Breakpoints trainBreakpoints(const SessionState& state);
// One run of the page: what is chosen, and its kin on the same data.
struct PlannedRun {
  train::TrainSettings settings;
  bool reference = false;  // the same in another number type: drawn dashed
  bool operator==(const PlannedRun&) const = default;
};
// The chosen run first; with "side by side", every other adapter and, for narrow types, the chosen one in f32.
std::vector<PlannedRun> plannedRuns(const SessionState& state);
bool sideBySide(const SessionState& state);

QString trainCommand(const SessionState& state);  // "nibblescope-cli train ..."; empty: nothing to train

}  // namespace nibble
