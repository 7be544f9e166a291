// SPDX-License-Identifier: GPL-3.0-or-later
// What bitorch-engine's kernels and green-bit-llm's loader ask of MBWQ layers, and the files the loader reads.
#include "core/formats/rules.h"

#include "core/base/text.h"
#include "core/formats/mbwq/plan.h"
#include "core/formats/tools.h"

#include <algorithm>
#include <nlohmann/json.hpp>

namespace nibble::formats::mbwq {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::string_view layerSource = "bitorch-engine 0.2.6 qlinear/nbit/cuda/mbwq_layer.py";
constexpr std::string_view kernelSource = "bitorch-engine 0.2.6 cuda/exl2/kernel_select";
constexpr std::string_view loaderSource = "green-bit-llm common/utils.py, get_packed_info";

// Sets of widths the mixed kernels are compiled for, bit b - 1 for width b.
constexpr std::uint64_t compiledMasks[] = {0x02, 0x06, 0x04, 0x0E, 0x0C, 0x08, 0x18, 0x10, 0x30, 0x20, 0x80,
                                           0x26, 0x14, 0x8C, 0x98, 0xB0, 0xAC, 0x0A, 0x28, 0xA0, 0xBE};

std::string modeText(const ExportLayer& layer) {
  const auto plan = planFor(*layer.tensor);
  if (!plan) return "none";
  if (plan->mixed) return "mixed";
  return std::to_string(plan->groups.front().bits) + " bits, group " + text::number(plan->groups.front().inputs);
}

template <class Test>
Verdict ofEach(const std::vector<ExportLayer>& layers, std::string detailWhenOk, Test test) {
  for (const ExportLayer& layer : layers) {
    const auto plan = planFor(*layer.tensor);
    if (!plan) return {false, layer.name + ": " + plan.error().message};
    if (const std::optional<std::string> reason = test(*plan)) return {false, layer.name + ": " + *reason};
  }
  return {true, std::move(detailWhenOk)};
}

Verdict held(const std::vector<ExportLayer>& layers) {
  return ofEach(layers, distinct(layers, modeText), [](const Plan&) { return std::nullopt; });
}

Verdict inputsOfThirtyTwo(const std::vector<ExportLayer>& layers) {
  return noneRefused(
      layers,
      [](const ExportLayer& layer) -> std::optional<std::string> {
        if (layer.tensor->columns % 32 == 0) return std::nullopt;
        return "its " + text::number(layer.tensor->columns) + " inputs are not a multiple of 32";
      },
      "inputs and groups");
}

Verdict maskCompiled(const std::vector<ExportLayer>& layers) {
  return ofEach(layers, distinct(layers, modeText), [](const Plan& plan) -> std::optional<std::string> {
    const std::uint64_t mask = widthRows(plan.groups)[6];
    if (!plan.mixed || std::find(std::begin(compiledMasks), std::end(compiledMasks), mask) != std::end(compiledMasks))
      return std::nullopt;
    return "no kernel has this set of widths (mask " + text::number(mask) + ")";
  });
}

// The uniform kernel works in steps of 128 inputs and looks for the group at each step alone.
Verdict groupsMeetSteps(const std::vector<ExportLayer>& layers) {
  return ofEach(layers, distinct(layers, modeText), [](const Plan& plan) -> std::optional<std::string> {
    const std::uint64_t size = plan.groups.front().inputs;
    if (plan.mixed || size % 128 == 0 || 128 % size == 0) return std::nullopt;
    return "a group of " + text::number(size) + " neither divides 128 nor is a multiple of it";
  });
}

// The group map is made with 16-bit products of 32 and a group's rows.
Verdict mapFits(const std::vector<ExportLayer>& layers) {
  return ofEach(layers, "fewer than 1024 rows of codes in each group", [](const Plan& plan) -> std::optional<std::string> {
    for (const WidthGroup& group : plan.groups)
      if (plan.mixed && group.inputs * group.bits / 32 * 32 > 32767)
        return "a group has " + text::number(group.inputs * group.bits / 32) + " rows of codes";
    return std::nullopt;
  });
}

// The loader counts whole groups only.
Verdict groupsWhole(const std::vector<ExportLayer>& layers) {
  return ofEach(layers, "no group is shorter", [](const Plan& plan) -> std::optional<std::string> {
    for (std::size_t g = 1; g < plan.groups.size(); ++g)
      if (plan.groups[g].bits == plan.groups[g - 1].bits && plan.groups[g].inputs != plan.groups[g - 1].inputs)
        return "group " + text::number(std::uint64_t{g}) + " has another size than the one before of its width";
    return std::nullopt;
  });
}

Verdict oneMode(const std::vector<ExportLayer>& layers) {
  return sameOverLayers(layers, [](const ExportLayer& layer) {
    const auto plan = planFor(*layer.tensor);
    return std::string(!plan ? "none" : plan->mixed ? "channel-mix" : "layer-mix");
  });
}

// {"group_size": {"4": 32, "2": 32}, "bits": [4, 2], "bits_prop": [0.75, 0.25], "scale_bits": 16}
Json strategyOf(const Plan& plan) {
  Json sizes = Json::object(), bits = Json::array(), shares = Json::array();
  for (const std::uint8_t width : groupWidths) {
    std::uint64_t inputs = 0, size = 0;
    for (const WidthGroup& group : plan.groups) {
      if (group.bits != width) continue;
      if (size == 0) size = group.inputs;
      inputs += group.inputs;
    }
    if (inputs == 0) continue;
    sizes[std::to_string(width)] = size;
    bits.push_back(width);
    shares.push_back(static_cast<double>(inputs) / static_cast<double>(plan.columns));
  }
  return {{"group_size", sizes}, {"bits", bits}, {"bits_prop", shares}, {"scale_bits", 16}};
}

}  // namespace

