// SPDX-License-Identifier: GPL-3.0-or-later
// Independent decoder of a GPTQ layer; proof.cpp says which layout it follows. `storedOffset` is what the file's zero points
// lack: 1 for version 1, 0 for the others. `planar`: codes and zero points are split into planes.
#pragma once
#include "core/base/result.h"

#include <filesystem>
#include <string>
#include <vector>

namespace nibble::proof {

Result<std::vector<float>> decodeGptq(const std::filesystem::path& file, const std::string& tensorName, unsigned storedOffset,
                                      bool planar);

}  // namespace nibble::proof
