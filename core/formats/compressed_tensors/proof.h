// SPDX-License-Identifier: GPL-3.0-or-later
// Independent decoder of a compressed-tensors layer; proof.cpp says which layouts it follows.
#pragma once
#include "core/base/result.h"

#include <filesystem>
#include <string>
#include <vector>

namespace nibble::proof {

Result<std::vector<float>> decodeCompressedTensors(const std::filesystem::path& file, const std::string& tensorName);

}  // namespace nibble::proof
