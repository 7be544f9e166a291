// SPDX-License-Identifier: GPL-3.0-or-later
// One tensor, two names: as Hugging Face checkpoints call it (BERT, and Llama with its kin: Mistral, Mixtral, Qwen2, Qwen3) and
// as llama.cpp's GGUF files do. Names differ per architecture on one side only, so the step to llama.cpp's needs no config.
//   encoder.layer.3.attention.self.query.weight      blk.3.attn_q.weight
//   model.layers.3.mlp.down_proj.weight              blk.3.ffn_down.weight
//   model.layers.3.mlp.experts.5.up_proj.weight      blk.3.ffn_up_exps.weight, matrix 5
// Source: gguf 0.19 tensor_mapping.py and constants.py (facts only).
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace nibble {

struct LlamaCppName {
  std::string name;
  std::optional<std::uint64_t> expert;  // which matrix of the stack [experts, out, in] that name holds
  bool operator==(const LlamaCppName&) const = default;
};

// None: a name of neither family. `model.`, `bert.` and `0.auto_model.` in front are taken off; the ending (`.weight`, `.bias`)
// is kept.
std::optional<LlamaCppName> llamaCppName(std::string_view huggingFaceName);

}  // namespace nibble
