// SPDX-License-Identifier: GPL-3.0-or-later
// What the loaders of bitsandbytes 4-bit weights ask for, and the entry they look for in config.json.
#include "core/formats/rules.h"

#include "core/base/text.h"
#include "core/formats/bnb/plan.h"
#include "core/formats/tools.h"

#include <nlohmann/json.hpp>

namespace nibble::formats::bnb {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::string_view bnbSource = "bitsandbytes 0.50 functional.py";
constexpr std::string_view transformersSource = "transformers utils/quantization_config.py, BitsAndBytesConfig";
constexpr std::string_view vllmSource = "vLLM model_executor/layers/quantization/bitsandbytes.py";

std::string kindText(const ExportLayer& layer) {
  const auto plan = planFor(*layer.tensor);
  return plan ? plan->kind() : "other levels";
}

std::string blockText(const ExportLayer& layer) {
  const auto plan = planFor(*layer.tensor);
  return plan ? text::number(plan->block) : "none";
}

std::string settingsText(const ExportLayer& layer) {
  const auto plan = planFor(*layer.tensor);
  return plan ? plan->kind() + (plan->nested ? " with double quantization" : "") : "other levels";
}

std::string typeText(const ExportLayer& layer) {
  return std::string(typeName(layer.tensor->arithmetic.result));
}

Verdict held(const std::vector<ExportLayer>& layers) {
  return noneRefused(
      layers,
      [](const ExportLayer& layer) -> std::optional<std::string> {
        const auto plan = planFor(*layer.tensor);
        return plan ? std::nullopt : std::optional(plan.error().message);
      },
      distinct(layers, kindText));
}

Verdict blockSizes(const std::vector<ExportLayer>& layers) {
  for (const ExportLayer& layer : layers)
    if (!planFor(*layer.tensor)) return {false, layer.name + ": " + blockText(layer)};
  return {true, "block " + distinct(layers, blockText)};
}

Verdict evenCount(const std::vector<ExportLayer>& layers) {
  for (const ExportLayer& layer : layers)
    if (layer.tensor->weightCount() % 2 != 0) return {false, layer.name + ": " + text::number(layer.tensor->weightCount())};
  return {true, "two codes a byte"};
}

Verdict sharedSettings(const std::vector<ExportLayer>& layers) {
  return sameOverLayers(layers, settingsText);
}

Verdict dtypeNamed(const std::vector<ExportLayer>& layers) {
  return {true, distinct(layers, typeText)};
}

}  // namespace

std::vector<RuleResult> preflight(std::string_view runtime, const std::vector<ExportLayer>& layers) {
  static const std::vector<Rule> rules = {
      {"Levels are NF4 or FP4", {}, bnbSource, held},
      {"Block is 32, 64, ... 4096", {}, bnbSource, blockSizes},
      {"quant_state names the decoded type", {}, "bitsandbytes 0.50 functional.py, QuantState", dtypeNamed},
      {"Weights are matrices", {"transformers", "vllm"}, transformersSource, twoDimensional},
      {"An even number of weights", {"transformers", "vllm"}, transformersSource, evenCount},
      {"Every tensor is a layer's weight",
       {"bitsandbytes", "transformers", "vllm"},
       "bitsandbytes 0.50 nn/modules.py, Linear4bit",
       namesEndInWeight},
      {"All layers share levels and nesting", {"transformers", "vllm"}, vllmSource, sharedSettings},
  };
  return apply(rules, runtime, layers);
}

Result<std::string> configure(const std::string& config, const std::vector<ExportLayer>& layers,
                              const std::vector<std::string>& leftAlone) {
  if (layers.empty()) return fail("no layer to describe");
  const auto plan = planFor(*layers.front().tensor);
  if (!plan) return fail(plan.error().within(layers.front().name));
  if (!sharedSettings(layers).ok)
    return fail("a bitsandbytes config has one kind of levels and nesting, the layers have " + distinct(layers, settingsText));
  Json parsed = config.empty() ? Json::object() : Json::parse(config, nullptr, false);
  if (!parsed.is_object()) return fail("config.json: not a JSON object");
  Json skipped = Json::array();
  for (const std::string& name : leftAlone) skipped.push_back(moduleName(name));
  parsed["quantization_config"] = {{"quant_method", "bitsandbytes"},
                                   {"load_in_4bit", true},
                                   {"load_in_8bit", false},
                                   {"bnb_4bit_quant_type", plan->kind()},
                                   {"bnb_4bit_use_double_quant", plan->nested.has_value()},
                                   {"bnb_4bit_compute_dtype", typeName(plan->type)},
                                   {"bnb_4bit_quant_storage", "uint8"},
                                   {"llm_int8_skip_modules", skipped.empty() ? Json(nullptr) : skipped}};
  return parsed.dump(2) + "\n";
}

}  // namespace nibble::formats::bnb
