// SPDX-License-Identifier: GPL-3.0-or-later
// What the loaders of GPTQ layers ask for, and the config they read.
#include "core/formats/rules.h"

#include "core/base/text.h"
#include "core/formats/gptq/plan.h"
#include "core/formats/tools.h"

#include <algorithm>
#include <nlohmann/json.hpp>

namespace nibble::formats::gptq {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::string_view formatSource = "AutoGPTQ 0.7 qlinear_cuda.py";
constexpr std::string_view planarSource = "GPTQModel 7.7, checkpoint_format gptq_p";
constexpr std::string_view transformersSource = "transformers utils/quantization_config.py, GPTQConfig";
constexpr std::string_view vllmSource = "vLLM quantization/gptq.py, gptq_marlin.py";
constexpr std::string_view exllamaSource = "exllamav2 model loader, GPTQ layers";

std::string bitsText(const ExportLayer& layer) {
  return std::to_string(layer.tensor->width.uniform);
}

// Version 2 holds all that version 1 holds, so its plan describes either; other widths are planar.
Result<Plan> anyPlan(const ExportLayer& layer) {
  return planFor(*layer.tensor, storesBits(layer.tensor->width.uniform, Version::V2) ? Version::V2 : Version::Planar);
}

// A layer of one group fits the group size of the others where it is no longer than that.
std::int64_t modelGroup(const std::vector<Plan>& plans) {
  for (const Plan& plan : plans)
    if (plan.groups > 1) return plan.configGroup();
  return -1;
}
std::int64_t groupWithin(const Plan& plan, std::int64_t group) {
  if (plan.groups == 1 && group > 0 && plan.columns <= static_cast<std::uint64_t>(group)) return group;
  return plan.configGroup();
}

std::string groupText(const ExportLayer& layer) {
  const auto plan = anyPlan(layer);
  return plan ? text::number(plan->configGroup()) : "none";
}

std::string settingsText(const ExportLayer& layer) {
  return bitsText(layer) + " bits, group " + groupText(layer);
}
std::string sidesText(const ExportLayer& layer) {
  return toText(layer.tensor->shape);
}

template <Version version>
Verdict held(const std::vector<ExportLayer>& layers) {
  return noneRefused(
      layers,
      [](const ExportLayer& layer) -> std::optional<std::string> {
        const auto plan = planFor(*layer.tensor, version);
        return plan ? std::nullopt : std::optional(plan.error().message);
      },
      std::to_string(layers.size()) + (layers.size() == 1 ? " layer" : " layers"));
}

template <class Test>
bool everyPlan(const std::vector<ExportLayer>& layers, Test test) {
  return std::all_of(layers.begin(), layers.end(), [&](const ExportLayer& layer) {
    const auto plan = anyPlan(layer);
    return plan && test(*plan);
  });
}

template <Version version>
Verdict bitsStored(const std::vector<ExportLayer>& layers) {
  const auto stored = [](int bits) { return storesBits(bits, version); };
  return {std::all_of(layers.begin(), layers.end(), [&](const auto& layer) { return stored(layer.tensor->width.uniform); }),
          distinct(layers, bitsText)};
}

Verdict groupDivides(const std::vector<ExportLayer>& layers) {
  return {everyPlan(layers, [](const Plan&) { return true; }), "group " + distinct(layers, groupText)};
}

Verdict sidesOfThirtyTwo(const std::vector<ExportLayer>& layers) {
  const bool ok = std::all_of(layers.begin(), layers.end(), [](const auto& layer) {
    return layer.tensor->rows % 32 == 0 && layer.tensor->columns % 32 == 0;
  });
  return {ok, distinct(layers, sidesText)};
}

Verdict kernelGroups(const std::vector<ExportLayer>& layers) {
  const bool ok = everyPlan(layers, [](const Plan& plan) {
    const std::int64_t group = plan.configGroup();
    return group == -1 || group == 32 || group == 64 || group == 128;
  });
  return {ok, "group " + distinct(layers, groupText)};
}

Verdict scalesExact(const std::vector<ExportLayer>& layers) {
  return {everyPlan(layers, [](const Plan&) { return true; }), "exact in float16"};
}

Verdict zerosStored(const std::vector<ExportLayer>& layers) {
  float low = 1e9f, high = -1e9f;
  for (const ExportLayer& layer : layers) {
    const auto plan = anyPlan(layer);
    if (!plan) return {false, layer.name + ": " + plan.error().message};
    low = std::min(low, *std::min_element(plan->zero.begin(), plan->zero.end()));
    high = std::max(high, *std::max_element(plan->zero.begin(), plan->zero.end()));
  }
  return {low >= 1, "zero points " + text::number(low) + " to " + text::number(high)};
}

Verdict zerosAnyCode(const std::vector<ExportLayer>& layers) {
  return {true, zerosStored(layers).detail};
}

Verdict fourBits(const std::vector<ExportLayer>& layers) {
  return {everyPlan(layers, [](const Plan& plan) { return plan.bits == 4; }), distinct(layers, bitsText)};
}

Verdict shared(const std::vector<ExportLayer>& layers) {
  std::vector<Plan> plans;
  for (const ExportLayer& layer : layers) {
    auto plan = anyPlan(layer);
    if (!plan) return {false, layer.name + ": " + plan.error().message};
    plans.push_back(*std::move(plan));
  }
  const std::int64_t group = modelGroup(plans);
  const bool ok = std::all_of(plans.begin(), plans.end(), [&](const Plan& plan) {
    return plan.bits == plans[0].bits && groupWithin(plan, group) == group;
  });
  return {ok, distinct(layers, settingsText)};
}

bool isHead(const ExportLayer& layer) {
  const std::string module = moduleName(layer.name);
  return module == "lm_head" || module.ends_with(".lm_head");
}

std::string escaped(const std::string& name) {
  std::string pattern;
  for (const char c : name) {
    if (std::string_view(".[](){}*+?^$|\\").find(c) != std::string_view::npos) pattern += '\\';
    pattern += c;
  }
  return pattern;
}

// GPTQModel's overrides by name: layers with other settings, and matrices that stay float.
Json overrides(const std::vector<ExportLayer>& layers, const std::vector<Plan>& plans,
               const std::vector<std::string>& leftAlone) {
  Json dynamic = Json::object();
  for (const std::string& name : leftAlone) dynamic["-:^" + escaped(moduleName(name)) + "$"] = Json::object();
  const std::int64_t group = modelGroup(plans);
  for (std::size_t i = 0; i < layers.size(); ++i)
    if (plans[i].bits != plans[0].bits || groupWithin(plans[i], group) != group)
      dynamic["+:^" + escaped(moduleName(layers[i].name)) + "$"] = {{"bits", plans[i].bits},
                                                                    {"group_size", plans[i].configGroup()}};
  return dynamic;
}

}  // namespace