std::vector<RuleResult> preflight(std::string_view runtime, const std::vector<ExportLayer>& layers) {
  static const std::vector<Rule> rules = {
      {"MBWQ's arithmetic and groups hold every tensor", {}, layerSource, held},
      {"Inputs are a multiple of 32, and so is every group", {}, layerSource, inputsOfThirtyTwo},
      {"A kernel is compiled for the widths", {"bitorch-engine"}, kernelSource, maskCompiled},
      {"A uniform group divides 128 or is a multiple of it", {"bitorch-engine"}, kernelSource, groupsMeetSteps},
      {"The group map fits 16 bits", {"bitorch-engine"}, layerSource, mapFits},
      {"No group is shorter than the others of its width", {"bitorch-engine"}, loaderSource, groupsWhole},
      {"All layers are uniform or all are mixed", {"bitorch-engine"}, "green-bit-llm common/model.py, layer modes", oneMode},
      {"Every tensor is a layer's weight", {"bitorch-engine"}, layerSource, namesEndInWeight},
  };
  return apply(rules, runtime, layers);
}

Result<std::string> configText(const std::vector<ExportLayer>& layers) {
  if (layers.empty()) return fail("no layer to describe");
  bool mixed = false;
  std::uint64_t group = 0, bits = 0, rows = 0, inputs = 0;
  for (const ExportLayer& layer : layers) {
    const auto plan = planFor(*layer.tensor);
    if (!plan) return fail(plan.error().within(layer.name));
    mixed = mixed || plan->mixed;
    const std::uint64_t own = uniformGroup(plan->groups);
    group = rows == 0 || group == own ? own : 0;
    bits = rows == 0 || bits == plan->groups.front().bits ? plan->groups.front().bits : 0;
    rows += packedRows(plan->groups);
    inputs += plan->columns;
  }
  Json config = {{"quant_method", "mbwq"}, {"use_mbw", mixed}};
  if (bits != 0 && !mixed) config["bits"] = bits;
  if (group != 0 && !mixed) config["group_size"] = group;
  return config.dump(2) + "\n";
}

Result<std::string> strategyText(const std::vector<ExportLayer>& layers) {
  Json measurement = Json::object();
  for (const ExportLayer& layer : layers) {
    const auto plan = planFor(*layer.tensor);
    if (!plan) return fail(plan.error().within(layer.name));
    // "model.layers.3.self_attn.q_proj" stands under "model.layers.3" as "q_proj".
    const std::string module = moduleName(layer.name);
    const std::size_t last = module.rfind('.');
    std::size_t block = module.find(".layers.");
    block = block == std::string::npos ? last : module.find('.', block + 8);
    if (block == std::string::npos || last == std::string::npos) block = 0;
    measurement[module.substr(0, block)][module.substr(last == std::string::npos ? 0 : last + 1)] = strategyOf(*plan);
  }
  return Json{{"measurement", measurement}}.dump(2) + "\n";
}

}  // namespace nibble::formats::mbwq
