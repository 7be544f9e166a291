// SPDX-License-Identifier: GPL-3.0-or-later
// What a person may choose about a training run, as one table: each option's key is that of `nibblescope-cli train --KEY` and,
// behind "train.", of the Train page and of session files; its text form is the same everywhere. The command line, the page's
// form, saved sessions and the command that the page copies follow from it. Only the base (a scheme) and the tensors stand
// beside it. Adding an option: a member of TrainSettings and a line here. Pure functions.
#pragma once
#include "core/base/result.h"
#include "core/train/methods.h"

#include <map>
#include <span>
#include <string>
#include <vector>

namespace nibble::train {

struct TrainOption {
  enum class Kind : std::uint8_t { Choice, Number, Count, Flag, Words, File };  // Flag: "yes" or "no"; Words: between blanks
  const char* key;
  const char* label;
  const char* help;
  Kind kind;
  unsigned methods;  // forKind(MethodKind) together
  std::string (*get)(const TrainSettings&);
  bool (*set)(TrainSettings&, const std::string& text);  // false: the text is no such value
  std::vector<std::string> (*choices)();                 // of Choice; else null
  bool always = false;                                   // a copied command names it even where it is the default
  bool (*matters)(const TrainSettings&) = nullptr;       // null: whatever else is chosen
};
constexpr unsigned forKind(MethodKind kind) {
  return 1u << static_cast<unsigned>(kind);
}

std::span<const TrainOption> trainOptions();
const TrainOption* findTrainOption(std::string_view key);
// Whether the option does anything in a run with these settings.
bool applies(const TrainOption& option, const TrainSettings& settings);

struct ChosenSettings {
  TrainSettings settings;
  std::vector<std::string> refused;  // keys whose text is no value; they count as not given
  std::vector<std::string> idle;     // keys that mean nothing to the method and would change something; likewise
};
// From the texts that are given, by key; the rest is the method's default (defaultSettings), but: alpha is the rank (a scale of
// 1) where it is not given, and 1 for document 000, which multiplies the output by it. Unknown keys are left out.
ChosenSettings chosenSettings(const std::map<std::string, std::string>& texts);

}  // namespace nibble::train
