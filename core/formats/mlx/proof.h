// SPDX-License-Identifier: GPL-3.0-or-later
// Independent decoder of an MLX layer; proof.cpp says which layouts it follows. The file does not say the layer's [out, in].
#pragma once
#include "core/base/result.h"

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace nibble::proof {

Result<std::vector<float>> decodeMlx(const std::filesystem::path& file, const std::string& tensorName,
                                     const std::vector<std::uint64_t>& shape);

}  // namespace nibble::proof
