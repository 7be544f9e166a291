// SPDX-License-Identifier: GPL-3.0-or-later
// What the products of packed columns share: adding partial sums in order, inputs as halves.
#pragma once
#include "kernels/cuda/columns.h"

namespace nibble::kernels::NIBBLE_CUDA_SPACE {

// out[m, order[n]] = bias[n] + sum over parts, in order, of parts[p, m, n]; parts are [count, rows, columns].
Outcome launchAddParts(const float* parts, std::size_t count, std::size_t rows, std::size_t columns, const float* bias,
                       const std::uint32_t* order, float* out, Stream stream);
// halves[m, k] = x[m, order[k]] for m < rows and k < columns, 0 up to paddedRows and paddedColumns.
Outcome launchHalves(const float* x, std::size_t rows, std::size_t columns, std::size_t paddedRows, std::size_t paddedColumns,
                     const std::uint32_t* order, std::uint16_t* halves, Stream stream);

inline std::size_t tilesOfEight(std::size_t rows) {  // 1, 2, 4 or 8: the tensor cores' columns, eight rows of x each
  std::size_t tiles = 1;
  while (tiles * 8 < rows) tiles *= 2;
  return tiles;
}

}  // namespace nibble::kernels::NIBBLE_CUDA_SPACE
