// SPDX-License-Identifier: GPL-3.0-or-later
// Nearest of ascending levels by counting thresholds: the index of the nearest level to x is the number of thresholds below x.
#pragma once
#include <cmath>
#include <span>
#include <vector>

namespace nibble {

// One threshold between each two neighbours: the largest float32 not above their exact midpoint, so that for float32 x
// "x > threshold" is "x is above the midpoint"; a tie goes to the lower level.
inline std::vector<float> nearestThresholds(std::span<const float> levels) {
  std::vector<float> thresholds;
  for (std::size_t i = 1; i < levels.size(); ++i) {
    const double middle = (static_cast<double>(levels[i - 1]) + levels[i]) / 2;
    auto rounded = static_cast<float>(middle);
    if (rounded > middle) rounded = std::nextafter(rounded, -HUGE_VALF);
    thresholds.push_back(rounded);
  }
  return thresholds;
}

}  // namespace nibble
