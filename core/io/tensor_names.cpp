// SPDX-License-Identifier: GPL-3.0-or-later
#include "core/io/tensor_names.h"

#include "core/base/text.h"

#include <array>

namespace nibble {
namespace {

// '#' stands for the number of a layer, '@' for that of an expert.
struct Pair {
  std::string_view huggingFace, llamaCpp;
};

constexpr Pair pairs[] = {
    // Llama and kin
    {"embed_tokens", "token_embd"},
    {"norm", "output_norm"},
    {"lm_head", "output"},
    {"layers.#.input_layernorm", "blk.#.attn_norm"},
    {"layers.#.self_attn.q_proj", "blk.#.attn_q"},
    {"layers.#.self_attn.k_proj", "blk.#.attn_k"},
    {"layers.#.self_attn.v_proj", "blk.#.attn_v"},
    {"layers.#.self_attn.o_proj", "blk.#.attn_output"},
    {"layers.#.self_attn.q_norm", "blk.#.attn_q_norm"},
    {"layers.#.self_attn.k_norm", "blk.#.attn_k_norm"},
    {"layers.#.post_attention_layernorm", "blk.#.ffn_norm"},
    {"layers.#.mlp.gate_proj", "blk.#.ffn_gate"},
    {"layers.#.mlp.up_proj", "blk.#.ffn_up"},
    {"layers.#.mlp.down_proj", "blk.#.ffn_down"},
    {"layers.#.mlp.gate", "blk.#.ffn_gate_inp"},
    {"layers.#.mlp.experts.@.gate_proj", "blk.#.ffn_gate_exps"},
    {"layers.#.mlp.experts.@.up_proj", "blk.#.ffn_up_exps"},
    {"layers.#.mlp.experts.@.down_proj", "blk.#.ffn_down_exps"},
    {"layers.#.mlp.shared_expert.gate_proj", "blk.#.ffn_gate_shexp"},
    {"layers.#.mlp.shared_expert.up_proj", "blk.#.ffn_up_shexp"},
    {"layers.#.mlp.shared_expert.down_proj", "blk.#.ffn_down_shexp"},
    {"layers.#.block_sparse_moe.gate", "blk.#.ffn_gate_inp"},
    {"layers.#.block_sparse_moe.experts.@.w1", "blk.#.ffn_gate_exps"},
    {"layers.#.block_sparse_moe.experts.@.w2", "blk.#.ffn_down_exps"},
    {"layers.#.block_sparse_moe.experts.@.w3", "blk.#.ffn_up_exps"},
    // BERT
    {"embeddings.word_embeddings", "token_embd"},
    {"embeddings.position_embeddings", "position_embd"},
    {"embeddings.token_type_embeddings", "token_types"},
    {"embeddings.LayerNorm", "token_embd_norm"},
    {"encoder.layer.#.attention.self.query", "blk.#.attn_q"},
    {"encoder.layer.#.attention.self.key", "blk.#.attn_k"},
    {"encoder.layer.#.attention.self.value", "blk.#.attn_v"},
    {"encoder.layer.#.attention.output.dense", "blk.#.attn_output"},
    {"encoder.layer.#.attention.output.LayerNorm", "blk.#.attn_output_norm"},
    {"encoder.layer.#.intermediate.dense", "blk.#.ffn_up"},
    {"encoder.layer.#.output.dense", "blk.#.ffn_down"},
    {"encoder.layer.#.output.LayerNorm", "blk.#.layer_output_norm"},
};

struct Numbers {
  std::string layer, expert;
};

// Takes a decimal number off the front; empty: there is none.
std::string takeNumber(std::string_view& text) {
  std::size_t length = 0;
  while (length < text.size() && text[length] >= '0' && text[length] <= '9') ++length;
  const std::string number(text.substr(0, length));
  text.remove_prefix(length);
  return number;
}

std::optional<Numbers> match(std::string_view pattern, std::string_view name) {
  Numbers numbers;
  for (const char letter : pattern) {
    if (letter == '#' || letter == '@') {
      std::string& number = letter == '#' ? numbers.layer : numbers.expert;
      number = takeNumber(name);
      if (number.empty()) return std::nullopt;
    } else {
      if (name.empty() || name.front() != letter) return std::nullopt;
      name.remove_prefix(1);
    }
  }
  return name.empty() ? std::optional(numbers) : std::nullopt;
}

}  // namespace

std::optional<LlamaCppName> llamaCppName(std::string_view huggingFaceName) {
  constexpr std::array<std::string_view, 3> prefixes{"0.auto_model.", "bert.", "model."};
  for (const std::string_view prefix : prefixes)
    if (huggingFaceName.starts_with(prefix)) huggingFaceName.remove_prefix(prefix.size());
  const std::size_t dot = huggingFaceName.rfind('.');
  if (dot == std::string_view::npos) return std::nullopt;
  const std::string_view module = huggingFaceName.substr(0, dot), ending = huggingFaceName.substr(dot);
  if (ending != ".weight" && ending != ".bias") return std::nullopt;
  for (const Pair& pair : pairs) {
    const auto numbers = match(pair.huggingFace, module);
    if (!numbers) continue;
    LlamaCppName found{std::string(pair.llamaCpp), std::nullopt};
    if (const std::size_t place = found.name.find('#'); place != std::string::npos) found.name.replace(place, 1, numbers->layer);
    found.name += ending;
    if (!numbers->expert.empty()) found.expert = text::parseUnsigned(numbers->expert);
    return found;
  }
  return std::nullopt;
}

}  // namespace nibble
