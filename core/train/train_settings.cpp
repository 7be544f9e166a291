// SPDX-License-Identifier: GPL-3.0-or-later
#include "core/train/train_settings.h"

#include "core/base/text.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

namespace nibble::train {
namespace {

template <class E, std::size_t n>
using Names = std::array<std::pair<E, std::string_view>, n>;

constexpr Names<Variant, 2> variants = {{{Variant::Peft, "peft"}, {Variant::Document000, "document000"}}};
constexpr Names<Scaling, 3> scalings = {{{Scaling::Rank, "rank"}, {Scaling::SqrtRank, "sqrt-rank"}, {Scaling::None, "none"}}};
constexpr Names<AdapterStart, 6> starts = {{{AdapterStart::ByVariant, "by-variant"},
                                            {AdapterStart::Zero, "zero"},
                                            {AdapterStart::Kaiming, "kaiming"},
                                            {AdapterStart::Gauss, "gauss"},
                                            {AdapterStart::ErrorSvd, "error-svd"},
                                            {AdapterStart::LoftQ, "loftq"}}};

template <class E, std::size_t n>
std::optional<E> fromName(const Names<E, n>& names, std::string_view text) {
  for (const auto& [value, name] : names)
    if (name == text) return value;
  return std::nullopt;
}

template <class E, std::size_t n>
std::vector<std::string> listOf(const Names<E, n>& names) {
  std::vector<std::string> list;
  for (const auto& [value, name] : names) list.emplace_back(name);
  return list;
}

// "key=value;" for each: whatever its type.
class Line {
 public:
  Line& add(std::string_view key, const std::string& value) {
    m_text += std::string(key) + "=" + value + ";";
    return *this;
  }
  Line& add(std::string_view key, double value) { return add(key, text::number(value)); }
  Line& add(std::string_view key, std::uint64_t value) { return add(key, text::number(value)); }
  template <class E>
  requires std::is_enum_v<E> Line& add(std::string_view key, E value) { return add(key, static_cast<std::uint64_t>(value)); }
  [[nodiscard]] const std::string& text() const { return m_text; }

 private:
  std::string m_text;
};

void addAdapter(Line& line, const AdapterSettings& adapter) {
  line.add("base", adapter.base).add("variant", adapter.variant).add("rank", adapter.rank).add("alpha", adapter.alpha);
  line.add("scaling", adapter.scaling).add("start", adapter.start).add("magnitude", adapter.magnitude);
  line.add("loftq", static_cast<std::uint64_t>(adapter.loftqIterations));
  line.add("normGradient", std::uint64_t{adapter.normGradient});
}

void addDiffq(Line& line, const DiffqSettings& diffq) {
  line.add("lambda", diffq.lambda).add("param", diffq.param).add("noiseKind", diffq.noiseKind).add("group", diffq.group);
  line.add("minBits", diffq.minBits).add("maxBits", diffq.maxBits).add("initBits", diffq.initBits);
  line.add("extraBits", diffq.extraBits).add("lrLogits", diffq.logitsLearningRate).add("minSize", diffq.minSizeMb);
  line.add("exclude", text::join(diffq.exclude, ",")).add("float16", std::uint64_t{diffq.float16});
  line.add("detectBound", std::uint64_t{diffq.detectBound}).add("fixedBits", static_cast<std::uint64_t>(diffq.fixedBits));
}

}  // namespace

NumberType TrainSettings::numberType() const {
  return type.value_or(adapter.variant == Variant::Document000 ? NumberType::F16 : NumberType::F32);
}

std::string runText(const TrainSettings& settings, const std::vector<std::string>& tensors) {
  Line line;
  line.add("method", settings.method).add("tensors", text::join(tensors, ","));
  addAdapter(line, settings.adapter);
  addDiffq(line, settings.diffq);
  line.add("rows", settings.data.rows).add("outliers", settings.data.outlierChannels);
  line.add("outlierScale", settings.data.outlierScale);
  const OptimizerSettings& o = settings.optimizer;
  line.add("optimizer", o.kind).add("lr", o.learningRate).add("momentum", o.momentum).add("beta1", o.beta1);
  line.add("beta2", o.beta2).add("epsilon", o.epsilon).add("weightDecay", o.weightDecay);
  const Schedule& schedule = settings.schedule;
  line.add("schedule", schedule.kind).add("warmup", schedule.warmup).add("floor", schedule.floor);
  if (schedule.kind != Schedule::Kind::Constant) line.add("over", schedule.total == 0 ? settings.steps : schedule.total);
  line.add("clip", settings.clipNorm).add("accumulation", settings.accumulation).add("batch", settings.batchRows);
  line.add("rounding", settings.packed.rounding).add("residual", std::uint64_t{settings.packed.residual});
  line.add("zeroEvery", settings.packed.zeroEvery);
  line.add("seed", settings.seed).add("dtype", std::string(name(settings.numberType()))).add("loss", settings.loss);
  return line.text();
}

Status check(const TrainSettings& settings) {
  NIBBLE_TRY(check(settings.optimizer));
  const auto finite = [](double value) { return std::isfinite(value); };
  if (settings.accumulation == 0) return fail("accumulation is 1 or more passes a step");
  if (settings.data.inputs.empty() && settings.data.rows == 0) return fail("0 rows of inputs cannot train anything");
  if (!(settings.clipNorm >= 0) || !finite(settings.clipNorm)) return fail("a clipping norm is a number of 0 or more");
  if (!finite(settings.adapter.alpha)) return fail("alpha is a finite number");
  if (!(settings.schedule.floor >= 0 && settings.schedule.floor <= 1)) return fail("a schedule's floor is between 0 and 1");
  if (!finite(settings.data.outlierScale)) return fail("the scale of outlier channels is a finite number");
  if (settings.adapter.loftqIterations < 1) return fail("LoftQ takes 1 or more iterations");
  return {};
}

std::optional<Variant> variantFromName(std::string_view name) {
  return fromName(variants, name);
}
std::optional<Scaling> scalingFromName(std::string_view name) {
  return fromName(scalings, name);
}
std::optional<AdapterStart> adapterStartFromName(std::string_view name) {
  return fromName(starts, name);
}
std::vector<std::string> variantNames() {
  return listOf(variants);
}
std::vector<std::string> scalingNames() {
  return listOf(scalings);
}
std::vector<std::string> adapterStartNames() {
  return listOf(starts);
}
std::vector<std::string> noiseKindNames() {
  return {"gaussian", "uniform"};
}
std::vector<std::string> roundingNames() {
  return {"nearest", "stochastic"};
}

}  // namespace nibble::train
