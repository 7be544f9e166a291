// SPDX-License-Identifier: GPL-3.0-or-later
// Independent decoder of DiffQ layers in a safetensors file.
#pragma once
#include "core/base/result.h"

#include <filesystem>
#include <string>
#include <vector>

namespace nibble::proof {

Result<std::vector<float>> decodeDiffq(const std::filesystem::path& file, const std::string& tensorName);

}  // namespace nibble::proof
