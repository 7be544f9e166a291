// SPDX-License-Identifier: GPL-3.0-or-later
// A matrix region pooled to the pixels of a view: each pixel takes one number of all the cells it touches, so that a cell on
// the border of two pixels counts in both.
// MaxMagnitude keeps the value of largest magnitude with its sign (an outlier stays visible at any zoom), Mean the average in
// double. NaN in a pixel's cells makes the pixel NaN in Mean, and in MaxMagnitude too (a broken weight must show). Where the
// view has more pixels than cells, the result has one entry per cell and the painter enlarges it. Pure, any thread.
#pragma once
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

namespace nibble {

enum class Pooling : std::uint8_t { MaxMagnitude, Mean };

// Cells [rowBegin, rowEnd) x [columnBegin, columnEnd).
struct MatrixRegion {
  std::uint64_t rowBegin = 0, rowEnd = 0, columnBegin = 0, columnEnd = 0;
  [[nodiscard]] std::uint64_t rows() const { return rowEnd - rowBegin; }
  [[nodiscard]] std::uint64_t columns() const { return columnEnd - columnBegin; }
  bool operator==(const MatrixRegion&) const = default;
};

struct PooledMatrix {
  MatrixRegion region;
  int width = 0, height = 0;  // entries; at most the view's pixels and at most the cells
  std::vector<float> values;  // row-major, height * width
};

// Fills `out` with the cells (row, columnBegin ...) of one row; out.size() cells.
using MatrixRows = std::function<void(std::uint64_t row, std::uint64_t columnBegin, std::span<float> out)>;

// Cells [firstCell, endCell) are touched by pixel `index` when `cells` cells share `pixels` pixels.
constexpr std::uint64_t firstCell(std::uint64_t index, std::uint64_t cells, std::uint64_t pixels) {
  return index * cells / pixels;
}
constexpr std::uint64_t endCell(std::uint64_t index, std::uint64_t cells, std::uint64_t pixels) {
  return ((index + 1) * cells + pixels - 1) / pixels;
}

// From a contiguous row-major matrix with `columns` columns.
PooledMatrix pool(std::span<const float> matrix, std::uint64_t columns, const MatrixRegion& region, int width, int height,
                  Pooling mode);
// From rows made on demand. When `rowsPerPixel` is positive, at most that many rows of each pixel row are asked for, evenly
// spread (for matrices that would take too long: the owner then calls the picture sampled).
PooledMatrix pool(const MatrixRows& source, const MatrixRegion& region, int width, int height, Pooling mode,
                  int rowsPerPixel = 0);

}  // namespace nibble
