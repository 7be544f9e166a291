// SPDX-License-Identifier: GPL-3.0-or-later
// The orthonormal Walsh-Hadamard transform of a run of a power of two numbers, in place, in natural order: its own inverse.
// float32; the sums have one order, so that every caller gets the same bits.
#pragma once
#include <cmath>
#include <cstddef>
#include <span>

namespace nibble {

inline void walshHadamard(std::span<float> run) {
  for (std::size_t half = 1; half < run.size(); half *= 2) {
    for (std::size_t base = 0; base < run.size(); base += 2 * half) {
      for (std::size_t i = base; i < base + half; ++i) {
        const float sum = run[i] + run[i + half], difference = run[i] - run[i + half];
        run[i] = sum;
        run[i + half] = difference;
      }
    }
  }
  const float norm = 1.0f / std::sqrt(static_cast<float>(run.size()));
  for (float& value : run) value *= norm;
}

}  // namespace nibble
