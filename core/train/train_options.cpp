// SPDX-License-Identifier: GPL-3.0-or-later
#include "core/train/train_options.h"

#include "core/base/text.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <sstream>

namespace nibble::train {
namespace {

using Kind = TrainOption::Kind;
using Texts = std::vector<std::string>;

bool number(const std::string& text, double& out) {
  const auto value = text::parseDouble(text);
  if (!value || !std::isfinite(*value)) return false;
  out = *value;
  return true;
}

template <class Whole>
bool count(const std::string& text, Whole& out) {
  const auto value = text::parseUnsigned(text);
  if (!value || !std::in_range<Whole>(*value)) return false;
  out = static_cast<Whole>(*value);
  return true;
}

std::string flagText(bool on) {
  return on ? "yes" : "no";
}
bool flag(const std::string& text, bool& out) {
  if (text != "yes" && text != "no") return false;
  out = text == "yes";
  return true;
}

// A choice by its place.
template <class E>
bool placed(const Texts& names, const std::string& text, E& out) {
  const auto found = std::find(names.begin(), names.end(), text);
  if (found == names.end()) return false;
  out = static_cast<E>(found - names.begin());
  return true;
}

Texts words(const std::string& text) {
  std::istringstream stream(text);
  Texts all;
  for (std::string word; stream >> word;) all.push_back(word);
  return all;
}

Texts methodIds() {
  Texts ids;
  for (const Method& method : allMethods()) ids.emplace_back(method.id);
  return ids;
}
Texts optimizerIds() {
  Texts ids;
  for (const OptimizerKind& kind : allOptimizers()) ids.emplace_back(kind.id);
  return ids;
}
Texts typeNames() {
  return {"f64", "f32", "bf16", "f16"};
}
Texts scheduleNames() {
  return {"constant", "linear", "cosine"};
}
Texts parameterNames() {
  return {"bits", "noise"};
}
Texts magnitudeStartNames() {
  return {"by-variant", "base", "original"};
}
Texts lossNames() {
  return {"mse", "sum"};
}

bool isSgd(const TrainSettings& settings) {
  const OptimizerKind* kind = findOptimizer(settings.optimizer.kind);
  return kind != nullptr && kind->states == 1;
}
bool hasMoments(const TrainSettings& settings) {
  return !isSgd(settings);
}
bool drawsInputs(const TrainSettings& settings) {
  return settings.data.inputs.empty();
}

constexpr unsigned adapters = forKind(MethodKind::Adapter), packed = forKind(MethodKind::Packed),
                   learned = forKind(MethodKind::LearnedBits), fixed = forKind(MethodKind::FixedBits), bits = learned | fixed,
                   all = adapters | packed | bits;

#define NIBBLE_NUMBER(member)                                            \
  [](const TrainSettings& s) { return text::number(double{s.member}); }, \
      [](TrainSettings& s, const std::string& t) { return number(t, s.member); }, nullptr
#define NIBBLE_COUNT(member)                                                                 \
  [](const TrainSettings& s) { return text::number(static_cast<std::uint64_t>(s.member)); }, \
      [](TrainSettings& s, const std::string& t) { return count(t, s.member); }, nullptr
#define NIBBLE_PLACE(member, names)                                                   \
  [](const TrainSettings& s) { return names()[static_cast<std::size_t>(s.member)]; }, \
      [](TrainSettings& s, const std::string& t) { return placed(names(), t, s.member); }, names
#define NIBBLE_FLAG(member)                                  \
  [](const TrainSettings& s) { return flagText(s.member); }, \
      [](TrainSettings& s, const std::string& t) { return flag(t, s.member); }, nullptr
#define NIBBLE_FILE(member)                                 \
  [](const TrainSettings& s) { return s.member.string(); }, \
      [](TrainSettings& s, const std::string& t) { return s.member = t, true; }, nullptr

const std::array options = {
    TrainOption{"method", "Method", "What is trained", Kind::Choice, all, [](const TrainSettings& s) { return s.method; },
                [](TrainSettings& s, const std::string& t) { return findMethod(t) != nullptr && (s.method = t, true); },
                methodIds, true},
    TrainOption{"rank", "Rank", "Rank of BA: rows of A, columns of B", Kind::Count, adapters, NIBBLE_COUNT(adapter.rank), true},
    TrainOption{"alpha", "Alpha", "Numerator of BA's scale; document000: factor of the output", Kind::Number, adapters,
                NIBBLE_NUMBER(adapter.alpha), true},
    TrainOption{"scaling", "Scaling", "BA is scaled by alpha over the rank, over its root, or not", Kind::Choice, adapters,
                NIBBLE_PLACE(adapter.scaling, scalingNames)},
    TrainOption{"variant", "Variant", "Whose definition of an adapter", Kind::Choice, adapters,
                NIBBLE_PLACE(adapter.variant, variantNames)},
    TrainOption{"start", "Start", "First values of A and B", Kind::Choice, adapters,
                NIBBLE_PLACE(adapter.start, adapterStartNames)},
    TrainOption{"loftq-iterations", "LoftQ turns", "Turns of the start loftq", Kind::Count, adapters,
                NIBBLE_COUNT(adapter.loftqIterations), false,
                [](const TrainSettings& s) { return s.adapter.start == AdapterStart::LoftQ; }},
    TrainOption{"magnitude", "m starts as",
                "Whose row norms the magnitude starts as: the variant's choice, the base's or the original weights'",
                Kind::Choice, adapters, NIBBLE_PLACE(adapter.magnitude, magnitudeStartNames)},
    TrainOption{"norm-gradient", "Norm gradient", "The row norm has a gradient too; without it it counts as constant",
                Kind::Flag, adapters, NIBBLE_FLAG(adapter.normGradient)},
    TrainOption{"lambda", "Lambda", "Price of a MB in the loss", Kind::Number, learned, NIBBLE_NUMBER(diffq.lambda)},
    TrainOption{"param", "Logit is", "What a logit stands for", Kind::Choice, learned,
                NIBBLE_PLACE(diffq.param, parameterNames)},
    TrainOption{"noise-kind", "Noise", "Noise that stands for quantization", Kind::Choice, learned,
                NIBBLE_PLACE(diffq.noiseKind, noiseKindNames), false, [](const TrainSettings& s) { return s.noise.empty(); }},
    TrainOption{"group", "Group", "Weights that share their bits; 0: all of a tensor", Kind::Count, learned,
                NIBBLE_COUNT(diffq.group)},
    TrainOption{"init-bits", "First bits", "Bits at the start", Kind::Number, learned, NIBBLE_NUMBER(diffq.initBits)},
    TrainOption{"min-bits", "Fewest bits", "Fewest bits", Kind::Number, learned, NIBBLE_NUMBER(diffq.minBits)},
    TrainOption{"max-bits", "Most bits", "Most bits", Kind::Number, learned, NIBBLE_NUMBER(diffq.maxBits)},
    TrainOption{"extra-bits", "Extra bits", "Added when weights are truly quantized", Kind::Number, learned,
                NIBBLE_NUMBER(diffq.extraBits)},
    TrainOption{"lr-logits", "Rate of bits", "Learning rate of the logits", Kind::Number, learned,
                NIBBLE_NUMBER(diffq.logitsLearningRate)},
    TrainOption{"bits", "Bits", "Bits of lsq and ste", Kind::Count, fixed, NIBBLE_COUNT(diffq.fixedBits), true},
    TrainOption{"min-size", "Least MB", "Tensors of at most so many MB stay float", Kind::Number, bits,
                NIBBLE_NUMBER(diffq.minSizeMb)},
    TrainOption{"exclude", "Exclude", "Tensors that stay float, by patterns with * ? [seq]", Kind::Words, bits,
                [](const TrainSettings& s) { return text::join(s.diffq.exclude, " "); },
                [](TrainSettings& s, const std::string& t) { return s.diffq.exclude = words(t), true; }, nullptr},
    TrainOption{"float16", "Half floats", "What stays float counts and is stored as float16", Kind::Flag, bits,
                NIBBLE_FLAG(diffq.float16)},
    TrainOption{"no-detect-bound", "Keep apart", "Equal tensors are not taken for one", Kind::Flag, bits,
                [](const TrainSettings& s) { return flagText(!s.diffq.detectBound); },
                [](TrainSettings& s, const std::string& t) {
                  bool apart = false;
                  return flag(t, apart) && (s.diffq.detectBound = !apart, true);
                },
                nullptr},
    TrainOption{"rounding", "Rounding", "How a changed weight finds its code: the nearest, or up or down by chance",
                Kind::Choice, packed, NIBBLE_PLACE(packed.rounding, roundingNames)},
    TrainOption{"residual", "Residual", "What rounding took is kept in float32 and added to the next change", Kind::Flag,
                packed, NIBBLE_FLAG(packed.residual)},
    TrainOption{"zero-every", "Zeros every", "Steps between updates of the zeros; 0: they stay", Kind::Count, packed,
                NIBBLE_COUNT(packed.zeroEvery)},
    TrainOption{
        "optimizer", "Optimizer", "Rule of the update", Kind::Choice, all & ~packed,
        [](const TrainSettings& s) { return s.optimizer.kind; },
        [](TrainSettings& s, const std::string& t) { return findOptimizer(t) != nullptr && (s.optimizer.kind = t, true); },
        optimizerIds},
    TrainOption{"lr", "Learning rate", "Learning rate of A, B, m or the weights", Kind::Number, all,
                NIBBLE_NUMBER(optimizer.learningRate)},
    TrainOption{"momentum", "Momentum", "Momentum of sgd", Kind::Number, all, NIBBLE_NUMBER(optimizer.momentum), false, isSgd},
    TrainOption{"beta1", "Beta 1", "Decay of the first moment", Kind::Number, all, NIBBLE_NUMBER(optimizer.beta1), false,
                hasMoments},
    TrainOption{"beta2", "Beta 2", "Decay of the second moment", Kind::Number, all, NIBBLE_NUMBER(optimizer.beta2), false,
                hasMoments},
    TrainOption{"epsilon", "Epsilon", "Added to the root of the second moment", Kind::Number, all,
                NIBBLE_NUMBER(optimizer.epsilon), false, hasMoments},
    TrainOption{"weight-decay", "Weight decay", "Weight decay", Kind::Number, all, NIBBLE_NUMBER(optimizer.weightDecay)},
    TrainOption{"schedule", "Schedule", "Learning rate over the steps", Kind::Choice, all,
                NIBBLE_PLACE(schedule.kind, scheduleNames)},
    TrainOption{"warmup", "Warm-up", "Steps over which the learning rate rises", Kind::Count, all,
                NIBBLE_COUNT(schedule.warmup)},
    TrainOption{"floor", "Floor", "Where a schedule ends, as a part of the learning rate", Kind::Number, all,
                NIBBLE_NUMBER(schedule.floor), false,
                [](const TrainSettings& s) { return s.schedule.kind != Schedule::Kind::Constant; }},
    TrainOption{"clip", "Clip", "Largest norm of all gradients together; 0: any", Kind::Number, all, NIBBLE_NUMBER(clipNorm)},
    TrainOption{"accumulate", "Passes a step", "Passes whose gradients are summed for one step", Kind::Count, all,
                NIBBLE_COUNT(accumulation)},
    TrainOption{"batch", "Batch", "Rows of inputs a pass; 0: all, divided over the passes", Kind::Count, all,
                NIBBLE_COUNT(batchRows)},
    TrainOption{"dtype", "Stored as", "How trained numbers are stored", Kind::Choice, all & ~packed,
                [](const TrainSettings& s) { return std::string(name(s.numberType())); },
                [](TrainSettings& s, const std::string& t) { return (s.type = numberTypeFromName(t)).has_value(); }, typeNames,
                true},
    TrainOption{"loss", "Loss", "Mean square of output - target, or the sum of the outputs", Kind::Choice, all,
                NIBBLE_PLACE(loss, lossNames)},
    TrainOption{"steps", "Steps", "Steps in all: where Play ends", Kind::Count, all, NIBBLE_COUNT(steps), true},
    TrainOption{"seed", "Seed", "Of everything that is drawn", Kind::Count, all, NIBBLE_COUNT(seed)},
    TrainOption{"rows", "Rows drawn", "Rows of inputs to draw, where no file gives them", Kind::Count, all,
                NIBBLE_COUNT(data.rows), false, drawsInputs},
    TrainOption{"outlier-channels", "Outliers", "Drawn input channels that are larger than the others", Kind::Count, all,
                NIBBLE_COUNT(data.outlierChannels), false, drawsInputs},
    TrainOption{"outlier-scale", "Outlier scale", "How many times larger", Kind::Number, all, NIBBLE_NUMBER(data.outlierScale),
                false, [](const TrainSettings& s) { return drawsInputs(s) && s.data.outlierChannels != 0; }},
    TrainOption{"inputs", "Inputs", "File with inputs [tokens, in]: .npy, .npz, .safetensors; none: drawn", Kind::File, all,
                NIBBLE_FILE(data.inputs)},
    TrainOption{"targets", "Targets",
                "File with targets [tokens, out]: .npy, .npz, .safetensors; none: the float layer's outputs", Kind::File, all,
                NIBBLE_FILE(data.targets)},
    TrainOption{"init", "First values",
                "File with lora_A, lora_B, lora_magnitude_vector; logits or step, as TENSOR/logits where several train",
                Kind::File, all & ~packed, NIBBLE_FILE(init)},
    TrainOption{"noise", "Noise file", ".npz file with arrays STEP/TENSOR instead of drawn noise", Kind::File, learned,
                NIBBLE_FILE(noise)},
};

#undef NIBBLE_NUMBER
#undef NIBBLE_COUNT
#undef NIBBLE_PLACE
#undef NIBBLE_FLAG
#undef NIBBLE_FILE

}  // namespace

std::span<const TrainOption> trainOptions() {
  return options;
}

const TrainOption* findTrainOption(std::string_view key) {
  const auto found =
      std::find_if(options.begin(), options.end(), [key](const TrainOption& option) { return key == option.key; });
  return found == options.end() ? nullptr : &*found;
}

bool applies(const TrainOption& option, const TrainSettings& settings) {
  if ((option.methods & forKind(kindOf(settings.method))) == 0) return false;
  return option.matters == nullptr || option.matters(settings);
}

ChosenSettings chosenSettings(const std::map<std::string, std::string>& texts) {
  ChosenSettings chosen;
  const auto method = texts.find("method");
  if (method != texts.end() && findMethod(method->second) != nullptr) chosen.settings = defaultSettings(method->second);
  for (const auto& [key, text] : texts) {
    const TrainOption* option = findTrainOption(key);
    if (option == nullptr) continue;
    if ((option->methods & forKind(kindOf(chosen.settings.method))) == 0) {
      if (text != option->get(chosen.settings)) chosen.idle.push_back(key);
    } else if (!option->set(chosen.settings, text)) {
      chosen.refused.push_back(key);
    }
  }
  const bool given =
      texts.contains("alpha") && std::find(chosen.refused.begin(), chosen.refused.end(), "alpha") == chosen.refused.end();
  AdapterSettings& adapter = chosen.settings.adapter;
  if (!given) adapter.alpha = adapter.variant == Variant::Document000 ? 1 : static_cast<double>(adapter.rank);
  return chosen;
}

}  // namespace nibble::train
