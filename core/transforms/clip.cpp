// SPDX-License-Identifier: GPL-3.0-or-later
// Cuts the largest weights off where that lowers the mean squared error of all: for each group of the scheme's scales the limit
//   (1 - i / 20) max |w|,  i = 0..9
// whose rounding (by the scheme itself) loses least of the weights as they were; the first of equals. All groups try the same i
// at once, so the scheme runs ten times whatever it is; if the result as a whole is no better (groups may hang together through
// nested scales), nothing is cut. A scheme without scales, or one that moves columns, is searched row by row.
// Weights come out as the scheme's levels; there is nothing to undo. It stands last, next to the scheme.
#include "core/quant/decode.h"
#include "core/transforms/transform.h"

#include <algorithm>
#include <cmath>

namespace nibble {
namespace {

constexpr int steps = 20, tries = 10;

struct Settings {
  std::string search = "mse";
};

const SettingTable<Settings>& table() {
  static const auto settings = SettingTable<Settings>{}.text(
      "search", &Settings::search, "Search", {.choices = {std::string("mse")}, .help = "What the limit of each group is to lower."});
  return settings;
}

struct Groups {
  Grouping grouping;
  std::vector<float> largest;
  [[nodiscard]] std::size_t count() const { return largest.size(); }
};

Groups groupsOf(const QuantizedTensor& tensor, const std::vector<float>& weights) {
  const bool usable = tensor.scale && tensor.order.empty();
  Groups groups{usable ? tensor.scale->grouping : Grouping::blocks(tensor.rows, tensor.columns, 1, 0), {}};
  groups.largest.resize(groups.grouping.groupCount());
  for (std::size_t i = 0; i < weights.size(); ++i) {
    float& largest = groups.largest[groups.grouping.groupOf(i)];
    largest = std::max(largest, std::fabs(weights[i]));
  }
  return groups;
}

std::vector<float> clamped(const std::vector<float>& weights, const Groups& groups, const std::vector<int>& step) {
  std::vector<float> cut(weights.size());
  for (std::size_t i = 0; i < weights.size(); ++i) {
    const std::uint64_t group = groups.grouping.groupOf(i);
    const float limit = groups.largest[group] * (1 - static_cast<float>(step[group]) / steps);
    cut[i] = std::clamp(weights[i], -limit, limit);
  }
  return cut;
}

// The scheme may have left the decoder something of its own to undo: values are compared as they come out.
std::vector<double> losses(const QuantizedTensor& tensor, const std::vector<float>& weights, const Groups& groups) {
  std::vector<double> sums(groups.count());
  const std::vector<float> decoded = decodeAll(tensor);
  for (std::size_t i = 0; i < weights.size(); ++i) {
    const double error = static_cast<double>(weights[i]) - decoded[i];
    sums[groups.grouping.groupOf(i)] += error * error;
  }
  return sums;
}

double total(const std::vector<double>& sums) {
  double sum = 0;
  for (const double value : sums) sum += value;
  return sum;
}

class ClipTransform final : public Transform {
 public:
  const TransformInfo& info() const override {
    static const TransformInfo about{"clip", "Clip", "limits per group, searched for the least error of the whole",
                                     "clipping search as in AWQ (arXiv 2306.00978), on weights alone", Needs::Nothing};
    return about;
  }
  const std::vector<SettingInfo>& settings() const override { return table().infos(); }
  std::optional<std::string> refusal(const SettingValues&, MatrixSize, const SchemeInfo& scheme) const override {
    if (scheme.family != Family::Gguf) return std::nullopt;
    return "clip: " + std::string(scheme.id) + " gives the bytes that ggml gives for the weights as they are";
  }
  Status apply(Transformed& layer, const SettingValues&, const QuantizeTrial& quantize, const Context& context) const override {
    const std::vector<float> weights = layer.weights;
    auto whole = quantize(layer);
    if (!whole) return fail(whole.error());
    const Groups groups = groupsOf(*whole, weights);
    std::vector<double> least = losses(*whole, weights, groups);
    const double before = total(least);
    std::vector<int> best(groups.count());
    for (int step = 1; step < tries; ++step) {
      if (context.stopRequested()) return cancelled();
      layer.weights = clamped(weights, groups, std::vector<int>(groups.count(), step));
      const auto trial = quantize(layer);
      if (!trial) return fail(trial.error());
      const std::vector<double> loss = losses(*trial, weights, groups);
      for (std::size_t group = 0; group < groups.count(); ++group) {
        if (loss[group] >= least[group]) continue;
        least[group] = loss[group];
        best[group] = step;
      }
    }
    layer.weights = clamped(weights, groups, best);
    const auto cut = quantize(layer);
    if (!cut) return fail(cut.error());
    if (total(losses(*cut, weights, groups)) >= before) layer.weights = weights;
    return {};
  }
};

}  // namespace

const Transform& clipTransform() {
  static const ClipTransform transform;
  return transform;
}

}  // namespace nibble
