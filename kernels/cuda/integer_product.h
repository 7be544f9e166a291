// SPDX-License-Identifier: GPL-3.0-or-later
// Products of signed bytes with exact 32-bit sums (W8A8), on tensor cores. All pointers are the device's.
#pragma once
#include "kernels/cuda/device.h"

namespace nibble::kernels::NIBBLE_CUDA_SPACE {

inline constexpr std::size_t integerDepth = 64;  // rows are padded with zeros to a multiple of it
inline constexpr std::size_t mostIntegerColumns = 131072;

// out[r, s] = sum over c < columns of a[r, c] b[s, c]: a [aRows, columns] and b [bRows, columns] aligned to 16 bytes, columns a
// multiple of integerDepth; row r of out begins at out + r * outStep.
Outcome launchIntegerProducts(const std::int8_t* a, std::size_t aRows, const std::int8_t* b, std::size_t bRows,
                              std::size_t columns, std::int32_t* out, std::size_t outStep, Stream stream);

}  // namespace nibble::kernels::NIBBLE_CUDA_SPACE
