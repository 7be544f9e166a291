// SPDX-License-Identifier: GPL-3.0-or-later
// Small helpers of the files that make up the CUDA backend.
#pragma once
#include "kernels/cuda/group_cut.h"
#include "kernels/cuda/slots.h"

#include <algorithm>
#include <cstring>
#include <span>

namespace nibble::kernels {

inline constexpr std::size_t flatMultiple = 8192;  // elements of a block of measure.cu: strips of so many leave the same parts

// Copies `count` numbers into a new array of the slot; where they will be on the device.
template <class T>
T* put(Slot& slot, const T* from, std::size_t count, Slot::Kind kind = Slot::Kind::In) {
  const Staged<T> staged = slot.take<T>(kind, count);
  if (count > 0) std::memcpy(staged.host, from, count * sizeof(T));
  return staged.device;
}

// The piece's weights, side by side: the view that kernels get.
inline GroupView stageWeights(Slot& slot, const GroupView& view, const GroupPiece& piece) {
  const Staged<float> weights = slot.take<float>(Slot::Kind::In, piece.count());
  gather(view, piece, view.data, weights.host);
  return stagedView(view, piece, weights.device);
}

// Counters that start at 0 and come back.
inline Staged<std::uint64_t> stageCounts(Slot& slot, std::size_t count) {
  const Staged<std::uint64_t> counts = slot.take<std::uint64_t>(Slot::Kind::InOut, count);
  std::fill_n(counts.host, count, std::uint64_t{0});
  return counts;
}
inline void addCounts(const Staged<std::uint64_t>& counts, std::span<std::uint64_t> to) {
  for (std::size_t i = 0; i < std::min(to.size(), counts.count); ++i) to[i] += counts.host[i];
}

}  // namespace nibble::kernels
