// SPDX-License-Identifier: GPL-3.0-or-later
#include "ui/session/trained.h"

#include "core/run/recipe.h"
#include "ui/session/session.h"
#include "ui/session/training.h"

#include <algorithm>

namespace nibble {
namespace {

namespace fs = std::filesystem;

// Adapters write merged weights, learned bits weights with a recipe, packed weights themselves.
fs::path weightsIn(const fs::path& folder) {
  for (const char* name : {"weights.safetensors", "packed.safetensors", "merged.safetensors"}) {
    std::error_code error;
    if (fs::exists(folder / name, error)) return folder / name;
  }
  return folder;
}

std::optional<Choice> learnedChoice(const fs::path& folder, const SessionState& state) {
  const auto recipe = Recipe::read(folder / "recipe.json");
  if (!recipe) return std::nullopt;
  const auto chosen = recipe->choose(*state.file->weights, {state.tensor}, false);
  if (!chosen) return std::nullopt;
  for (const auto& [name, choice] : *chosen)
    if (name == state.tensor) return choice;
  return std::nullopt;
}

}  // namespace

void openTrained(Session& session, const QString& folder, Page page) {
  const fs::path place = folder.toStdString();
  const SessionState before = session.state();
  session.openWith(QString::fromStdString(weightsIn(place).string()), [place, page, before](SessionState& state) {
    if (state.file->find(before.tensor) != nullptr) state.tensor = before.tensor;
    state.selection.clear();
    for (const auto& name : trainTensors(before))
      if (state.file->find(name) != nullptr) state.selection.push_back(name);
    if (state.selection.empty()) state.selection = {state.tensor};
    state.page = page;
    state.exporting.selectionOnly = true;
    const auto choice = learnedChoice(place, state);
    if (!choice) return;
    state.choose(*choice);
    const auto known = std::find_if(state.candidates.begin(), state.candidates.end(), [&](const Candidate& candidate) { return candidate.choice.text() == choice->text(); });
    if (known == state.candidates.end()) state.candidates.push_back({*choice, true});
  });
}

}  // namespace nibble
