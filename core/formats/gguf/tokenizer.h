// SPDX-License-Identifier: GPL-3.0-or-later
// The tokenizer of a model directory as GGUF's metadata: WordPiece (BERT) and byte-level BPE (Llama 3, Qwen2) from tokenizer.json,
// SentencePiece from tokenizer.model, or from a tokenizer.json of byte-fallback BPE (Llama 2), where a piece's score is the rank
// of the merge that makes it. WordPiece's "##x" is written "x", the beginning of a word with U+2581 in front.
// Source: llama.cpp (MIT, in llama-cpp-python 0.3.36), conversion/base.py, gguf-py/gguf/vocab.py (facts only).
#pragma once
#include "core/base/result.h"
#include "core/io/gguf.h"

#include <nlohmann/json.hpp>

#include <filesystem>
#include <string>
#include <vector>

namespace nibble::formats::gguf {

struct Tokenizer {
  std::vector<GgufValue> values;
  std::string summary;  // "WordPiece, 30522 tokens"
};

// `vocabulary` is the number of rows of the embedding: ids that no token has are filled up.
// The error says what is missing or not known.
Result<Tokenizer> tokenizerOf(const std::filesystem::path& folder, const nlohmann::json& config, std::uint64_t vocabulary);

// A piece of a SentencePiece model.
struct Piece {
  std::string text;
  float score = 0;
  std::int32_t type = 1;  // 1 normal, 2 unknown, 3 control, 4 user-defined, 5 unused, 6 byte: also GGUF's numbers
};
// Pieces of a serialized ModelProto; refuses what is none, and unigram models.
Result<std::vector<Piece>> sentencePieces(std::string_view bytes);

}  // namespace nibble::formats::gguf
