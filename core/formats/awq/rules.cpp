// SPDX-License-Identifier: GPL-3.0-or-later
// What the loaders of AWQ layers ask for, and the config they read.
#include "core/formats/rules.h"

#include "core/base/text.h"
#include "core/formats/awq/plan.h"
#include "core/formats/tools.h"

#include <algorithm>
#include <nlohmann/json.hpp>

namespace nibble::formats::awq {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::string_view formatSource = "AutoAWQ 0.2.9 modules/linear/gemm.py";
constexpr std::string_view transformersSource = "transformers utils/quantization_config.py, AwqConfig";
constexpr std::string_view vllmSource = "vLLM quantization/awq.py, AWQConfig.get_quant_method";

std::string sidesText(const ExportLayer& layer) {
  return toText(layer.tensor->shape);
}

std::string bitsText(const ExportLayer& layer) {
  return std::to_string(layer.tensor->width.uniform);
}

std::string groupText(const ExportLayer& layer) {
  const auto plan = planFor(*layer.tensor);
  return plan ? text::number(plan->groupLength()) : "none";
}

std::optional<std::string> refusalOf(const ExportLayer& layer) {
  const auto plan = planFor(*layer.tensor);
  return plan ? std::nullopt : std::optional(plan.error().message);
}

Verdict held(const std::vector<ExportLayer>& layers) {
  return noneRefused(layers, refusalOf, std::to_string(layers.size()) + (layers.size() == 1 ? " layer" : " layers"));
}

Verdict fourBits(const std::vector<ExportLayer>& layers) {
  const bool ok = std::all_of(layers.begin(), layers.end(), [](const auto& layer) { return layer.tensor->width.uniform == 4; });
  return {ok, distinct(layers, bitsText)};
}

Verdict outputsOfEight(const std::vector<ExportLayer>& layers) {
  const bool ok = std::all_of(layers.begin(), layers.end(), [](const auto& layer) { return layer.tensor->rows % 8 == 0; });
  return {ok, distinct(layers, sidesText)};
}

Verdict groupDivides(const std::vector<ExportLayer>& layers) {
  return noneRefused(layers, refusalOf, "group " + distinct(layers, groupText));
}

// One group_size speaks for all layers: 0 where it cannot. Layers of one group fit a longer one as well.
std::int64_t sharedGroup(const std::vector<ExportLayer>& layers) {
  std::uint64_t length = 0;
  bool several = false;
  for (const ExportLayer& layer : layers) {
    const auto plan = planFor(*layer.tensor);
    if (!plan) return 0;
    if (plan->groups == 1) continue;
    if (several && plan->groupLength() != length) return 0;
    several = true;
    length = plan->groupLength();
  }
  if (!several) return -1;
  for (const ExportLayer& layer : layers)
    if (const auto plan = planFor(*layer.tensor); plan->groups == 1 && plan->columns != length) return 0;
  return static_cast<std::int64_t>(length);
}

Verdict oneGroup(const std::vector<ExportLayer>& layers) {
  return {sharedGroup(layers) != 0, "group " + distinct(layers, groupText)};
}

// vLLM's AWQ method covers linear layers; the output head stays as it is.
Verdict headStaysFloat(const std::vector<ExportLayer>& layers) {
  return noneRefused(
      layers,
      [](const ExportLayer& layer) -> std::optional<std::string> {
        if (moduleName(layer.name) != "lm_head" && !layer.name.ends_with(".lm_head.weight")) return std::nullopt;
        return "the output head cannot be an AWQ layer";
      },
      "no output head among them");
}

}  // namespace

std::vector<RuleResult> preflight(std::string_view runtime, const std::vector<ExportLayer>& layers) {
  const std::vector<Rule> rules = {
      {"AWQ's arithmetic and groups hold every tensor", {}, formatSource, held},
      {"Exactly 4 bits", {}, formatSource, fourBits},
      {"Group divides the input", {}, formatSource, groupDivides},
      {"Outputs are a multiple of 8", {}, formatSource, outputsOfEight},
      {"All layers share one group", {"transformers", "vllm"}, transformersSource, oneGroup},
      {"The output head stays float", {"transformers", "vllm"}, vllmSource, headStaysFloat},
      {"Every tensor is a layer's weight", {"transformers", "vllm"}, transformersSource, namesEndInWeight},
  };
  return apply(rules, runtime, layers);
}

// The loaders skip every module whose name contains one of the names given, so a name must not be part of a quantized one.
Result<std::string> configText(const std::vector<ExportLayer>& layers, const std::vector<std::string>& leftAlone) {
  for (const ExportLayer& layer : layers)
    if (auto plan = planFor(*layer.tensor); !plan) return fail(plan.error().within(layer.name));
  const std::int64_t group = sharedGroup(layers);
  if (layers.empty()) return fail("no layer to describe");
  if (group == 0) return fail("an AWQ config has one group_size, the layers have " + distinct(layers, groupText));
  Json skipped = Json::array();
  for (const std::string& name : leftAlone) {
    const std::string module = moduleName(name);
    for (const ExportLayer& layer : layers)
      if (layer.name.find(module) != std::string::npos)
        return fail("modules_to_not_convert cannot name " + module + " without " + layer.name +
                    ", which contains it; quantize both or neither");
    skipped.push_back(module);
  }
  Json config = {{"quant_method", "awq"}, {"bits", 4}, {"group_size", group}, {"zero_point", true}, {"version", "gemm"}};
  config["modules_to_not_convert"] = skipped.empty() ? Json() : std::move(skipped);
  config["meta"] = {{"quantizer", "nibblescope"}};  // the values are the exact products, not rounded to float16
  return config.dump(2) + "\n";
}

}  // namespace nibble::formats::awq
