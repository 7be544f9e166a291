// SPDX-License-Identifier: GPL-3.0-or-later
#include "core/formats/gguf/family.h"

#include "core/base/text.h"

#include <array>
#include <cmath>
#include <numbers>

namespace nibble::formats::gguf {
namespace {

using nlohmann::json;

struct Kind {
  std::string_view modelType, architecture;
};
constexpr std::array kinds{Kind{"llama", "llama"}, Kind{"mistral", "llama"}, Kind{"qwen2", "qwen2"},
                           Kind{"qwen3", "qwen3"}, Kind{"bert", "bert"}};

std::optional<double> numberAt(const json& object, const char* key) {
  if (!object.is_object() || !object.contains(key) || !object[key].is_number()) return std::nullopt;
  return object[key].get<double>();
}

std::string textAt(const json& object, const char* key) {
  return object.is_object() && object.contains(key) && object[key].is_string() ? object[key].get<std::string>() : std::string();
}

Result<std::uint64_t> countAt(const json& config, const char* key, std::optional<std::uint64_t> fallback = std::nullopt) {
  const auto number = numberAt(config, key);
  if (!number && fallback) return *fallback;
  if (!number || *number < 1 || *number > 1e9 || *number != std::floor(*number))
    return fail(std::string("config.json: ") + key + " is missing or no count");
  return static_cast<std::uint64_t>(*number);
}

// Rotary settings lie in rope_parameters (transformers 5) or in rope_scaling beside rope_theta.
json ropeOf(const json& config) {
  json rope = json::object();
  for (const char* key : {"rope_scaling", "rope_parameters"})
    if (config.contains(key) && config[key].is_object()) rope.update(config[key]);
  if (!rope.contains("rope_theta") && numberAt(config, "rope_theta")) rope["rope_theta"] = config["rope_theta"];
  return rope;
}

// Llama 3 slows low frequencies: by `factor` beyond the long wavelength, not at all below the short one, smoothly between.
Result<std::vector<float>> llama3Factors(const json& rope, double theta, std::uint64_t headSize) {
  const auto factor = numberAt(rope, "factor"), low = numberAt(rope, "low_freq_factor"), high = numberAt(rope, "high_freq_factor"),
             context = numberAt(rope, "original_max_position_embeddings");
  if (!factor || !low || !high || !context || *low == *high) return fail("config.json: the llama3 rope scaling is incomplete");
  std::vector<float> factors;
  for (std::uint64_t i = 0; i < headSize; i += 2) {
    const double frequency = std::pow(theta, -static_cast<double>(i) / static_cast<double>(headSize));
    const double wavelength = 2 * std::numbers::pi / frequency;
    const double smooth = (*context / wavelength - *low) / (*high - *low);
    const double slowed = wavelength < *context / *high  ? 1
                          : wavelength > *context / *low ? *factor
                                                         : 1 / ((1 - smooth) / *factor + smooth);
    factors.push_back(static_cast<float>(slowed));
  }
  return factors;
}

Status addRope(Family& family, const json& config) {
  const json rope = ropeOf(config);
  const std::string head = family.architecture + ".rope.";
  const double theta = numberAt(rope, "rope_theta").value_or(10000.0);
  family.values.push_back(GgufValue::real(head + "freq_base", static_cast<float>(theta)));
  const std::string type = textAt(rope, rope.contains("rope_type") ? "rope_type" : "type");
  if (type == "llama3") {
    auto factors = llama3Factors(rope, theta, family.headSize);
    if (!factors) return fail(factors.error());
    family.ropeFactors = *std::move(factors);
  } else if (type == "linear") {
    const auto factor = numberAt(rope, "factor");
    if (!factor) return fail("config.json: the linear rope scaling has no factor");
    family.values.push_back(GgufValue::text(head + "scaling.type", "linear"));
    family.values.push_back(GgufValue::real(head + "scaling.factor", static_cast<float>(*factor)));
  } else if (!type.empty() && type != "default") {
    return fail("rope scaling \"" + type + "\" is not written (only llama3 and linear)");
  }
  return {};
}

// What would make llama.cpp compute something else without a word.
Status checkActivation(const json& config, std::string_view wanted) {
  const std::string activation = textAt(config, "hidden_act");
  if (!activation.empty() && activation != wanted) return fail("hidden_act is \"" + activation + "\", llama.cpp computes " + std::string(wanted));
  return {};
}

Status addDecoder(Family& family, const json& config) {
  NIBBLE_TRY(checkActivation(config, "silu"));
  for (const char* key : {"num_local_experts", "num_experts"})
    if (numberAt(config, key).value_or(0) > 0) return fail("mixtures of experts are not written");
  if (config.value("use_sliding_window", false)) return fail("sliding windows are not written");
  const auto epsilon = numberAt(config, "rms_norm_eps");
  if (!epsilon) return fail("config.json: rms_norm_eps is missing");
  const std::string head = family.architecture + ".";
  const auto count = [&](const char* key, std::uint64_t value) {
    family.values.push_back(GgufValue::number(head + key, static_cast<std::uint32_t>(value)));
  };
  count("attention.head_count_kv", family.keyHeads);
  family.values.push_back(GgufValue::real(head + "attention.layer_norm_rms_epsilon", static_cast<float>(*epsilon)));
  count("attention.key_length", family.headSize);
  count("attention.value_length", family.headSize);
  count("rope.dimension_count", family.headSize);
  count("vocab_size", family.vocabulary);
  return addRope(family, config);
}

Status addBert(Family& family, const json& config) {
  NIBBLE_TRY(checkActivation(config, "gelu"));
  const std::string positions = textAt(config, "position_embedding_type");
  if (!positions.empty() && positions != "absolute") return fail("position_embedding_type is \"" + positions + "\", only absolute is known");
  family.values.push_back(GgufValue::real("bert.attention.layer_norm_epsilon",
                                          static_cast<float>(numberAt(config, "layer_norm_eps").value_or(1e-12))));
  family.values.push_back(GgufValue::flag("bert.attention.causal", false));
  family.values.push_back(GgufValue::number("tokenizer.ggml.token_type_count",
                                            static_cast<std::uint32_t>(numberAt(config, "type_vocab_size").value_or(1))));
  return {};
}

Status addSizes(Family& family, const json& config) {
  const auto layers = countAt(config, "num_hidden_layers"), hidden = countAt(config, "hidden_size"),
             heads = countAt(config, "num_attention_heads"), forward = countAt(config, "intermediate_size"),
             context = countAt(config, "max_position_embeddings"), vocabulary = countAt(config, "vocab_size");
  for (const auto* one : {&layers, &hidden, &heads, &forward, &context, &vocabulary})
    if (!*one) return fail(one->error());
  const auto keyHeads = countAt(config, "num_key_value_heads", *heads), headSize = countAt(config, "head_dim", *hidden / *heads);
  if (!keyHeads) return fail(keyHeads.error());
  if (!headSize) return fail(headSize.error());
  if (*heads % *keyHeads != 0) return fail("config.json: the key heads do not divide the heads");
  family.layers = *layers, family.heads = *heads, family.keyHeads = *keyHeads, family.headSize = *headSize;
  family.vocabulary = *vocabulary;
  family.tied = config.value("tie_word_embeddings", false);
  const auto count = [&](const char* key, std::uint64_t value) {
    family.values.push_back(GgufValue::number(family.architecture + "." + key, static_cast<std::uint32_t>(value)));
  };
  count("block_count", *layers);
  count("context_length", *context);
  count("embedding_length", *hidden);
  count("feed_forward_length", *forward);
  count("attention.head_count", *heads);
  return {};
}

void addLayer(std::vector<std::string>& names, const std::string& head, std::initializer_list<std::string_view> modules,
              std::string_view ending) {
  for (const std::string_view module : modules) names.push_back(head + std::string(module) + std::string(ending));
}

}  // namespace

Result<Family> familyOf(const json& config) try {
  if (!config.is_object() || config.empty()) return fail("there is no config.json beside the weights");
  const std::string type = textAt(config, "model_type");
  const Kind* kind = nullptr;
  for (const Kind& one : kinds)
    if (one.modelType == type) kind = &one;
  if (kind == nullptr) return fail("model_type \"" + type + "\" is none of llama, mistral, qwen2, qwen3, bert");
  Family family;
  family.architecture = kind->architecture;
  NIBBLE_TRY(addSizes(family, config));
  NIBBLE_TRY(family.isBert() ? addBert(family, config) : addDecoder(family, config));
  return family;
} catch (const json::exception& error) {
  return fail(std::string("config.json: ") + error.what());
}

TensorNames tensorNames(const Family& family) {
  TensorNames names;
  const auto add = [&](std::initializer_list<const char*> list) { names.required.insert(names.required.end(), list.begin(), list.end()); };
  if (family.isBert())
    add({"token_embd.weight", "token_types.weight", "position_embd.weight", "token_embd_norm.weight", "token_embd_norm.bias"});
  else
    add({"token_embd.weight", "output_norm.weight"});
  if (!family.isBert()) (family.tied ? names.optional : names.required).push_back("output.weight");
  for (std::uint64_t layer = 0; layer < family.layers; ++layer) {
    const std::string head = "blk." + text::number(layer) + ".";
    if (family.isBert()) {
      for (const char* ending : {".weight", ".bias"})
        addLayer(names.required, head,
                 {"attn_q", "attn_k", "attn_v", "attn_output", "attn_output_norm", "ffn_up", "ffn_down", "layer_output_norm"}, ending);
      continue;
    }
    addLayer(names.required, head,
             {"attn_norm", "attn_q", "attn_k", "attn_v", "attn_output", "ffn_norm", "ffn_gate", "ffn_up", "ffn_down"}, ".weight");
    if (family.architecture == "qwen2") addLayer(names.required, head, {"attn_q", "attn_k", "attn_v"}, ".bias");
    if (family.architecture == "qwen3") addLayer(names.required, head, {"attn_q_norm", "attn_k_norm"}, ".weight");
    if (family.architecture == "llama")
      addLayer(names.optional, head, {"attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"}, ".bias");
  }
  return names;
}

bool isLeftOut(const Family& family, std::string_view name) {
  if (!family.isBert()) return name.ends_with("rotary_emb.inv_freq") || (family.tied && name == "lm_head.weight");
  for (const std::string_view prefix : {"0.auto_model.", "bert."})
    if (name.starts_with(prefix)) name.remove_prefix(prefix.size());
  return name == "embeddings.position_ids" || name.starts_with("pooler.") || name.starts_with("cls.");
}

std::optional<std::uint64_t> movedHeads(const Family& family, std::string_view name) {
  if (family.architecture != "llama") return std::nullopt;
  if (name.ends_with(".attn_q.weight") || name.ends_with(".attn_q.bias")) return family.heads;
  if (name.ends_with(".attn_k.weight") || name.ends_with(".attn_k.bias")) return family.keyHeads;
  return std::nullopt;
}

std::uint64_t sourceRow(std::uint64_t row, std::uint64_t rows, std::uint64_t heads) {
  const std::uint64_t size = rows / heads, inHead = row % size;
  return row - inHead + inHead % 2 * (size / 2) + inHead / 2;
}

bool staysFloat32(std::string_view name, std::size_t dimensions) {
  return dimensions < 2 || name.ends_with("_norm.weight") || name == "position_embd.weight" || name == "token_types.weight" ||
         !name.ends_with(".weight");
}

}  // namespace nibble::formats::gguf
