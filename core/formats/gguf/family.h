// SPDX-License-Identifier: GPL-3.0-or-later
// The model families that become a GGUF file llama.cpp loads: Llama and Mistral ("llama"), Qwen2, Qwen3, BERT. From config.json
// as Hugging Face has it: the metadata of the architecture, the tensors it must and may have, the order of rows.
// llama.cpp's Llama rotates neighbouring rows of a query or key head, Hugging Face's the two halves: rows of q and k move.
// Source: llama.cpp (MIT, in llama-cpp-python 0.3.36), conversion/{base,llama,qwen,bert}.py and src/models (facts only).
#pragma once
#include "core/base/result.h"
#include "core/io/gguf.h"

#include <nlohmann/json.hpp>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace nibble::formats::gguf {

struct Family {
  std::string architecture;  // "llama"
  std::uint64_t layers = 0, heads = 0, keyHeads = 0, headSize = 0, vocabulary = 0;
  bool tied = false;
  std::vector<GgufValue> values;    // of the architecture
  std::vector<float> ropeFactors;   // divisors of the rotary frequencies (Llama 3); empty: none
  [[nodiscard]] bool isBert() const { return architecture == "bert"; }
};

// The error says why llama.cpp would not load such a model, or why it is not known here.
Result<Family> familyOf(const nlohmann::json& config);

struct TensorNames {
  std::vector<std::string> required, optional;
};
TensorNames tensorNames(const Family& family);  // as llama.cpp calls them
// Whether a tensor of the source has no place in the file and is not missed there (BERT's pooler, stored positions, a tied head).
bool isLeftOut(const Family& family, std::string_view huggingFaceName);
// Heads whose rows move; none: rows stay.
std::optional<std::uint64_t> movedHeads(const Family& family, std::string_view llamaCppName);
// Row of the source that becomes row `row` of the file, of a matrix of `rows` rows in `heads` heads.
std::uint64_t sourceRow(std::uint64_t row, std::uint64_t rows, std::uint64_t heads);
// Whether loaders take a copied tensor in float32 alone: one dimension, norms, positions, token types.
bool staysFloat32(std::string_view llamaCppName, std::size_t dimensions);

}  // namespace nibble::formats::gguf
