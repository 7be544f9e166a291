// SPDX-License-Identifier: GPL-3.0-or-later
// SmoothQuant's channel scale: what is hard about the inputs moves into the weights. With E = 1e-5 and tokens t:
//   a_j = max over t of |X_tj|,  w_j = max(E, max over rows of |W_j|),  s_j = max(E, a_j^alpha / w_j^(1 - alpha))
//   W_j *= s_j; the inputs the layer then meets are X_j / s_j
// The tensor alone decides w_j: layers that share their inputs (query, key, value) get scales of their own here. Scales are
// float32 and belong to the tensor; in SmoothQuant's models 1 / s is folded into the norm before.
// Source: Xiao et al. 2023 (arXiv 2211.10438), smoothquant/smooth.py (spec uniform 1.6).
#include "core/quant/smooth_scales.h"
#include "core/transforms/transform.h"

namespace nibble {
namespace {

struct Settings {
  double alpha = 0.5;
};

const SettingTable<Settings>& table() {
  static const auto settings = SettingTable<Settings>{}.real(
      "alpha", &Settings::alpha, "Alpha",
      {.low = 0, .high = 1, .offers = {0.25, 0.5, 0.75, 0.85}, .help = "How much of the inputs' range moves into the weights."});
  return settings;
}

// X_j / s_j in every form in which something is known.
void scaleInputs(LayerInputs& inputs, const std::vector<float>& scales) {
  const std::size_t columns = scales.size();
  for (std::size_t i = 0; i < inputs.samples.size(); ++i) inputs.samples[i] /= scales[i % columns];
  for (std::size_t i = 0; i < inputs.gram.size(); ++i)
    inputs.gram[i] /= static_cast<double>(scales[i / columns]) * static_cast<double>(scales[i % columns]);
  for (std::size_t j = 0; j < inputs.meanSquares.size(); ++j) inputs.meanSquares[j] /= scales[j] * scales[j];
}

class SmoothTransform final : public Transform {
 public:
  const TransformInfo& info() const override {
    static const TransformInfo about{"smooth", "Smooth", "channel scales that move the inputs' outliers into the weights",
                                     "Xiao et al. 2023 (SmoothQuant, arXiv 2211.10438)", Needs::Samples};
    return about;
  }
  const std::vector<SettingInfo>& settings() const override { return table().infos(); }
  std::optional<std::string> refusal(const SettingValues&, MatrixSize, const SchemeInfo&) const override { return std::nullopt; }
  Status apply(Transformed& layer, const SettingValues& values, const QuantizeTrial&, const Context& context) const override {
    if (layer.inputs.samples.empty()) return fail("smooth needs samples of the inputs (--inputs); none are known of this tensor");
    const std::size_t columns = layer.columns;
    std::vector<float> inputMax(columns), weightMax(columns);
    raiseToColumnMaxima(layer.inputs.samples, inputMax);
    if (context.stopRequested()) return cancelled();
    raiseToColumnMaxima(layer.weights, weightMax);
    std::vector<float> scales = smoothScales(inputMax, weightMax, table().read(values).alpha);
    for (std::size_t i = 0; i < layer.weights.size(); ++i) layer.weights[i] *= scales[i % columns];
    scaleInputs(layer.inputs, scales);
    layer.channelScale = std::move(scales);
    return {};
  }
};

}  // namespace

const Transform& smoothTransform() {
  static const SmoothTransform transform;
  return transform;
}

}  // namespace nibble
