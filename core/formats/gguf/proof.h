// SPDX-License-Identifier: GPL-3.0-or-later
// Independent decoder of one tensor of a GGUF file; proof_blocks.cpp says which layouts it follows.
#pragma once
#include "core/base/result.h"

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

namespace nibble::proof {

Result<std::vector<float>> decodeGguf(const std::filesystem::path& file, const std::string& tensorName);

// A block type by its number in the file; `decode` gives false for a block that no correct file has.
struct GgufBlock {
  unsigned number = 0, weights = 0, bytes = 0;
  bool (*decode)(const unsigned char* block, float* weights) = nullptr;
};
std::span<const GgufBlock> plainGgufBlocks();   // one scale a block
std::span<const GgufBlock> superGgufBlocks();   // scales of sub-blocks
std::span<const GgufBlock> vectorGgufBlocks();  // codes of several weights

float ggufHalf(const unsigned char* bytes);  // a little-endian float16

}  // namespace nibble::proof
