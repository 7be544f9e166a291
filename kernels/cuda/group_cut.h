// SPDX-License-Identifier: GPL-3.0-or-later
// Cuts groups of weights into strips that fit into a slot: whole groups, or parts of groups that are too long; and moves
// strips between where they stand and staging, where they lie side by side (runs: [groups, elements]; columns, for groups
// whose elements are apart: [elements, groups]). How work is cut does not depend on a device's memory as long as a slot has
// the usual size, so that error sums, which are added strip by strip, are the same on every device.
#pragma once
#include "kernels/backend.h"

#include <cstring>

namespace nibble::kernels {

// What a strip takes in a slot.
struct StripNeeds {
  std::size_t perWeight = 0, perGroup = 0, fixed = 0;
  std::size_t groupMultiple = 1;    // whole groups come in multiples of this
  std::size_t elementMultiple = 1;  // parts of a group too
  bool wholeGroups = false;
};

struct GroupPiece {
  std::size_t group = 0, groups = 0, element = 0, elements = 0;
  [[nodiscard]] std::size_t count() const { return groups * elements; }
};

class GroupCut {
 public:
  // No pieces, if a slot of `bytes` is too small.
  GroupCut(const GroupView& view, const StripNeeds& needs, std::size_t bytes);
  [[nodiscard]] std::size_t pieces() const { return m_acrossGroups * m_acrossElements; }
  [[nodiscard]] GroupPiece at(std::size_t i) const;

 private:
  void cutRuns(const StripNeeds& needs, std::size_t bytes);
  void cutColumns(const StripNeeds& needs, std::size_t bytes);
  std::size_t m_groups, m_size, m_groupsEach = 0, m_elementsEach = 0, m_acrossGroups = 0, m_acrossElements = 0;
};

inline bool hasRuns(const GroupView& view) {
  return view.elementStride == 1;
}
inline std::size_t placeOf(const GroupView& view, const GroupPiece& piece) {
  return piece.group * view.groupStride + piece.element * view.elementStride;
}
// The piece where it stands.
inline GroupView viewOf(const GroupView& view, const GroupPiece& piece) {
  return {view.data + placeOf(view, piece), piece.groups, piece.elements, view.groupStride, view.elementStride};
}
// The piece in staging.
inline GroupView stagedView(const GroupView& view, const GroupPiece& piece, const float* staged) {
  return hasRuns(view) ? GroupView::contiguous(staged, piece.groups, piece.elements)
                       : GroupView::strided(staged, piece.groups, piece.elements);
}

// Calls copy(offset in the view, offset in staging, count) for each run of neighbours.
template <class Copy>
void eachRun(const GroupView& view, const GroupPiece& piece, const Copy& copy) {
  const std::size_t start = placeOf(view, piece);
  if (hasRuns(view)) {
    if (view.groupStride == piece.elements) return copy(start, std::size_t{0}, piece.count());
    for (std::size_t g = 0; g < piece.groups; ++g) copy(start + g * view.groupStride, g * piece.elements, piece.elements);
  } else if (view.groupStride == 1) {
    for (std::size_t k = 0; k < piece.elements; ++k) copy(start + k * view.elementStride, k * piece.groups, piece.groups);
  } else {
    for (std::size_t k = 0; k < piece.elements; ++k)
      for (std::size_t g = 0; g < piece.groups; ++g)
        copy(start + g * view.groupStride + k * view.elementStride, k * piece.groups + g, std::size_t{1});
  }
}
template <class T>
void gather(const GroupView& view, const GroupPiece& piece, const T* from, T* staged) {
  eachRun(view, piece, [&](std::size_t at, std::size_t to, std::size_t count) {
    std::memcpy(staged + to, from + at, count * sizeof(T));
  });
}
template <class T>
void scatter(const GroupView& view, const GroupPiece& piece, const T* staged, T* to) {
  eachRun(view, piece, [&](std::size_t at, std::size_t from, std::size_t count) {
    std::memcpy(to + at, staged + from, count * sizeof(T));
  });
}

}  // namespace nibble::kernels
