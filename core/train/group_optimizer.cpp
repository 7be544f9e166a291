// SPDX-License-Identifier: GPL-3.0-or-later
#include "core/train/group_optimizer.h"

#include <algorithm>
#include <set>

namespace nibble::train {

bool GroupOptimizer::holds(const Parameter* parameter) const {
  return std::any_of(m_groups.begin(), m_groups.end(), [parameter](const ParameterGroup& group) {
    return std::any_of(group.parameters.begin(), group.parameters.end(),
                       [parameter](const auto& p) { return p.get() == parameter; });
  });
}

Status GroupOptimizer::add(ParameterGroup group) {
  NIBBLE_TRY(check(group.settings));
  if (group.settings.kind != m_defaults.kind)
    return fail("a group of " + group.settings.kind + " in an optimizer that is " + m_defaults.kind);
  std::set<const Parameter*> seen;
  for (const auto& parameter : group.parameters)
    if (holds(parameter.get()) || !seen.insert(parameter.get()).second)
      return fail(parameter->name + ": the optimizer holds it already and would step it twice");
  m_groups.push_back(std::move(group));
  return {};
}

void GroupOptimizer::remove(const std::vector<std::shared_ptr<Parameter>>& parameters) {
  for (ParameterGroup& group : m_groups)
    std::erase_if(group.parameters,
                  [&](const auto& p) { return std::find(parameters.begin(), parameters.end(), p) != parameters.end(); });
  std::erase_if(m_groups, [](const ParameterGroup& group) { return group.parameters.empty(); });
  for (const auto& parameter : parameters) parameter->state = {};
}

void GroupOptimizer::zeroGradients() {
  for (ParameterGroup& group : m_groups)
    for (const auto& parameter : group.parameters) parameter->gradient.assign(parameter->value.size(), 0.0);
}

void GroupOptimizer::step() {
  ++m_steps;
  for (ParameterGroup& group : m_groups)
    for (const auto& parameter : group.parameters) update(std::span<Parameter>(parameter.get(), 1), group.settings, 1, m_steps);
}

}  // namespace nibble::train
