// SPDX-License-Identifier: GPL-3.0-or-later
// What a linear layer is run with, from files: inputs and bias.
#pragma once
#include "core/run/weight_list.h"

#include <filesystem>
#include <string>
#include <vector>

namespace nibble {

// Inputs [..., in] from .npy, or from .npz or .safetensors: the array named like the tensor or its module, else the only one.
Result<Tensor> readLayerInputs(const std::filesystem::path& file, const std::string& tensor);

// The layer's bias [out]: the tensor with `.weight` replaced by `.bias`; empty where the file has none. A packed layer's may be
// filled up with zeros. Errors: another size, a type that is no float.
Result<std::vector<float>> readLayerBias(const WeightList& weights, const std::string& tensor, std::uint64_t outputs);

}  // namespace nibble
