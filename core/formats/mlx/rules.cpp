// SPDX-License-Identifier: GPL-3.0-or-later
// What MLX asks for, and the config it reads. The first layer's settings are the model's; layers that differ are named.
#include "core/formats/rules.h"

#include "core/base/text.h"
#include "core/formats/mlx/plan.h"
#include "core/formats/parts.h"

namespace nibble::formats::mlx {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::string_view mlxSource = "mlx 0.32 python/mlx/nn/layers/quantized.py";

std::string planText(const ExportLayer& layer) {
  const auto plan = planFor(*layer.tensor);
  if (!plan) return "none";
  return std::string(modeName(plan->mode)) + " " + std::to_string(plan->bits) + " bit, group " + text::number(plan->group);
}

std::string typeText(const ExportLayer& layer) {
  const auto plan = planFor(*layer.tensor);
  if (!plan) return "none";
  return plan->mode == Mode::Affine ? std::string(typeName(plan->type)) : "one byte";
}

Verdict held(const std::vector<ExportLayer>& layers) {
  return noneRefused(
      layers,
      [](const ExportLayer& layer) -> std::optional<std::string> {
        const auto plan = planFor(*layer.tensor);
        return plan ? std::nullopt : std::optional(plan.error().message);
      },
      distinct(layers, planText));
}

// MLX promotes the whole layer to the type of its scales, so a 16-bit model wants 16-bit scales.
Verdict scaleTypes(const std::vector<ExportLayer>& layers) {
  Verdict verdict{true, "scales are " + distinct(layers, typeText)};
  if (verdict.detail.find("float32") != std::string::npos)
    verdict.detail += "; a scheme that computes in float32 has them in float32 (5.0 bits per weight at 4 bits, group 64)";
  return verdict;
}

Verdict rowsOfThirtyTwo(const std::vector<ExportLayer>& layers) {
  return noneRefused(
      layers,
      [](const ExportLayer& layer) -> std::optional<std::string> {
        if (layer.tensor->columns % 32 == 0) return std::nullopt;
        return text::number(layer.tensor->columns) + " inputs are not a multiple of 32";
      },
      "multiples of 32");
}

Json settingsOf(const Plan& plan) {
  return {{"group_size", plan.group}, {"bits", plan.bits}, {"mode", modeName(plan.mode)}};
}

}  // namespace

std::vector<RuleResult> preflight(std::string_view runtime, const std::vector<ExportLayer>& layers) {
  static const std::vector<Rule> rules = {
      {"A mode of MLX holds every tensor", {}, mlxSource, held},
      {"Inputs are a multiple of 32", {}, "mlx 0.32 mlx/ops.cpp, quantize", rowsOfThirtyTwo},
      {"Type of the scales", {}, mlxSource, scaleTypes},
      {"Every tensor is a layer's weight", {"mlx"}, "mlx-lm 0.32 utils.py, load_model", namesEndInWeight},
  };
  return apply(rules, runtime, layers);
}

Result<std::string> configure(const std::string& config, const std::vector<ExportLayer>& layers) {
  Json quantization, model;
  for (const ExportLayer& layer : layers) {
    const auto plan = planFor(*layer.tensor);
    if (!plan) return fail(plan.error().within(layer.name));
    const Json settings = settingsOf(*plan);
    if (quantization.is_null()) quantization = model = settings;
    if (settings != model) quantization[moduleName(layer.name)] = settings;
  }
  if (quantization.is_null()) return fail("no layer to describe");
  return withEntries(config, {{"quantization", quantization}, {"quantization_config", quantization}});
}

}  // namespace nibble::formats::mlx
