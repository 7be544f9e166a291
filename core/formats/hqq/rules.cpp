// SPDX-License-Identifier: GPL-3.0-or-later
// What the loaders of HQQ layers ask for, and the entry they look for in config.json.
#include "core/formats/rules.h"

#include "core/base/text.h"
#include "core/formats/hqq/plan.h"
#include "core/formats/tools.h"

#include <algorithm>
#include <cctype>
#include <nlohmann/json.hpp>

namespace nibble::formats::hqq {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::string_view hqqSource = "hqq 0.2.8 core/quantize.py";
constexpr std::string_view transformersSource = "transformers utils/quantization_config.py, HqqConfig";
constexpr std::string_view vllmSource = "vLLM quantization/hqq_marlin.py";

std::string bitsText(const ExportLayer& layer) {
  return std::to_string(layer.tensor->width.uniform);
}

std::string groupText(const ExportLayer& layer) {
  const auto plan = planFor(*layer.tensor);
  return plan ? text::number(plan->group) : "none";
}

std::string weightsText(const ExportLayer& layer) {
  return text::number(layer.tensor->weightCount());
}

Verdict held(const std::vector<ExportLayer>& layers) {
  return noneRefused(
      layers,
      [](const ExportLayer& layer) -> std::optional<std::string> {
        const auto plan = planFor(*layer.tensor);
        return plan ? std::nullopt : std::optional(plan.error().message);
      },
      std::to_string(layers.size()) + (layers.size() == 1 ? " layer" : " layers"));
}

Verdict bitsStored(const std::vector<ExportLayer>& layers) {
  const bool ok = std::all_of(layers.begin(), layers.end(),
                              [](const auto& layer) { return packingOf(layer.tensor->width.uniform).has_value(); });
  return {ok, distinct(layers, bitsText)};
}

Verdict groupDivides(const std::vector<ExportLayer>& layers) {
  for (const ExportLayer& layer : layers) {
    const auto plan = planFor(*layer.tensor);
    if (!plan) return {false, layer.name + ": " + plan.error().message};
  }
  return {true, distinct(layers, groupText) + " divides " + distinct(layers, weightsText)};
}

Verdict groupMultipleOfEight(const std::vector<ExportLayer>& layers) {
  bool ok = true;
  for (const ExportLayer& layer : layers)
    if (const auto plan = planFor(*layer.tensor); !plan || plan->group % 8 != 0) ok = false;
  return {ok, distinct(layers, groupText)};
}

Verdict alongRows(const std::vector<ExportLayer>& layers) {
  for (const ExportLayer& layer : layers)
    if (const auto plan = planFor(*layer.tensor); !plan || plan->axis != 1) return {false, layer.name + ": axis=0"};
  return {true, "axis=1"};
}

Verdict fourBitsSixtyFour(const std::vector<ExportLayer>& layers) {
  bool ok = true;
  for (const ExportLayer& layer : layers) {
    const auto plan = planFor(*layer.tensor);
    ok = ok && plan && plan->bits == 4 && plan->group == 64 && layer.tensor->columns % 64 == 0;
  }
  return {ok, distinct(layers, bitsText) + " bits, group " + distinct(layers, groupText)};
}

Verdict rowsPairUp(const std::vector<ExportLayer>& layers) {
  std::vector<std::string> seen;
  for (const ExportLayer& layer : layers) {
    const auto plan = planFor(*layer.tensor);
    if (!plan) return {false, layer.name + ": " + plan.error().message};
    const std::string line = text::number(plan->groupedRows()) + " in " + plan->packing.name;
    if (std::find(seen.begin(), seen.end(), line) == seen.end() && seen.size() < 4) seen.push_back(line);
  }
  return {true, text::join(seen, ", ")};
}

Verdict numbersFit(const std::vector<ExportLayer>& layers) {
  float low = 0, high = 0;
  bool any = false;
  std::string type;
  for (const ExportLayer& layer : layers) {
    const auto plan = planFor(*layer.tensor);
    if (!plan) return {false, layer.name + ": " + plan.error().message};
    for (const float scale : plan->scale) {
      low = any ? std::min(low, scale) : scale;
      high = any ? std::max(high, scale) : scale;
      any = true;
    }
    type = typeName(plan->stored);
  }
  return {true, type + ", scales " + text::digits(low, 3) + " to " + text::digits(high, 3)};
}

// hqq's name for all layers of a kind: the module name without "model", "layers" and numbers.
std::string kindOf(const std::string& tensorName) {
  std::vector<std::string> kept;
  for (const std::string& part : text::split(moduleName(tensorName), '.')) {
    const bool number =
        !part.empty() && std::all_of(part.begin(), part.end(), [](unsigned char c) { return std::isdigit(c) != 0; });
    if (part != "model" && part != "layers" && !number) kept.push_back(part);
  }
  return text::join(kept, ".");
}

Json quantConfig(const Plan& plan) {
  const Json weights = {{"nbits", plan.bits},           {"channel_wise", true}, {"group_size", plan.group}, {"optimize", true},
                        {"round_zero", plan.bits == 4}, {"axis", plan.axis},    {"view_as_float", false}};
  return {{"weight_quant_params", weights},
          {"scale_quant_params", nullptr},
          {"zero_quant_params", nullptr},
          {"offload_meta", false}};
}

// One entry per kind of layer; the first layer of a kind that differs from its kin is the error.
Result<Json> configsByKind(const std::vector<ExportLayer>& layers) {
  Json kinds = Json::object();
  for (const ExportLayer& layer : layers) {
    const auto plan = planFor(*layer.tensor);
    if (!plan) return fail(plan.error().within(layer.name));
    const std::string kind = kindOf(layer.name);
    const Json config = quantConfig(*plan);
    if (kinds.contains(kind) && kinds[kind] != config)
      return fail(layer.name + ": other settings than the other layers named " + kind +
                  "; HQQ's config has one entry for them");
    kinds[kind] = config;
  }
  return kinds;
}

Verdict kindsAgree(const std::vector<ExportLayer>& layers) {
  const auto kinds = configsByKind(layers);
  if (!kinds) return {false, kinds.error().message};
  return {true, std::to_string(kinds->size()) + (kinds->size() == 1 ? " kind of layer" : " kinds of layers")};
}

}  // namespace

