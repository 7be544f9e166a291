// SPDX-License-Identifier: GPL-3.0-or-later
// Independent decoder of an FP8 layer; proof.cpp says which layouts it follows.
#pragma once
#include "core/base/result.h"

#include <filesystem>
#include <string>
#include <vector>

namespace nibble::proof {

Result<std::vector<float>> decodeFp8(const std::filesystem::path& file, const std::string& tensorName);

}  // namespace nibble::proof
