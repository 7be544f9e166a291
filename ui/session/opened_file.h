// SPDX-License-Identifier: GPL-3.0-or-later
// An open checkpoint as the window uses it: its weights by name and the tree the tensor dock shows. Immutable, shared by the
// states of the undo history, so that undoing an "open" costs nothing.
#pragma once
#include "core/run/weight_list.h"
#include "ui/models/tensor_tree.h"

#include <filesystem>
#include <memory>

namespace nibble {

struct OpenedFile {
  std::filesystem::path path;
  std::shared_ptr<const WeightList> weights;
  std::shared_ptr<const TensorTree> tree;
  std::string format;               // "safetensors, 2 shards"
  std::uint64_t sizeBytes = 0;      // of all tensors, as stored

  [[nodiscard]] const TensorItem* find(const std::string& tensor) const;
  [[nodiscard]] std::string firstWorthwhile() const;              // empty: none
  [[nodiscard]] std::vector<std::string> worthwhile() const;      // all of them, in file order
};

Result<std::shared_ptr<const OpenedFile>> openFile(const std::filesystem::path& path, const Context& context);

}  // namespace nibble
