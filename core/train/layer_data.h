// SPDX-License-Identifier: GPL-3.0-or-later
// A layer and the data it trains on: weights [out, in], bias [out] (the tensor with ".weight" replaced by ".bias", where the
// file has it), inputs [tokens, in] and targets [tokens, out], in double. Files are .npy, .npz or .safetensors; the latter two
// are keyed by tensor name, or hold one array alone. Float64 arrays are read as they are. Everything is checked to be finite.
#pragma once
#include "core/train/train_settings.h"

#include <span>
#include <string>
#include <vector>

namespace nibble::train {

struct LayerData {
  std::string name;
  std::uint64_t rows = 0, columns = 0, tokens = 0;  // out, in
  Tensor weight;                                    // as the checkpoint has it; finite
  std::vector<double> bias;                         // empty: none
  std::vector<double> inputs;                       // [tokens, columns]
  std::vector<double> targets;                      // [tokens, rows]; empty where the loss needs none
};

// One per tensor of the job. `needTargets` false: targets are neither read nor made.
Result<std::vector<LayerData>> loadLayers(const TrainJob& job, bool needTargets, const Context& context);

// The tensor `name` with `.weight` replaced: "a.weight" -> "a.bias"; nothing for other names.
std::optional<std::string> biasName(const std::string& name);
// "a.weight" -> "a", else the name itself.
std::string moduleName(const std::string& name);

// Elements [begin, begin + out.size()) as doubles: float64 as stored, everything else through float32.
Status readDoubles(const Tensor& tensor, std::uint64_t begin, std::span<double> out);
Result<std::vector<double>> readDoubles(const Tensor& tensor);

// Inputs [rows, columns], normal with deviation 1, some channels larger (DataSettings).
std::vector<double> drawInputs(const DataSettings& data, std::uint64_t columns, std::uint64_t seed);
// x W^T + bias, in double, by tiles of outputs over the backend's threads; the sums have one order.
Result<std::vector<double>> floatOutputs(const LayerData& layer, const Context& context);

}  // namespace nibble::train
