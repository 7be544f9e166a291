// SPDX-License-Identifier: GPL-3.0-or-later
// Small helpers of the files that make up the CUDA backend.
#pragma once
#include "kernels/cuda/slots.h"

#include <cstring>

namespace nibble::kernels {

inline constexpr std::size_t flatMultiple = 8192;  // elements of a block of measure.cu: strips of so many leave the same parts

// Copies `count` numbers into a new array of the slot; where they will be on the device.
template <class T>
T* put(Slot& slot, const T* from, std::size_t count, Slot::Kind kind = Slot::Kind::In) {
  const Staged<T> staged = slot.take<T>(kind, count);
  if (count > 0) std::memcpy(staged.host, from, count * sizeof(T));
  return staged.device;
}

}  // namespace nibble::kernels