std::vector<RuleResult> preflight(std::string_view runtime, const std::vector<ExportLayer>& layers) {
  static const std::vector<Rule> rules = {
      {"HQQ's arithmetic and groups hold every tensor", {}, hqqSource, held},
      {"Bits are 8, 6, 5, 4, 3, 2 or 1", {}, "hqq 0.2.8 core/bitpack.py", bitsStored},
      {"Group divides every tensor", {}, hqqSource, groupDivides},
      {"Group is a multiple of 8",
       {"hqq", "transformers"},
       "hqq 0.2.8 core/quantize.py, BaseQuantizeConfig",
       groupMultipleOfEight},
      {"Groups run along rows (axis 1)", {"vllm"}, vllmSource, alongRows},
      {"Exactly 4 bits, group 64", {"vllm"}, vllmSource, fourBitsSixtyFour},
      {"Grouped rows fill the packing", {}, "hqq 0.2.8 core/bitpack.py", rowsPairUp},
      {"Scales and zeros are exact in the stored type", {}, hqqSource, numbersFit},
      {"Every tensor is a layer's weight", {"hqq", "transformers", "vllm"}, "hqq 0.2.8 models/base.py", namesEndInWeight},
      {"Layers of one kind share their settings", {"transformers", "vllm"}, transformersSource, kindsAgree},
  };
  return apply(rules, runtime, layers);
}

Result<std::string> configure(const std::string& config, const std::vector<ExportLayer>& layers,
                              const std::vector<std::string>& leftAlone) {
  auto kinds = configsByKind(layers);
  if (!kinds) return fail(kinds.error());
  Json parsed = config.empty() ? Json::object() : Json::parse(config, nullptr, false);
  if (!parsed.is_object()) return fail("config.json: not a JSON object");
  bool alike = true;
  for (const auto& [kind, entry] : kinds->items()) alike = alike && entry == *kinds->begin();
  Json skipped = Json::array();
  for (const std::string& name : leftAlone) skipped.push_back(moduleName(name));
  if (std::find(skipped.begin(), skipped.end(), "lm_head") == skipped.end()) skipped.push_back("lm_head");
  parsed["quantization_config"] = {{"quant_method", "hqq"},
                                   {"quant_config", alike && !kinds->empty() ? *kinds->begin() : *kinds},
                                   {"skip_modules", skipped}};
  return parsed.dump(2) + "\n";
}

}  // namespace nibble::formats::hqq