std::vector<RuleResult> preflight(std::string_view runtime, const std::vector<ExportLayer>& layers, Version version) {
  const bool first = version == Version::V1, planar = version == Version::Planar;
  const auto holds = first ? held<Version::V1> : planar ? held<Version::Planar> : held<Version::V2>;
  const std::vector<Rule> rules = {
      {"GPTQ's arithmetic and groups hold every tensor", {}, formatSource, holds},
      planar ? Rule{"Bits are 3, 5, 6 or 7", {}, planarSource, bitsStored<Version::Planar>}
             : Rule{"Bits are 2, 3, 4 or 8", {}, formatSource, bitsStored<Version::V2>},
      {"Group divides the input", {}, formatSource, groupDivides},
      {"Both sides are multiples of 32", {}, formatSource, sidesOfThirtyTwo},
      {"Scales are exact in float16", {}, formatSource, scalesExact},
      first ? Rule{"No zero point is 0 (zero - 1 is stored)", {}, formatSource, zerosStored}
            : Rule{"Zero points are codes", {}, "GPTQModel utils/model.py, checkpoint_format gptq_v2", zerosAnyCode},
      {"Group is -1, 32, 64 or 128", {"vllm", "exllamav2"}, vllmSource, kernelGroups},
      {"Exactly 4 bits", {"exllamav2"}, exllamaSource, fourBits},
      {"All layers share bits and group", {"transformers", "exllamav2"}, transformersSource, shared},
      {"Every tensor is a layer's weight", {"transformers", "vllm", "exllamav2"}, transformersSource, namesEndInWeight},
  };
  return apply(rules, runtime, layers);
}

Result<std::string> configText(const std::vector<ExportLayer>& layers, const std::vector<std::string>& leftAlone,
                               Version version) {
  std::vector<Plan> plans;
  bool symmetric = true, sorted = true;
  for (const ExportLayer& layer : layers) {
    auto plan = planFor(*layer.tensor, version);
    if (!plan) return fail(plan.error().within(layer.name));
    symmetric = symmetric && isSymmetric(*plan);
    sorted = sorted && plan->sorted();
    plans.push_back(std::move(*plan));
  }
  if (plans.empty()) return fail("no layer to describe");
  const bool head = std::any_of(layers.begin(), layers.end(), isHead);  // vLLM loads a quantized head only where this is true
  const char* const format = version == Version::V1 ? "gptq" : version == Version::V2 ? "gptq_v2" : "gptq_p";
  Json config = {{"quant_method", "gptq"},  {"bits", plans[0].bits}, {"group_size", modelGroup(plans)},
                 {"damp_percent", 0.01},    {"desc_act", !sorted},   {"sym", symmetric},
                 {"true_sequential", true}, {"lm_head", head},       {"checkpoint_format", format}};
  if (Json dynamic = overrides(layers, plans, leftAlone); !dynamic.empty()) config["dynamic"] = std::move(dynamic);
  return config.dump(2) + "\n";
}

}  // namespace nibble::formats::gptq
