// SPDX-License-Identifier: GPL-3.0-or-later
// What the loaders of compressed-tensors layers ask for, and the config they read. Layers of one kind and settings form a
// config group; a model with several has its layers named as targets. Where llm-compressor's own presets also quantize
// activations (int8 and FP8), the config asks for that too: no vLLM kernel takes such weights otherwise.
#include "core/formats/rules.h"

#include "core/base/text.h"
#include "core/formats/compressed_tensors/plan.h"
#include "core/formats/parts.h"

#include <algorithm>

namespace nibble::formats::compressed_tensors {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::string_view formatSource = "compressed-tensors 0.19 compressors/*";
constexpr std::string_view vllmSource = "vLLM quantization/compressed_tensors/compressed_tensors.py";
constexpr std::string_view transformersSource = "transformers quantizers/quantizer_compressed_tensors.py";
constexpr const char* layoutVersion = "0.19.0";

std::string_view strategyName(Strategy strategy) {
  switch (strategy) {
    case Strategy::Tensor:
      return "tensor";
    case Strategy::Channel:
      return "channel";
    case Strategy::Group:
      return "group";
    case Strategy::Block:
      return "block";
  }
  return {};
}

std::string planText(const ExportLayer& layer) {
  const auto plan = planFor(*layer.tensor);
  if (!plan) return "none";
  std::string text = std::string(formatName(plan->kind)) + " " + std::to_string(plan->bits) + " bit, " +
                     std::string(strategyName(plan->strategy));
  if (plan->strategy == Strategy::Group) text += " " + text::number(plan->group);
  return text;
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

Verdict kernelWidths(const std::vector<ExportLayer>& layers) {
  return everyPlan(
      layers,
      [](const Plan& plan) {
        const bool ok = plan.kind != Kind::Packed || plan.bits == 4 || plan.bits == 8;
        return ok ? std::string() : "packed " + std::to_string(plan.bits) + " bit codes have no kernel";
      },
      "4 and 8 bits are");
}

Verdict kernelGroups(const std::vector<ExportLayer>& layers) {
  return everyPlan(
      layers,
      [](const Plan& plan) {
        const bool fixed = plan.kind == Kind::Mxfp4 || plan.kind == Kind::Mxfp8 || plan.kind == Kind::Nvfp4;
        const bool grouped = plan.strategy == Strategy::Group;
        if (fixed || !grouped) return std::string();
        if (plan.kind == Kind::Float8) return std::string("FP8 scales per group have no kernel; channel, tensor or block have");
        const bool ok = plan.group == 32 || plan.group == 64 || plan.group == 128;
        return ok ? std::string() : "group " + text::number(plan.group) + " has no kernel; 32, 64, 128 and channel have";
      },
      distinct(layers, planText));
}

Verdict kernelSides(const std::vector<ExportLayer>& layers) {
  return everyPlan(
      layers,
      [](const Plan& plan) {
        const bool ok = plan.kind != Kind::Packed || (plan.rows % 64 == 0 && plan.columns % 128 == 0);
        return ok ? std::string() : toText({plan.rows, plan.columns}) + " is not a multiple of 64 outputs and 128 inputs";
      },
      "64 outputs, 128 inputs");
}

Verdict activations(const std::vector<ExportLayer>& layers) {
  const bool any = std::any_of(layers.begin(), layers.end(), [](const ExportLayer& layer) {
    const auto plan = planFor(*layer.tensor);
    return plan && (plan->kind == Kind::Int8 || plan->kind == Kind::Float8);
  });
  return {true, any ? "int8 and FP8 layers also quantize their inputs, token by token" : "weights only"};
}

Json arguments(int bits, std::string_view type, std::string_view strategy, const Json& group, const Json& block, bool symmetric,
               bool dynamic) {
  return {{"actorder", nullptr},
          {"block_structure", block},
          {"dynamic", dynamic},
          {"group_size", group},
          {"num_bits", bits},
          {"observer", dynamic ? Json(nullptr) : Json("memoryless_minmax")},
          {"observer_kwargs", Json::object()},
          {"scale_dtype", nullptr},
          {"strategy", strategy},
          {"symmetric", symmetric},
          {"type", type},
          {"zp_dtype", symmetric ? Json(nullptr) : Json("torch.int8")}};
}

Json weightArguments(const Plan& plan) {
  const bool integers = plan.kind == Kind::Packed || plan.kind == Kind::Int8;
  const bool nvfp4 = plan.kind == Kind::Nvfp4, mx = plan.kind == Kind::Mxfp4 || plan.kind == Kind::Mxfp8;
  Json weights = arguments(plan.bits, integers ? "int" : "float", nvfp4 ? "tensor_group" : strategyName(plan.strategy),
                           plan.strategy == Strategy::Group ? Json(plan.group) : Json(nullptr),
                           plan.strategy == Strategy::Block ? Json::array({plan.blockRows, plan.blockColumns}) : Json(nullptr),
                           plan.symmetric, false);
  if (nvfp4) weights["scale_dtype"] = "torch.float8_e4m3fn";
  if (mx) weights["scale_dtype"] = "torch.uint8";
  return weights;
}

Json inputArguments(const Plan& plan) {
  if (plan.kind != Kind::Int8 && plan.kind != Kind::Float8) return nullptr;
  const char* const type = plan.kind == Kind::Int8 ? "int" : "float";
  if (plan.strategy == Strategy::Block) return arguments(8, type, "group", Json(plan.blockColumns), nullptr, true, true);
  return arguments(8, type, "token", nullptr, nullptr, true, true);
}

}  // namespace

std::vector<RuleResult> preflight(std::string_view runtime, const std::vector<ExportLayer>& layers) {
  static const std::vector<Rule> rules = {
      {"A compressed-tensors layout holds every tensor", {}, formatSource, held},
      {"Weights are matrices", {}, formatSource, twoDimensional},
      {"Every tensor is a layer's weight", {"vllm", "transformers"}, transformersSource, namesEndInWeight},
      {"Packed codes are 4 or 8 bits", {"vllm"}, vllmSource, kernelWidths},
      {"Groups have a kernel", {"vllm"}, vllmSource, kernelGroups},
      {"Sides fit the Marlin kernel", {"vllm"}, "vLLM quantization/utils/marlin_utils.py", kernelSides},
      {"What happens to activations", {"vllm"}, vllmSource, activations},
  };
  return apply(rules, runtime, layers);
}

Result<std::string> configure(const std::string& config, const std::vector<ExportLayer>& layers,
                              const std::vector<std::string>& leftAlone) {
  struct Group {
    Json settings;
    std::vector<std::string> modules;
  };
  std::vector<Group> groups;
  for (const ExportLayer& layer : layers) {
    const auto plan = planFor(*layer.tensor);
    if (!plan) return fail(plan.error().within(layer.name));
    Json settings = {{"format", formatName(plan->kind)},
                     {"input_activations", inputArguments(*plan)},
                     {"output_activations", nullptr},
                     {"targets", Json::array({"Linear"})},
                     {"weights", weightArguments(*plan)}};
    auto same = std::find_if(groups.begin(), groups.end(), [&](const Group& group) { return group.settings == settings; });
    if (same == groups.end()) same = groups.insert(groups.end(), {std::move(settings), {}});
    same->modules.push_back(moduleName(layer.name));
  }
  if (groups.empty()) return fail("no layer to describe");
  Json described = Json::object(), ignored = Json::array();
  bool oneFormat = true;
  for (std::size_t i = 0; i < groups.size(); ++i) {
    if (groups.size() > 1) groups[i].settings["targets"] = groups[i].modules;
    oneFormat = oneFormat && groups[i].settings["format"] == groups[0].settings["format"];
    described["group_" + std::to_string(i)] = groups[i].settings;
  }
  for (const std::string& name : leftAlone) ignored.push_back(moduleName(name));
  const Json format = oneFormat ? groups[0].settings["format"] : Json("mixed-precision");
  return withEntries(config, {{"quantization_config",
                               {{"config_groups", described},
                                {"format", format},
                                {"global_compression_ratio", nullptr},
                                {"ignore", ignored},
                                {"kv_cache_scheme", nullptr},
                                {"quant_method", "compressed-tensors"},
                                {"quantization_status", "compressed"},
                                {"sparsity_config", Json::object()},
                                {"transform_config", Json::object()},
                                {"version", layoutVersion}}}});
}

}  // namespace nibble::formats::compressed_tensors
