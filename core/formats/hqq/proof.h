// SPDX-License-Identifier: GPL-3.0-or-later
// Independent decoder of an HQQLinear written as an encoded state dict (hqq 0.2.8): see proof.cpp for the layout it follows.
#pragma once
#include "core/base/result.h"

#include <filesystem>
#include <string>
#include <vector>

namespace nibble::proof {

Result<std::vector<float>> decodeHqq(const std::filesystem::path& file, const std::string& tensorName);

}  // namespace nibble::proof
