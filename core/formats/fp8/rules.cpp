// SPDX-License-Identifier: GPL-3.0-or-later
// What the loaders of FP8 checkpoints ask for, and the config they read: method "fp8" for scales per tile or tensor,
// "fbgemm_fp8" for scales per output. Inputs are quantized as they come ("dynamic"): a file of weights says nothing of them.
#include "core/formats/rules.h"

#include "core/base/text.h"
#include "core/formats/fp8/plan.h"
#include "core/formats/parts.h"

#include <algorithm>

namespace nibble::formats::fp8 {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::string_view layoutSource = "DeepSeek-V3 inference/fp8_cast_bf16.py";
constexpr std::string_view vllmSource = "vLLM quantization/fp8.py, quantization/fbgemm_fp8.py";
constexpr std::string_view transformersSource = "transformers integrations/finegrained_fp8.py, integrations/fbgemm_fp8.py";

std::string planText(const ExportLayer& layer) {
  const auto plan = planFor(*layer.tensor);
  if (!plan) return "none";
  const std::string element = plan->element == FloatType::F8E4M3 ? "e4m3, " : "e5m2, ";
  switch (plan->scales) {
    case Scales::Tensor:
      return element + "one scale for the tensor";
    case Scales::Row:
      return element + "one scale per output";
    case Scales::Tile:
      return element + "tiles of " + text::number(plan->tileRows) + " x " + text::number(plan->tileColumns);
  }
  return {};
}

template <class Test>
Verdict everyPlan(const std::vector<ExportLayer>& layers, Test refusal, std::string detail) {
  for (const ExportLayer& layer : layers) {
    const auto plan = planFor(*layer.tensor);
    if (!plan) return {false, layer.name + ": " + plan.error().message};
    if (const std::string reason = refusal(*plan); !reason.empty()) return {false, layer.name + ": " + reason};
  }
  return {true, std::move(detail)};
}

Verdict held(const std::vector<ExportLayer>& layers) {
  return everyPlan(
      layers, [](const Plan&) { return std::string(); }, distinct(layers, planText));
}

// The config has one place for all.
Verdict alike(const std::vector<ExportLayer>& layers) {
  return sameOverLayers(layers, planText);
}

Verdict e4m3Only(const std::vector<ExportLayer>& layers) {
  return everyPlan(
      layers,
      [](const Plan& plan) {
        return plan.element == FloatType::F8E4M3 ? std::string() : "codes are E5M2; weights are loaded as E4M3";
      },
      "E4M3");
}

Verdict scaleTypes(const std::vector<ExportLayer>& layers) {
  return everyPlan(
      layers,
      [](const Plan& plan) {
        const bool ok = plan.scaleType == DType::F32 || (plan.scales == Scales::Tile && plan.scaleType == DType::F8E8M0);
        return ok ? std::string() : "scales are " + std::string(info(plan.scaleType).name) + "; F32 are loaded";
      },
      "F32, or powers of two for tiles");
}

Verdict kernelTiles(const std::vector<ExportLayer>& layers) {
  return everyPlan(
      layers,
      [](const Plan& plan) {
        const bool ok = plan.scales != Scales::Tile || (plan.tileRows == 128 && plan.tileColumns == 128);
        return ok ? std::string()
                  : "tiles of " + text::number(plan.tileRows) + " x " + text::number(plan.tileColumns) +
                        " have no kernel; 128 x 128 have";
      },
      distinct(layers, planText));
}

Verdict wholeTiles(const std::vector<ExportLayer>& layers) {
  return everyPlan(
      layers,
      [](const Plan& plan) {
        if (plan.scales == Scales::Tensor) return std::string("one scale for the tensor is not loaded; tiles and outputs are");
        const bool whole =
            plan.scales != Scales::Tile || (plan.rows % plan.tileRows == 0 && plan.columns % plan.tileColumns == 0);
        return whole ? std::string()
                     : toText({plan.rows, plan.columns}) + " is not whole tiles of " + text::number(plan.tileRows) + " x " +
                           text::number(plan.tileColumns) + "; a partial tile is read wrongly";
      },
      distinct(layers, planText));
}

Verdict inputsDynamic(const std::vector<ExportLayer>&) {
  return {true, "quantized to FP8 as they come"};
}

}  // namespace

std::vector<RuleResult> preflight(std::string_view runtime, const std::vector<ExportLayer>& layers) {
  static const std::vector<Rule> rules = {
      {"An FP8 layout holds every tensor", {}, layoutSource, held},
      {"Weights are matrices", {}, layoutSource, twoDimensional},
      {"Every tensor is a layer's weight", {"vllm", "transformers"}, transformersSource, namesEndInWeight},
      {"All layers share one kind of scale", {"vllm", "transformers"}, vllmSource, alike},
      {"Codes are E4M3", {"vllm", "transformers"}, vllmSource, e4m3Only},
      {"Scales are of a type that is loaded", {"vllm", "transformers"}, vllmSource, scaleTypes},
      {"Tiles have a kernel", {"vllm"}, vllmSource, kernelTiles},
      {"Tiles are whole", {"transformers"}, transformersSource, wholeTiles},
      {"What happens to activations", {"vllm", "transformers"}, vllmSource, inputsDynamic},
  };
  return apply(rules, runtime, layers);
}

Result<std::string> configure(const std::string& config, const std::vector<ExportLayer>& layers,
                              const std::vector<std::string>& leftAlone) {
  if (layers.empty()) return fail("no layer to describe");
  const auto plan = planFor(*layers.front().tensor);
  if (!plan) return fail(plan.error().within(layers.front().name));
  if (!alike(layers).ok)
    return fail("config.json can describe one kind of FP8 scale only; the layers have " + distinct(layers, planText));
  Json skipped = Json::array();
  for (const std::string& name : leftAlone) skipped.push_back(moduleName(name));
  Json described;
  if (plan->scales == Scales::Row) {
    described = {{"quant_method", "fbgemm_fp8"}, {"activation_scale_ub", 1200.0}, {"modules_to_not_convert", skipped}};
  } else {
    described = {{"quant_method", "fp8"},
                 {"activation_scheme", "dynamic"},
                 {"fmt", plan->element == FloatType::F8E4M3 ? "e4m3" : "e5m2"}};
    if (plan->scales == Scales::Tile) {
      described["scale_fmt"] = plan->scaleType == DType::F8E8M0 ? "ue8m0" : "float";
      described["weight_block_size"] = {plan->tileRows, plan->tileColumns};
    }
    described["modules_to_not_convert"] = skipped;
    described["ignored_layers"] = skipped;  // the same under the name vLLM reads
  }
  return withEntries(config, {{"quantization_config", described}});
}

}  // namespace nibble::formats::fp8
