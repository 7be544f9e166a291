// SPDX-License-Identifier: GPL-3.0-or-later
// A .safetensors file of what training made, written atomically.
#pragma once
#include "core/io/safetensors_writer.h"

#include <filesystem>
#include <vector>

namespace nibble::train {

Status writeTensors(const std::filesystem::path& path, const std::vector<RawTensor>& tensors);

}  // namespace nibble::train
