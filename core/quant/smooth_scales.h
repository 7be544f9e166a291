// SPDX-License-Identifier: GPL-3.0-or-later
// SmoothQuant's channel scales. With E = 1e-5, a_j = max over tokens of |X_tj|, w_j = max(E, max over rows of |W_j|):
//   s_j = max(E, a_j^alpha / w_j^(1 - alpha))       W_j *= s_j, X_j /= s_j
// Powers in double, rounded once. Source: Xiao et al. 2023 (arXiv 2211.10438), smoothquant/smooth.py (spec uniform 1.6).
#pragma once
#include <cstdint>
#include <span>
#include <vector>

namespace nibble {

inline constexpr float smoothFloor = 1e-5f;

// Raises largest[j] to the largest |value| of column j of a [rows, columns] matrix.
void raiseToColumnMaxima(std::span<const float> matrix, std::span<float> largest);
// `weightMax` as found; it is floored here. Sizes are equal.
std::vector<float> smoothScales(std::span<const float> inputMax, std::span<const float> weightMax, double alpha);

}  // namespace nibble
