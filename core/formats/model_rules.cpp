// SPDX-License-Identifier: GPL-3.0-or-later
#include "core/formats/model_rules.h"

#include "core/base/text.h"
#include "core/formats/tools.h"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>

namespace nibble {
namespace {

using formats::moduleName;

struct Model {
  const std::vector<ExportLayer>& layers;
  const ModelFacts& facts;
};

struct Verdict {
  bool ok = false;
  std::string detail;
};

struct ModelRule {
  std::string_view text;
  std::vector<std::string_view> runtimes;  // that insist on it; empty for advice
  std::string_view source;
  Verdict (*check)(const Model& model);
};

// "model.layers.0.self_attn" and "q_proj".
std::pair<std::string, std::string> parentAndLeaf(const std::string& name) {
  const std::string module = moduleName(name);
  const std::size_t dot = module.rfind('.');
  if (dot == std::string::npos) return {std::string(), module};
  return {module.substr(0, dot), module.substr(dot + 1)};
}

// Modules that vLLM loads as one matrix.
const std::vector<std::vector<std::string>>& fusedSets() {
  static const std::vector<std::vector<std::string>> sets = {
      {"q_proj", "k_proj", "v_proj"}, {"query", "key", "value"}, {"gate_proj", "up_proj"}, {"w1", "w3"}};
  return sets;
}

// What must be the same for layers that become one: width, levels and how groups lie along the input.
std::string settingsOf(const QuantizedTensor& tensor) {
  const auto along = tensor.scale ? formats::tileColumnsOf(tensor.scale->grouping) : std::nullopt;
  std::string text = tensor.width.bits.empty() ? std::to_string(tensor.width.uniform) + " bits" : "mixed bits";
  if (tensor.scale) text += ", group " + (along ? text::number(*along) : tensor.scale->grouping.describe());
  return text;
}

Verdict fusedAlike(const Model& model) {
  std::size_t found = 0;
  for (const ExportLayer& layer : model.layers) {
    const auto [parent, leaf] = parentAndLeaf(layer.name);
    for (const auto& set : fusedSets()) {
      if (std::find(set.begin(), set.end(), leaf) == set.end()) continue;
      ++found;
      const std::string head = parent.empty() ? std::string() : parent + ".";
      for (const std::string& sibling : set) {
        for (const ExportLayer& other : model.layers)
          if (moduleName(other.name) == head + sibling && settingsOf(*other.tensor) != settingsOf(*layer.tensor))
            return {false,
                    layer.name + " has " + settingsOf(*layer.tensor) + ", " + other.name + " " + settingsOf(*other.tensor)};
        for (const std::string& other : model.facts.leftAlone)
          if (moduleName(other) == head + sibling) return {false, layer.name + " is quantized, " + other + " is not"};
      }
    }
  }
  return {true, found == 0 ? "none of them is fused" : text::number(std::uint64_t{found}) + " fused layers agree"};
}

bool tied(const std::string& config) {
  const auto json = nlohmann::json::parse(config, nullptr, false);
  if (!json.is_object()) return false;
  const auto says = [](const nlohmann::json& object) {
    return object.contains("tie_word_embeddings") && object["tie_word_embeddings"] == true;
  };
  return says(json) || (json.contains("text_config") && json["text_config"].is_object() && says(json["text_config"]));
}

bool isHead(const std::string& leaf) {
  return leaf == "lm_head" || leaf == "embed_out";
}
bool isEmbedding(const std::string& leaf) {
  return leaf == "embed_tokens" || leaf == "wte" || leaf == "tok_embeddings" || leaf == "word_embeddings" ||
         leaf == "position_embeddings" || leaf == "token_type_embeddings";
}

Verdict tiedStayFloat(const Model& model) {
  if (!tied(model.facts.config)) return {true, "nothing is tied"};
  for (const ExportLayer& layer : model.layers)
    if (const std::string leaf = parentAndLeaf(layer.name).second; isHead(leaf) || leaf == "embed_tokens" || leaf == "wte")
      return {false, layer.name + " is one matrix with its twin (tie_word_embeddings); the twin would be lost"};
  return {true, "tied embeddings are not among them"};
}

Verdict embeddingsStayFloat(const Model& model) {
  for (const ExportLayer& layer : model.layers)
    if (isEmbedding(parentAndLeaf(layer.name).second))
      return {false, layer.name + " is an embedding table, not a linear layer"};
  return {true, "no embedding table among them"};
}

// Layers whose inputs are split over the cards; the others' outputs are.
bool splitsInputs(const std::string& name) {
  const std::string module = moduleName(name);
  for (const std::string_view end : {"o_proj", "down_proj", "out_proj", "c_proj", "fc2", "w2", "output.dense", "dense_4h_to_h"})
    if (module.ends_with(end)) return true;
  return false;
}

// Why a layer cannot be split over so many cards; none: it can.
std::optional<std::string> splitRefusal(const ExportLayer& layer, std::uint64_t cards) {
  constexpr std::uint64_t wordLanes = 8;  // 4-bit codes of a 32-bit word
  const QuantizedTensor& tensor = *layer.tensor;
  if (!splitsInputs(layer.name)) {
    if (tensor.rows % (cards * wordLanes) == 0) return std::nullopt;
    return text::number(tensor.rows) + " outputs are not whole words on each";
  }
  if (tensor.columns % (cards * wordLanes) != 0) return text::number(tensor.columns) + " inputs are not whole words on each";
  if (!tensor.scale || tensor.scale->grouping.kind() == Grouping::Kind::Columns) return std::nullopt;
  const auto group = formats::tileColumnsOf(tensor.scale->grouping);
  if (!group || *group >= tensor.columns || tensor.columns / cards % *group == 0) return std::nullopt;
  return text::number(tensor.columns / cards) + " inputs each, which groups of " + text::number(*group) + " do not divide";
}

Verdict splitOver(const Model& model, std::uint64_t cards) {
  for (const ExportLayer& layer : model.layers)
    if (const auto reason = splitRefusal(layer, cards))
      return {false, text::number(cards) + " cards: " + layer.name + ": " + *reason};
  return {true, text::number(cards) + (cards == 1 ? " card" : " cards")};
}

Verdict splitAsAsked(const Model& model) {
  return splitOver(model, static_cast<std::uint64_t>(std::max(1, model.facts.cards)));
}

Verdict splitLater(const Model& model) {
  for (const std::uint64_t cards : {2u, 4u, 8u})
    if (Verdict verdict = splitOver(model, cards); !verdict.ok) return verdict;
  return {true, "2, 4 and 8 cards"};
}

// GPTQ-like layers alone: whole codes with a zero point, or symmetric ones, in 4 or 8 bits.
Verdict marlinShapes(const Model& model) {
  for (const ExportLayer& layer : model.layers) {
    const QuantizedTensor& tensor = *layer.tensor;
    const auto group = tensor.scale ? formats::tileColumnsOf(tensor.scale->grouping) : std::nullopt;
    const int bits = tensor.width.uniform;
    if (tensor.levels.kind != Levels::Kind::Identity || (bits != 4 && bits != 8))
      return {false, layer.name + ": not 4 or 8 bit integers"};
    if (tensor.columns % 128 != 0 || tensor.rows % 64 != 0)
      return {false, layer.name + ": " + toText(tensor.shape) + ", inputs must be a multiple of 128 and outputs of 64"};
    if (group && *group != 32 && *group != 64 && *group != 128 && *group < tensor.columns)
      return {false, layer.name + ": group " + text::number(*group) + ", not -1, 32, 64 or 128"};
  }
  return {true, "every layer"};
}

const std::array<ModelRule, 3>& rulesTable() {
  static const std::array<ModelRule, 3> rules = {{
      {"Fused layers are quantized alike (q k v; gate up)",
       {"vllm"},
       "vLLM quantization/utils/quant_utils.py, is_layer_skipped; vllm#47473, auto-round#2174",
       fusedAlike},
      {"Tied embeddings stay as they are",
       {"transformers", "vllm"},
       "transformers modeling_utils.py, tie_weights",
       tiedStayFloat},
      {"Groups and words stay whole on every card",
       {"vllm"},
       "vLLM quantization/gptq.py and awq.py, create_weights (tensor parallel size)",
       splitAsAsked},
  }};
  return rules;
}

const std::array<ModelRule, 3>& adviceTable() {
  static const std::array<ModelRule, 3> rules = {{
      {"Embedding tables are left out", {}, "transformers and vLLM replace linear layers only", embeddingsStayFloat},
      {"Can be split over 2, 4 and 8 cards", {}, "vLLM quantization/gptq.py and awq.py, create_weights", splitLater},
      {"Marlin's fast kernels take every layer",
       {},
       "vLLM quantization/utils/marlin_utils.py: min_thread_k 128, min_thread_n 64, group sizes; llm-compressor#1489",
       marlinShapes},
  }};
  return rules;
}

RuleResult resultOf(const ModelRule& rule, bool asked, const Model& model) {
  Verdict verdict = rule.check(model);
  return {std::string(rule.text), asked, verdict.ok, std::move(verdict.detail), std::string(rule.source)};
}

}  // namespace

std::vector<RuleResult> modelRules(std::string_view runtime, const std::vector<ExportLayer>& layers, const ModelFacts& facts) {
  std::vector<RuleResult> results;
  for (const ModelRule& rule : rulesTable()) {
    const bool asked = std::find(rule.runtimes.begin(), rule.runtimes.end(), runtime) != rule.runtimes.end();
    results.push_back(resultOf(rule, asked, {layers, facts}));
  }
  return results;
}

std::vector<RuleResult> modelAdvice(const std::vector<ExportLayer>& layers, const ModelFacts& facts) {
  std::vector<RuleResult> results;
  for (const ModelRule& rule : adviceTable()) results.push_back(resultOf(rule, false, {layers, facts}));
  return results;
}

}  // namespace nibble
