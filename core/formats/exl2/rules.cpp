// SPDX-License-Identifier: GPL-3.0-or-later
// What exllamav2 asks of the layers it loads, and the config it and others read.
#include "core/formats/rules.h"

#include "core/base/text.h"
#include "core/formats/exl2/plan.h"
#include "core/formats/input_groups.h"
#include "core/formats/tools.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>

namespace nibble::formats::exl2 {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::string_view converterSource = "exllamav2 0.3.2 conversion/adaptivegptq.py, pack";
constexpr std::string_view loaderSource = "exllamav2 0.3.2 linear.py, ext.py, make_q_matrix";
constexpr std::string_view attentionSource = "exllamav2 0.3.2 attn.py, load";
constexpr std::string_view mlpSource = "exllamav2 0.3.2 mlp.py, load";
constexpr std::string_view attentionParts[] = {"q_proj", "k_proj", "v_proj", "o_proj"};
constexpr std::string_view mlpParts[] = {"gate_proj", "up_proj", "down_proj"};

std::string widthsText(const ExportLayer& layer) {
  const auto plan = planFor(*layer.tensor);
  if (!plan) return "none";
  std::string words;
  for (const std::uint8_t bits : groupWidths)
    if (std::any_of(plan->groups.begin(), plan->groups.end(), [bits](const WidthGroup& group) { return group.bits == bits; }))
      words += (words.empty() ? "" : "/") + std::to_string(bits);
  return words + " bits";
}

// A check of each layer's plan; what planFor itself refuses is refused here too.
template <class Test>
Verdict ofEach(const std::vector<ExportLayer>& layers, std::string detailWhenOk, Test test) {
  for (const ExportLayer& layer : layers) {
    const auto plan = planFor(*layer.tensor);
    if (!plan) return {false, layer.name + ": " + plan.error().message};
    if (const std::optional<std::string> reason = test(*plan, layer)) return {false, layer.name + ": " + *reason};
  }
  return {true, std::move(detailWhenOk)};
}

Verdict held(const std::vector<ExportLayer>& layers) {
  return ofEach(layers, distinct(layers, widthsText), [](const Plan&, const ExportLayer&) { return std::nullopt; });
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

Verdict inputsCounted(const std::vector<ExportLayer>& layers) {
  return noneRefused(
      layers,
      [](const ExportLayer& layer) -> std::optional<std::string> {
        if (layer.tensor->columns <= 65535) return std::nullopt;
        return text::number(layer.tensor->columns) + " inputs";
      },
      "16 bits number them");
}

Verdict tableFits(const std::vector<ExportLayer>& layers) {
  return ofEach(layers, "groups begin at row 32767 or before",
                [](const Plan& plan, const ExportLayer&) { return refusalOf(plan.groups); });
}

Verdict padded(const std::vector<ExportLayer>& layers) {
  return ofEach(layers, "filled with zeros where they are not", [](const Plan&, const ExportLayer&) { return std::nullopt; });
}

Verdict biasFits(const std::vector<ExportLayer>& layers) {
  return noneRefused(
      layers,
      [](const ExportLayer& layer) -> std::optional<std::string> {
        if (!layer.bias) return std::nullopt;
        const auto values = layer.bias->readAll();
        if (!values) return values.error().message;
        for (const float value : *values)
          if (!std::isfinite(kernels::roundTo(FloatType::F16, value))) return "a bias of " + text::number(value);
        return std::nullopt;
      },
      "stored as float16");
}

// "model.layers.0.self_attn.q_proj.weight" -> {"model.layers.0.self_attn.", "q_proj"}.
std::pair<std::string, std::string> blockOf(const std::string& name) {
  const std::string module = moduleName(name);
  const std::size_t dot = module.rfind('.');
  return {module.substr(0, dot == std::string::npos ? 0 : dot + 1), module.substr(dot == std::string::npos ? 0 : dot + 1)};
}

// All parts of a block are among the layers, or none of them.
Verdict wholeBlocks(const std::vector<ExportLayer>& layers, std::span<const std::string_view> parts) {
  std::map<std::string, std::vector<std::string>> blocks;
  for (const ExportLayer& layer : layers) {
    const auto [block, part] = blockOf(layer.name);
    if (std::find(parts.begin(), parts.end(), part) != parts.end()) blocks[block].push_back(part);
  }
  for (const auto& [block, present] : blocks)
    for (const std::string_view part : parts)
      if (std::find(present.begin(), present.end(), part) == present.end())
        return {false, block + present.front() + " is quantized and " + block + std::string(part) + " is not"};
  return {true, std::to_string(blocks.size()) + (blocks.size() == 1 ? " block" : " blocks")};
}

Verdict wholeAttention(const std::vector<ExportLayer>& layers) {
  return wholeBlocks(layers, attentionParts);
}
Verdict wholeMlp(const std::vector<ExportLayer>& layers) {
  return wholeBlocks(layers, mlpParts);
}

// The loader moves down's permutation into the outputs of gate and up, so those may not be padded, and their biases stay.
Verdict downPermutation(const std::vector<ExportLayer>& layers) {
  std::map<std::string, const ExportLayer*> downs;
  for (const ExportLayer& layer : layers)
    if (const auto [block, part] = blockOf(layer.name); part == "down_proj") downs[block] = &layer;
  for (const ExportLayer& layer : layers) {
    const auto [block, part] = blockOf(layer.name);
    const auto down = downs.find(block);
    if ((part != "gate_proj" && part != "up_proj") || down == downs.end()) continue;
    if (layer.tensor->rows != down->second->tensor->columns)
      return {false, layer.name + ": " + text::number(layer.tensor->rows) + " outputs, but " + block + "down_proj has " +
                         text::number(down->second->tensor->columns) + " inputs"};
    if (layer.bias && !isIdentity(down->second->tensor->order))
      return {false, down->second->name + ": its inputs are permuted and " + layer.name + " has a bias, which stays as it was"};
  }
  return {true, std::to_string(downs.size()) + (downs.size() == 1 ? " block" : " blocks")};
}

// Bits per weight of these layers as written, biases aside.
double bitsOf(const std::vector<const ExportLayer*>& layers) {
  double bits = 0, weights = 0;
  for (const ExportLayer* layer : layers) {
    const auto plan = planFor(*layer->tensor);
    if (!plan) continue;
    const auto groups = static_cast<double>(plan->groups.size()), outputs = static_cast<double>(plan->outputs);
    bits += 32.0 * static_cast<double>(packedRows(plan->groups)) * outputs + groups * (48 + 4 * outputs) +
            32.0 * static_cast<double>(plan->columns);
    weights += static_cast<double>(layer->tensor->weightCount());
  }
  return weights == 0 ? 16 : bits / weights;
}

double thousandths(double value) {
  return std::nearbyint(value * 1000) / 1000;
}

}  // namespace

std::vector<RuleResult> preflight(std::string_view runtime, const std::vector<ExportLayer>& layers) {
  static const std::vector<Rule> rules = {
      {"EXL2's arithmetic, groups and scales hold every tensor", {}, converterSource, held},
      {"Inputs are a multiple of 32, and so is every group", {}, loaderSource, inputsOfThirtyTwo},
      {"At most 65535 inputs", {}, loaderSource, inputsCounted},
      {"Groups stand by descending width, from rows that 16 bits can say", {}, loaderSource, tableFits},
      {"Outputs are a multiple of 32", {}, converterSource, padded},
      {"Biases are float16", {}, loaderSource, biasFits},
      {"Every tensor is a layer's weight", {"exllamav2"}, loaderSource, namesEndInWeight},
      {"Attention is quantized whole or not at all", {"exllamav2"}, attentionSource, wholeAttention},
      {"An MLP is quantized whole or not at all", {"exllamav2"}, mlpSource, wholeMlp},
      {"The permutation of down_proj can move into gate and up", {"exllamav2"}, mlpSource, downPermutation},
  };
  return apply(rules, runtime, layers);
}

Result<std::string> configText(const std::vector<ExportLayer>& layers) {
  std::vector<const ExportLayer*> body, head;
  for (const ExportLayer& layer : layers) (moduleName(layer.name).ends_with("lm_head") ? head : body).push_back(&layer);
  if (layers.empty()) return fail("no layer to describe");
  Json config = {{"quant_method", "exl2"},
                 {"version", "0.3.2"},
                 {"bits", thousandths(bitsOf(body.empty() ? head : body))},
                 {"head_bits", head.empty() ? 16 : static_cast<int>(std::nearbyint(bitsOf(head)))},
                 {"calibration", {{"rows", 0}, {"length", 0}, {"dataset", "(none)"}}}};
  return config.dump(2) + "\n";
}

}  // namespace nibble::formats::exl2
