// SPDX-License-Identifier: GPL-3.0-or-later
// Independent decoder of an EXL2 layer; proof.cpp says which layout it follows. Gives the padded outputs too, last.
#pragma once
#include "core/base/result.h"

#include <filesystem>
#include <string>
#include <vector>

namespace nibble::proof {

Result<std::vector<float>> decodeExl2(const std::filesystem::path& file, const std::string& tensorName);

}  // namespace nibble::proof
