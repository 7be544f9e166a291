// SPDX-License-Identifier: GPL-3.0-or-later
// What a person chooses on the Train page, as one table: each option's key is that of `nibblescope-cli train --KEY`, its text is
// kept in the session's view options under "train.KEY" (so undo and session files have it), and its default is that of
// TrainSettings. The form, the settings of a run and the command line follow from the table. Pure functions of the state.
#pragma once
#include "core/train/stepper.h"
#include "ui/session/session_state.h"

#include <QString>
#include <span>

namespace nibble {

struct TrainOption {
  enum class Kind : std::uint8_t { Choice, Number, Count, Flag, File };
  enum class For : std::uint8_t { All, Adapters, Bits };
  const char* key;
  const char* label;  // for tr() in context "Train"
  const char* help;
  Kind kind;
  For methods;
  std::string (*get)(const train::TrainSettings&);
  bool (*set)(train::TrainSettings&, const std::string& text);  // false: the text is no such value
  std::vector<std::string> (*choices)();                        // of Choice; else null
  bool always = false;                                          // the command line names it even where it is the default
};

std::span<const TrainOption> trainOptions();
const TrainOption* findTrainOption(const std::string& key);
bool appliesTo(const TrainOption& option, const std::string& method);

// The text that is chosen for an option, else its default.
std::string trainText(const SessionState& state, const TrainOption& option);
// All of them as settings, with the Scheme dock's choice as base where the method quantizes its base. A text that is no value
// counts as the default.
train::TrainSettings trainSettings(const SessionState& state);
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
