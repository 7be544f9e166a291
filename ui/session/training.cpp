// SPDX-License-Identifier: GPL-3.0-or-later
#include "ui/session/training.h"

#include "core/base/text.h"
#include "core/train/train_session.h"
#include "ui/session/shell_word.h"

#include <QStringList>
#include <algorithm>

namespace nibble {
namespace {

using train::MethodKind;
using train::TrainOption;
using train::TrainSettings;

bool isMatrix(const SessionState& state, const std::string& name) {
  const TensorItem* item = state.file ? state.file->find(name) : nullptr;
  return item != nullptr && item->shape.size() >= 2;
}

}  // namespace

std::string trainText(const SessionState& state, const TrainOption& option, const TrainSettings& settings) {
  const auto chosen = state.view.find(std::string("train.") + option.key);
  return chosen != state.view.end() ? chosen->second : option.get(settings);
}

TrainSettings trainSettings(const SessionState& state) {
  return train::sessionSettings(state.view, state.choice ? state.choice->text() : std::string(), state.storedLayer() != nullptr);
}

std::vector<std::string> trainTensors(const SessionState& state) {
  return train::sessionTensors(trainSettings(state).method, state.tensor, state.selection, [&](const std::string& name) { return isMatrix(state, name); });
}

train::Breakpoints trainBreakpoints(const SessionState& state) { return train::sessionBreakpoints(state.view); }

bool sideBySide(const SessionState& state) { return state.viewOption("train.beside", "no") == "yes"; }

std::vector<PlannedRun> plannedRuns(const SessionState& state) {
  std::vector<PlannedRun> runs{{trainSettings(state), false}};
  const TrainSettings chosen = runs.front().settings;
  if (!sideBySide(state) || train::kindOf(chosen.method) != MethodKind::Adapter) return runs;
  for (const auto& method : train::allMethods()) {
    if (method.id == chosen.method || method.kind != MethodKind::Adapter || (method.needsBase && !state.choice)) continue;
    TrainSettings other = chosen;
    other.method = method.id;
    other.adapter.base = method.needsBase ? state.choice->text() : std::string();
    runs.push_back({other, false});
  }
  if (chosen.numberType() == train::NumberType::BF16 || chosen.numberType() == train::NumberType::F16) {
    runs.push_back({chosen, true});
    runs.back().settings.type = train::NumberType::F32;
  }
  return runs;
}

QString trainCommand(const SessionState& state) {
  if (!state.file || state.tensor.empty()) return {};
  const TrainSettings settings = trainSettings(state);
  QStringList parts = {"nibblescope-cli", "train", shellWord(state.file->path.string())};
  for (const auto& tensor : trainTensors(state)) parts << "--tensor" << shellWord(tensor);
  const TrainSettings defaults = train::chosenSettings({{"method", settings.method}}).settings;
  for (const auto& option : train::trainOptions()) {
    if (!applies(option, settings)) continue;
    const std::string text = option.get(settings);
    if (!option.always && text == option.get(defaults)) continue;
    const QString key = QString("--%1").arg(option.key);
    if (option.kind == TrainOption::Kind::Flag) parts << key;
    else if (option.kind == TrainOption::Kind::Words)
      for (const auto& word : text::split(text, ' ')) parts << key << shellWord(word);
    else parts << key << shellWord(text);
    if (option.key == std::string("method") && !settings.adapter.base.empty()) parts << "--base" << shellWord(settings.adapter.base);
  }
  const auto breakpoints = trainBreakpoints(state);
  if (breakpoints.lossAbove) parts << "--stop-loss-above" << shellWord(text::number(*breakpoints.lossAbove));
  if (breakpoints.nothingMoved) parts << "--stop-nothing-moved";
  return parts.join(' ');
}

}  // namespace nibble
