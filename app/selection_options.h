// SPDX-License-Identifier: GPL-3.0-or-later
// The part of a command line that says which weights: PATH, --tensor NAME (repeatable) and --select REGEX.
#pragma once
#include "core/run/weight_list.h"

#include <CLI/CLI.hpp>

#include <memory>
#include <string>
#include <vector>

namespace nibble::cli {

struct SelectionOptions {
  std::string path;
  std::vector<std::string> tensors;
  std::string pattern;

  void addPath(CLI::App& command);
  void addSelection(CLI::App& command);  // --tensor and --select
  [[nodiscard]] Result<std::unique_ptr<WeightList>> open(const Context& context) const;
  [[nodiscard]] Result<std::vector<std::string>> select(const WeightList& weights, bool storedOnly = false) const {
    return weights.select(tensors, pattern, storedOnly);
  }
};

Result<std::unique_ptr<WeightList>> openWeights(const std::string& path, const Context& context);

}  // namespace nibble::cli
