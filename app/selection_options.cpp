// SPDX-License-Identifier: GPL-3.0-or-later
#include "app/selection_options.h"

namespace nibble::cli {

void SelectionOptions::addPath(CLI::App& command) {
  command.add_option("PATH", path, "Checkpoint: .safetensors, an index of shards, a directory, .gguf, .npy or .npz")->required();
}

void SelectionOptions::addSelection(CLI::App& command) {
  command.add_option("--tensor", tensors, "Tensor by its exact name; repeatable")->type_name("NAME")->allow_extra_args(false);
  command.add_option("--select", pattern, "Tensors whose name the regular expression finds")->type_name("REGEX");
}

Result<std::unique_ptr<WeightList>> SelectionOptions::open(const Context& context) const {
  return openWeights(path, context);
}

Result<std::unique_ptr<WeightList>> openWeights(const std::string& path, const Context& context) {
  auto checkpoint = Checkpoint::open(path, context);
  if (!checkpoint) return fail(checkpoint.error());
  return std::make_unique<WeightList>(*std::move(checkpoint));
}

}  // namespace nibble::cli
