// SPDX-License-Identifier: GPL-3.0-or-later
// Independent decoder of reference document 000's layer; proof.cpp says which layout it follows.
#pragma once
#include "core/base/result.h"

#include <filesystem>
#include <string>
#include <vector>

namespace nibble::proof {

Result<std::vector<float>> decodeDocument000(const std::filesystem::path& file, const std::string& tensorName);

}  // namespace nibble::proof
