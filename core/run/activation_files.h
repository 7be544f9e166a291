// SPDX-License-Identifier: GPL-3.0-or-later
// What a person knows about a model's activations, from files to ActivationData (what a Context carries):
//   inputWeights  E[x^2] per input channel: llama.cpp's importance matrices (io/imatrix.h), .npy, .npz, .safetensors
//   inputs        samples [..., in], each row one token: .npy, .npz, .safetensors
//   gram          X^T X [in, in]: .npy, .npz, .safetensors, in float64 where the file has it
// .npy holds one array, for every tensor with as many columns; the others are keyed by tensor name. A name is met exactly, or by
// what the other world calls that tensor (io/tensor_names.h), so an importance matrix of llama.cpp fits a checkpoint of Hugging
// Face. Entries for tensors that nobody asked for are ignored, like llama-quantize does, but an importance matrix with a broken
// entry is refused whole.
#pragma once
#include "core/run/weight_list.h"
#include "core/tensor/activations.h"

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

namespace nibble {

struct ActivationFiles {
  std::filesystem::path inputWeights{}, inputs{}, gram{};  // empty: not given
  [[nodiscard]] bool empty() const { return inputWeights.empty() && inputs.empty() && gram.empty(); }
};

// What the files say about these tensors of `weights`. `warn` gets one line for each tensor that a file says nothing of.
// Errors: a file that cannot be read, numbers that cannot be, an array of another width than its tensor, an .npy that fits none.
Result<ActivationData> readActivations(const ActivationFiles& files, const WeightList& weights,
                                       const std::vector<std::string>& names,
                                       const std::function<void(const std::string&)>& warn = {});

}  // namespace nibble
