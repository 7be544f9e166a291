// SPDX-License-Identifier: GPL-3.0-or-later
#include "kernels/cuda/group_cut.h"

#include <algorithm>

namespace nibble::kernels {
namespace {

constexpr std::size_t slack = 16 * 256;  // arrays of a strip begin at multiples of 256 bytes
constexpr std::size_t longGroup = 65536, columnsAtOnce = 4096;

std::size_t roundedDown(std::size_t count, std::size_t multiple) {
  return count >= multiple ? count / multiple * multiple : count;
}

}  // namespace

GroupCut::GroupCut(const GroupView& view, const StripNeeds& needs, std::size_t bytes)
    : m_groups(view.groups), m_size(view.size) {
  if (bytes <= slack + needs.fixed || view.groups == 0 || view.size == 0) return;
  bytes -= slack + needs.fixed;
  if (hasRuns(view) || needs.wholeGroups)
    cutRuns(needs, bytes);
  else
    cutColumns(needs, bytes);
  if (m_groupsEach == 0 || m_elementsEach == 0) return;
  m_acrossGroups = (m_groups + m_groupsEach - 1) / m_groupsEach;
  m_acrossElements = (m_size + m_elementsEach - 1) / m_elementsEach;
}

void GroupCut::cutRuns(const StripNeeds& needs, std::size_t bytes) {
  const std::size_t each = m_size * needs.perWeight + needs.perGroup;
  const std::size_t fit = std::min(m_groups, bytes / each);
  if (needs.wholeGroups) {
    m_elementsEach = m_size;
    m_groupsEach = fit == m_groups ? fit : fit / needs.groupMultiple * needs.groupMultiple;
  } else if (m_size <= longGroup && fit > 0) {
    m_elementsEach = m_size;
    m_groupsEach = fit == m_groups ? fit : roundedDown(fit, needs.groupMultiple);
  } else if (bytes > needs.perGroup + needs.perWeight) {
    m_groupsEach = 1;
    m_elementsEach = std::min(m_size, roundedDown((bytes - needs.perGroup) / needs.perWeight, needs.elementMultiple));
  }
}

void GroupCut::cutColumns(const StripNeeds& needs, std::size_t bytes) {
  const std::size_t each = m_size * needs.perWeight + needs.perGroup;
  m_groupsEach = std::min(m_groups, std::max(columnsAtOnce, bytes / each));
  for (; m_groupsEach > 0; m_groupsEach /= 2) {
    const std::size_t share = bytes / m_groupsEach;
    if (share < needs.perGroup + needs.perWeight) continue;
    m_elementsEach = std::min(m_size, (share - needs.perGroup) / needs.perWeight);
    return;
  }
}

GroupPiece GroupCut::at(std::size_t i) const {
  GroupPiece piece;
  piece.group = i / m_acrossElements * m_groupsEach;
  piece.groups = std::min(m_groupsEach, m_groups - piece.group);
  piece.element = i % m_acrossElements * m_elementsEach;
  piece.elements = std::min(m_elementsEach, m_size - piece.element);
  return piece;
}

}  // namespace nibble::kernels
