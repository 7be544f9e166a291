// SPDX-License-Identifier: GPL-3.0-or-later
#include "core/quant/smooth_scales.h"

#include <algorithm>
#include <cmath>

namespace nibble {

void raiseToColumnMaxima(std::span<const float> matrix, std::span<float> largest) {
  const std::size_t columns = largest.size();
  for (std::size_t begin = 0; begin < matrix.size(); begin += columns)
    for (std::size_t j = 0; j < columns; ++j) largest[j] = std::max(largest[j], std::fabs(matrix[begin + j]));
}

std::vector<float> smoothScales(std::span<const float> inputMax, std::span<const float> weightMax, double alpha) {
  std::vector<float> scales(inputMax.size());
  for (std::size_t j = 0; j < scales.size(); ++j) {
    const double weight = std::max(smoothFloor, weightMax[j]);
    scales[j] = std::max(smoothFloor, static_cast<float>(std::pow(static_cast<double>(inputMax[j]), alpha) / std::pow(weight, 1 - alpha)));
  }
  return scales;
}

}  // namespace nibble
