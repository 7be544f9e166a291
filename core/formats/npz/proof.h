// SPDX-License-Identifier: GPL-3.0-or-later
// Independent decoder of the interchange .npz: recomputes the values from codes and parameters and demands that the file's own
// `decoded` equals them. proof.cpp says which arrays it follows.
#pragma once
#include "core/base/result.h"

#include <filesystem>
#include <string>
#include <vector>

namespace nibble::proof {

Result<std::vector<float>> decodeNpz(const std::filesystem::path& file, const std::string& tensorName);

}  // namespace nibble::proof
