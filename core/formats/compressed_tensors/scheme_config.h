// SPDX-License-Identifier: GPL-3.0-or-later
// What config.json says about the layers of a compressed-tensors checkpoint: config groups with their targets and weight
// arguments. Targets are module names, "re:" patterns matched from the start of the name, or class names such as "Linear",
// which every layer has that no name target claims.
#pragma once
#include "core/io/checkpoint.h"
#include "kernels/math/minifloat.h"

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace nibble::formats::compressed_tensors {

struct WeightArguments {
  std::optional<std::int64_t> bits, group;                       // absent where the config does not say
  std::optional<std::pair<std::uint64_t, std::uint64_t>> block;  // rows, columns
  std::optional<bool> symmetric;
};

class SchemeConfig {
 public:
  static SchemeConfig of(const Checkpoint& checkpoint);

  // Whether the config speaks of compressed-tensors at all, under its own name or auto-round's.
  [[nodiscard]] bool isPresent() const { return m_present; }
  [[nodiscard]] WeightArguments argumentsFor(const std::string& module) const;
  // What loaders decode to where the layer's own parameters do not say it.
  [[nodiscard]] kernels::FloatType modelType() const { return m_type; }

 private:
  struct Group {
    std::vector<std::string> targets;
    WeightArguments arguments;
  };
  bool m_present = false;
  kernels::FloatType m_type = kernels::FloatType::F32;
  std::vector<Group> m_groups;
};

}  // namespace nibble::formats::compressed_tensors
