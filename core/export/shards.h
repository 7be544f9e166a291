// SPDX-License-Identifier: GPL-3.0-or-later
// A model's weights over several files, as Hugging Face has them: model-00001-of-0000N.safetensors and an index that says which
// tensor is where. Arrays of one layer stay in one file, so that a layer can be read back from it alone.
// Source: huggingface_hub serialization/_base.py (sizes, names), transformers modeling_utils.py (the index).
#pragma once
#include "core/base/result.h"

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace nibble {

inline constexpr const char* weightsFile = "model.safetensors";
inline constexpr const char* indexFile = "model.safetensors.index.json";

// "5GB", "500 MB", "2GiB", "123456": GB are 10^9 bytes, GiB 2^30.
Result<std::uint64_t> parseByteSize(std::string_view text);

// The units of each file, in order: a file is closed before it would exceed `limit` bytes; a unit beyond that has one for
// itself. Limit 0: one file.
std::vector<std::vector<std::size_t>> splitUnits(const std::vector<std::uint64_t>& sizes, std::uint64_t limit);
// Of file `index` of `count`; the only one is weightsFile.
std::string shardName(std::size_t index, std::size_t count);
// The index: tensor name and file of each.
std::string indexText(std::uint64_t totalSize, std::vector<std::pair<std::string, std::string>> files);

}  // namespace nibble
