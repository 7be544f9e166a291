// SPDX-License-Identifier: GPL-3.0-or-later
// An optimizer over groups of shared parameters, each group with settings of its own, as frameworks have them: what a quantizer
// adds its logits to. The rules are those of optimizer.h. A parameter is in one group once.
#pragma once
#include "core/train/optimizer.h"

#include <memory>
#include <vector>

namespace nibble::train {

struct ParameterGroup {
  std::vector<std::shared_ptr<Parameter>> parameters;
  OptimizerSettings settings;  // of the optimizer's kind
};

class GroupOptimizer {
 public:
  explicit GroupOptimizer(OptimizerSettings defaults) : m_defaults(std::move(defaults)) {}
  [[nodiscard]] const OptimizerSettings& defaults() const { return m_defaults; }
  [[nodiscard]] const std::vector<ParameterGroup>& groups() const { return m_groups; }
  [[nodiscard]] bool holds(const Parameter* parameter) const;
  // Errors: a parameter that is held already or stands twice in the group, settings that cannot be or are of another kind.
  Status add(ParameterGroup group);
  // Takes parameters out, wherever they are; groups that become empty go. What the optimizer remembers of them is forgotten.
  void remove(const std::vector<std::shared_ptr<Parameter>>& parameters);
  void zeroGradients();
  void step();
  [[nodiscard]] std::uint64_t steps() const { return m_steps; }

 private:
  OptimizerSettings m_defaults;
  std::vector<ParameterGroup> m_groups;
  std::uint64_t m_steps = 0;
};

}  // namespace nibble::train
