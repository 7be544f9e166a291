// SPDX-License-Identifier: GPL-3.0-or-later
#include "app/activation_options.h"

namespace nibble::cli {

void ActivationOptions::add(CLI::App& command) {
  command.add_option("--input-weights", inputWeights, "E[x^2] per input channel: imatrix .dat or GGUF, .npy, .npz, .safetensors")
      ->type_name("FILE");
  command.add_option("--inputs", inputs, "Samples of activations [tokens, in]: .npy, .npz, .safetensors")->type_name("FILE");
  command.add_option("--gram", gram, "Gram matrix X^T X of activations [in, in]: .npy, .npz, .safetensors")->type_name("FILE");
}

Result<ActivationData> ActivationOptions::read(const Program& program, const WeightList& weights,
                                               const std::vector<std::string>& names) const {
  const ActivationFiles files{inputWeights, inputs, gram};
  if (files.empty()) return ActivationData();
  return readActivations(files, weights, names, [&program](const std::string& line) { program.warn(line); });
}

}  // namespace nibble::cli
