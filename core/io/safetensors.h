// SPDX-License-Identifier: GPL-3.0-or-later
// The header of a .safetensors file: u64 length n (little-endian), n bytes of JSON, then the tensors' bytes.
// Source: the format section of the safetensors README (huggingface/safetensors); where its Rust reader is more lenient than
// that text, the text holds:
// - the header begins with '{' (white space before it is refused) and has at most 100,000,000 bytes;
// - no key occurs twice, neither a tensor's name nor a field of its entry nor a key of `__metadata__`;
// - `__metadata__` is an object of strings.
// Data is covered exactly: no hole, overlap or byte after the last tensor. Unknown fields of an entry are skipped.
// Refusals name the tensor, not the file; the caller knows it.
#pragma once
#include "core/base/result.h"
#include "core/io/checkpoint.h"

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace nibble {

struct SafetensorsHeader {
  std::vector<TensorEntry> entries;    // by place in the file; `file` is 0
  std::vector<std::uint64_t> offsets;  // of each entry's first byte in the file
  std::vector<std::pair<std::string, std::string>> metadata;
};

// `file` is the whole file; only the header's bytes are touched.
Result<SafetensorsHeader> parseSafetensorsHeader(std::span<const std::byte> file);

struct SafetensorsIndex {
  std::vector<std::string> shards;                               // file names in alphabetical order, each once
  std::vector<std::pair<std::string, std::uint32_t>> weightMap;  // tensor name, index into `shards`
  std::vector<std::pair<std::string, std::string>> metadata;     // strings as they are, other values as JSON text
};

// The text of a model.safetensors.index.json. Shards are plain file names: a path out of the folder is refused.
Result<SafetensorsIndex> parseSafetensorsIndex(std::string_view text);

}  // namespace nibble
