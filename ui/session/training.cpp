// SPDX-License-Identifier: GPL-3.0-or-later
#include "ui/session/training.h"

#include "core/base/text.h"
#include "core/train/methods.h"
#include "ui/session/shell_word.h"

#include <QStringList>
#include <algorithm>
#include <array>
#include <cmath>

namespace nibble {
namespace {

using train::TrainSettings;
using Kind = TrainOption::Kind;
using For = TrainOption::For;
using Texts = std::vector<std::string>;

bool number(const std::string& text, double& out) {
  const auto value = text::parseDouble(text);
  if (!value || !std::isfinite(*value)) return false;
  out = *value;
  return true;
}

bool count(const std::string& text, std::uint64_t& out) {
  const auto value = text::parseUnsigned(text);
  if (value) out = *value;
  return value.has_value();
}

template <class E>
bool taken(const std::optional<E>& value, E& out) {
  if (value) out = *value;
  return value.has_value();
}

// The choices of small enumerations by their place.
template <class E>
bool placed(const Texts& names, const std::string& text, E& out) {
  const auto found = std::find(names.begin(), names.end(), text);
  if (found == names.end()) return false;
  out = static_cast<E>(found - names.begin());
  return true;
}

template <class E>
std::string nameAt(const Texts& names, E value) {
  return names[static_cast<std::size_t>(value)];
}

Texts methodIds() {
  Texts ids;
  for (const auto& method : train::allMethods()) ids.emplace_back(method.id);
  return ids;
}
Texts optimizerIds() {
  Texts ids;
  for (const auto& kind : train::allOptimizers()) ids.emplace_back(kind.id);
  return ids;
}
Texts typeNames() { return {"f64", "f32", "bf16", "f16"}; }
Texts scheduleNames() { return {"constant", "linear", "cosine"}; }
Texts parameterNames() { return {"bits", "noise"}; }

#define NIBBLE_NUMBER(member)                                              \
  [](const TrainSettings& s) { return text::number(double{s.member}); },   \
      [](TrainSettings& s, const std::string& t) { return number(t, s.member); }, nullptr
#define NIBBLE_COUNT(member)                                               \
  [](const TrainSettings& s) { return text::number(std::uint64_t{s.member}); }, \
      [](TrainSettings& s, const std::string& t) { return count(t, s.member); }, nullptr
#define NIBBLE_PLACE(member, names)                                        \
  [](const TrainSettings& s) { return nameAt(names(), s.member); },        \
      [](TrainSettings& s, const std::string& t) { return placed(names(), t, s.member); }, names
#define NIBBLE_FILE(member)                                                \
  [](const TrainSettings& s) { return s.member.string(); },                \
      [](TrainSettings& s, const std::string& t) { return s.member = t, true; }, nullptr

const std::array options = {
    TrainOption{"method", QT_TRANSLATE_NOOP("Train", "Method"), QT_TRANSLATE_NOOP("Train", "What is trained"), Kind::Choice, For::All,
                [](const TrainSettings& s) { return s.method; },
                [](TrainSettings& s, const std::string& t) { return train::findMethod(t) != nullptr && (s.method = t, true); }, methodIds, true},
    TrainOption{"rank", QT_TRANSLATE_NOOP("Train", "Rank"), QT_TRANSLATE_NOOP("Train", "Rank of BA: rows of A, columns of B"), Kind::Count, For::Adapters,
                NIBBLE_COUNT(adapter.rank), true},
    TrainOption{"alpha", QT_TRANSLATE_NOOP("Train", "Alpha"), QT_TRANSLATE_NOOP("Train", "Numerator of BA's scale; document000: factor of the output"),
                Kind::Number, For::Adapters, NIBBLE_NUMBER(adapter.alpha), true},
    TrainOption{"scaling", QT_TRANSLATE_NOOP("Train", "Scaling"), QT_TRANSLATE_NOOP("Train", "BA is scaled by alpha over the rank, over its root, or not"),
                Kind::Choice, For::Adapters, NIBBLE_PLACE(adapter.scaling, train::scalingNames)},
    TrainOption{"variant", QT_TRANSLATE_NOOP("Train", "Variant"), QT_TRANSLATE_NOOP("Train", "Whose definition of an adapter"), Kind::Choice, For::Adapters,
                NIBBLE_PLACE(adapter.variant, train::variantNames)},
    TrainOption{"start", QT_TRANSLATE_NOOP("Train", "Start"), QT_TRANSLATE_NOOP("Train", "First values of A and B"), Kind::Choice, For::Adapters,
                NIBBLE_PLACE(adapter.start, train::adapterStartNames)},
    TrainOption{"lambda", QT_TRANSLATE_NOOP("Train", "Lambda"), QT_TRANSLATE_NOOP("Train", "Price of a MB in the loss"), Kind::Number, For::Bits,
                NIBBLE_NUMBER(diffq.lambda)},
    TrainOption{"param", QT_TRANSLATE_NOOP("Train", "Logit is"), QT_TRANSLATE_NOOP("Train", "What a logit stands for"), Kind::Choice, For::Bits,
                NIBBLE_PLACE(diffq.param, parameterNames)},
    TrainOption{"noise-kind", QT_TRANSLATE_NOOP("Train", "Noise"), QT_TRANSLATE_NOOP("Train", "Noise that stands for quantization"), Kind::Choice, For::Bits,
                NIBBLE_PLACE(diffq.noiseKind, train::noiseKindNames)},
    TrainOption{"group", QT_TRANSLATE_NOOP("Train", "Group"), QT_TRANSLATE_NOOP("Train", "Weights that share their bits; 0: all of a tensor"), Kind::Count,
                For::Bits, NIBBLE_COUNT(diffq.group)},
    TrainOption{"init-bits", QT_TRANSLATE_NOOP("Train", "First bits"), QT_TRANSLATE_NOOP("Train", "Bits at the start"), Kind::Number, For::Bits,
                NIBBLE_NUMBER(diffq.initBits)},
    TrainOption{"lr-logits", QT_TRANSLATE_NOOP("Train", "Rate of bits"), QT_TRANSLATE_NOOP("Train", "Learning rate of the logits"), Kind::Number, For::Bits,
                NIBBLE_NUMBER(diffq.logitsLearningRate)},
    TrainOption{"min-size", QT_TRANSLATE_NOOP("Train", "Least MB"), QT_TRANSLATE_NOOP("Train", "Tensors of at most so many MB stay float"), Kind::Number,
                For::Bits, NIBBLE_NUMBER(diffq.minSizeMb)},
    TrainOption{"optimizer", QT_TRANSLATE_NOOP("Train", "Optimizer"), QT_TRANSLATE_NOOP("Train", "Rule of the update"), Kind::Choice, For::All,
                [](const TrainSettings& s) { return s.optimizer.kind; },
                [](TrainSettings& s, const std::string& t) { return train::findOptimizer(t) != nullptr && (s.optimizer.kind = t, true); }, optimizerIds},
    TrainOption{"lr", QT_TRANSLATE_NOOP("Train", "Learning rate"), QT_TRANSLATE_NOOP("Train", "Learning rate of A, B, m or the weights"), Kind::Number,
                For::All, NIBBLE_NUMBER(optimizer.learningRate)},
    TrainOption{"weight-decay", QT_TRANSLATE_NOOP("Train", "Weight decay"), QT_TRANSLATE_NOOP("Train", "Decay of the optimizer"), Kind::Number, For::All,
                NIBBLE_NUMBER(optimizer.weightDecay)},
    TrainOption{"schedule", QT_TRANSLATE_NOOP("Train", "Schedule"), QT_TRANSLATE_NOOP("Train", "Learning rate over the steps"), Kind::Choice, For::All,
                NIBBLE_PLACE(schedule.kind, scheduleNames)},
    TrainOption{"clip", QT_TRANSLATE_NOOP("Train", "Clip"), QT_TRANSLATE_NOOP("Train", "Largest norm of all gradients together; 0: any"), Kind::Number,
                For::All, NIBBLE_NUMBER(clipNorm)},
    TrainOption{"dtype", QT_TRANSLATE_NOOP("Train", "Stored as"), QT_TRANSLATE_NOOP("Train", "How trained numbers are stored"), Kind::Choice, For::All,
                [](const TrainSettings& s) { return std::string(train::name(s.numberType())); },
                [](TrainSettings& s, const std::string& t) { return (s.type = train::numberTypeFromName(t)).has_value(); }, typeNames, true},
    TrainOption{"steps", QT_TRANSLATE_NOOP("Train", "Steps"), QT_TRANSLATE_NOOP("Train", "Where Play ends"), Kind::Count, For::All, NIBBLE_COUNT(steps), true},
    TrainOption{"seed", QT_TRANSLATE_NOOP("Train", "Seed"), QT_TRANSLATE_NOOP("Train", "Of everything that is drawn"), Kind::Count, For::All, NIBBLE_COUNT(seed)},
    TrainOption{"batch", QT_TRANSLATE_NOOP("Train", "Batch"), QT_TRANSLATE_NOOP("Train", "Rows of inputs a step; 0: all"), Kind::Count, For::All,
                NIBBLE_COUNT(batchRows)},
    TrainOption{"rows", QT_TRANSLATE_NOOP("Train", "Rows drawn"), QT_TRANSLATE_NOOP("Train", "Rows of inputs to draw, where no file gives them"), Kind::Count,
                For::All, NIBBLE_COUNT(data.rows)},
    TrainOption{"outlier-channels", QT_TRANSLATE_NOOP("Train", "Outliers"), QT_TRANSLATE_NOOP("Train", "Drawn input channels that are 20 times larger"),
                Kind::Count, For::All, NIBBLE_COUNT(data.outlierChannels)},
    TrainOption{"inputs", QT_TRANSLATE_NOOP("Train", "Inputs"), QT_TRANSLATE_NOOP("Train", "File with inputs [tokens, in]: .npy, .npz, .safetensors; none: drawn"),
                Kind::File, For::All, NIBBLE_FILE(data.inputs)},
    TrainOption{"targets", QT_TRANSLATE_NOOP("Train", "Targets"), QT_TRANSLATE_NOOP("Train", "File with targets [tokens, out]; none: the float layer's outputs"),
                Kind::File, For::All, NIBBLE_FILE(data.targets)},
};

#undef NIBBLE_NUMBER
#undef NIBBLE_COUNT
#undef NIBBLE_PLACE
#undef NIBBLE_FILE

}  // namespace

std::span<const TrainOption> trainOptions() { return options; }

const TrainOption* findTrainOption(const std::string& key) {
  const auto found = std::find_if(options.begin(), options.end(), [&](const auto& option) { return key == option.key; });
  return found == options.end() ? nullptr : &*found;
}

bool appliesTo(const TrainOption& option, const std::string& method) {
  const train::Method* found = train::findMethod(method);
  if (option.methods == For::All || found == nullptr) return true;
  return (option.methods == For::Adapters) == found->takesBase;
}

std::string trainText(const SessionState& state, const TrainOption& option) {
  return state.viewOption(std::string("train.") + option.key, option.get(TrainSettings{}));
}

TrainSettings trainSettings(const SessionState& state) {
  TrainSettings settings;
  for (const auto& option : options) (void)option.set(settings, trainText(state, option));
  const train::Method* method = train::findMethod(settings.method);
  if (method != nullptr && method->needsBase && state.choice) settings.adapter.base = state.choice->text();
  return settings;
}

train::Breakpoints trainBreakpoints(const SessionState& state) {
  train::Breakpoints breakpoints;
  double above = 0;
  if (number(state.viewOption("train.stop-loss-above", ""), above)) breakpoints.lossAbove = above;
  breakpoints.nothingMoved = state.viewOption("train.stop-nothing-moved", "no") == "yes";
  return breakpoints;
}

bool sideBySide(const SessionState& state) { return state.viewOption("train.beside", "no") == "yes"; }

std::vector<PlannedRun> plannedRuns(const SessionState& state) {
  std::vector<PlannedRun> runs{{trainSettings(state), false}};
  const TrainSettings chosen = runs.front().settings;
  const train::Method* mine = train::findMethod(chosen.method);
  if (!sideBySide(state) || mine == nullptr || !mine->takesBase) return runs;
  for (const auto& method : train::allMethods()) {
    if (method.id == chosen.method || !method.takesBase || (method.needsBase && !state.choice)) continue;
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
  QStringList parts = {"nibblescope-cli", "train", shellWord(state.file->path.string()), "--tensor", shellWord(state.tensor)};
  const TrainSettings defaults;
  for (const auto& option : options) {
    if (!appliesTo(option, settings.method)) continue;
    const std::string text = option.get(settings);
    if (!option.always && text == option.get(defaults)) continue;
    parts << QString("--%1").arg(option.key) << shellWord(text);
    if (option.key == std::string("method") && !settings.adapter.base.empty()) parts << "--base" << shellWord(settings.adapter.base);
  }
  const auto breakpoints = trainBreakpoints(state);
  if (breakpoints.lossAbove) parts << "--stop-loss-above" << shellWord(text::number(*breakpoints.lossAbove));
  if (breakpoints.nothingMoved) parts << "--stop-nothing-moved";
  return parts.join(' ');
}

}  // namespace nibble
