// SPDX-License-Identifier: GPL-3.0-or-later
#include "ui/plots/pooling.h"

#include "core/base/contracts.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <utility>

namespace nibble {
namespace {

// Magnitudes of floats order like their bits without the sign, NaN above infinity. Comparing those bits as signed integers
// keeps the largest weight, makes NaN win, and is a branch-free loop for any compiler and any vector unit.
std::int32_t larger(std::int32_t best, float value) {
  constexpr std::int32_t magnitude = 0x7FFFFFFF;
  const auto bits = std::bit_cast<std::int32_t>(value);
  return (bits & magnitude) > (best & magnitude) ? bits : best;
}

// Of each pixel: its cells, counted from the region's first column.
struct Columns {
  std::vector<std::pair<std::uint32_t, std::uint32_t>> cells;
  std::uint64_t count = 0;
};

Columns columnsOf(std::uint64_t cells, int pixels) {
  Columns columns{{}, cells};
  const auto all = static_cast<std::uint64_t>(pixels);
  for (std::uint64_t i = 0; i < all; ++i) {
    columns.cells.emplace_back(static_cast<std::uint32_t>(firstCell(i, cells, all)),
                               static_cast<std::uint32_t>(endCell(i, cells, all)));
  }
  return columns;
}

// With the sign rotated into the lowest bit a weight's bits order by magnitude as they are: across, where values come one by
// one, that is a plain maximum. Leaves `line` in that form.
void foldMaxima(std::span<float> line, const Columns& columns, std::span<float> out) {
  for (float& value : line) value = std::bit_cast<float>(std::rotl(std::bit_cast<std::uint32_t>(value), 1));
  for (std::size_t x = 0; x < out.size(); ++x) {
    std::uint32_t best = 0;
    for (auto [c, end] = columns.cells[x]; c < end; ++c) best = std::max(best, std::bit_cast<std::uint32_t>(line[c]));
    out[x] = std::bit_cast<float>(std::rotr(best, 1));
  }
}

void foldSums(std::span<const double> line, const Columns& columns, std::uint64_t rows, std::span<float> out) {
  for (std::size_t x = 0; x < out.size(); ++x) {
    const auto [first, end] = columns.cells[x];
    double sum = 0;
    for (std::uint32_t c = first; c < end; ++c) sum += line[c];
    out[x] = static_cast<float>(sum / static_cast<double>(rows * (end - first)));
  }
}

void keepLarger(float* best, const float* row, std::size_t width) {
  for (std::size_t c = 0; c < width; ++c) best[c] = std::bit_cast<float>(larger(std::bit_cast<std::int32_t>(best[c]), row[c]));
}

// Four rows at once: the running maxima are loaded and stored a quarter as often.
void keepLargest(float* best, const float* a, const float* b, const float* c, const float* d, std::size_t width) {
  for (std::size_t i = 0; i < width; ++i) {
    const std::int32_t upper = larger(std::bit_cast<std::int32_t>(a[i]), b[i]),
                       lower = larger(std::bit_cast<std::int32_t>(c[i]), d[i]);
    best[i] = std::bit_cast<float>(larger(larger(upper, std::bit_cast<float>(lower)), best[i]));
  }
}

// One pixel row from `rows` rows: down the columns first, which runs along memory, then across. rowsStay: the pointers of
// several rows are good at the same time.
template <bool rowsStay, class RowAt>
void poolLine(RowAt rowAt, std::uint64_t rows, const Columns& columns, Pooling mode, std::span<float> out,
              std::vector<float>& maxima, std::vector<double>& sums) {
  const std::size_t width = columns.count;
  if (mode == Pooling::MaxMagnitude) {
    std::fill(maxima.begin(), maxima.end(), 0.0F);
    std::uint64_t r = 0;
    for (; rowsStay && r + 4 <= rows; r += 4)
      keepLargest(maxima.data(), rowAt(r), rowAt(r + 1), rowAt(r + 2), rowAt(r + 3), width);
    for (; r < rows; ++r) keepLarger(maxima.data(), rowAt(r), width);
    return foldMaxima(maxima, columns, out);
  }
  std::fill(sums.begin(), sums.end(), 0.0);
  for (std::uint64_t r = 0; r < rows; ++r) {
    const float* row = rowAt(r);
    for (std::size_t c = 0; c < width; ++c) sums[c] += static_cast<double>(row[c]);
  }
  foldSums(sums, columns, rows, out);
}

PooledMatrix frame(const MatrixRegion& region, int width, int height) {
  PooledMatrix pooled;
  pooled.region = region;
  pooled.width = static_cast<int>(std::min<std::uint64_t>(static_cast<std::uint64_t>(std::max(width, 0)), region.columns()));
  pooled.height = static_cast<int>(std::min<std::uint64_t>(static_cast<std::uint64_t>(std::max(height, 0)), region.rows()));
  if (pooled.width == 0 || pooled.height == 0) pooled.width = pooled.height = 0;
  pooled.values.resize(static_cast<std::size_t>(pooled.width) * static_cast<std::size_t>(pooled.height));
  return pooled;
}

// Calls line(y, first row, row count, output) for each pixel row.
template <class Line>
void eachLine(PooledMatrix& pooled, Line line) {
  const auto height = static_cast<std::uint64_t>(pooled.height), width = static_cast<std::uint64_t>(pooled.width);
  for (std::uint64_t y = 0; y < height; ++y) {
    const std::uint64_t first = firstCell(y, pooled.region.rows(), height), last = endCell(y, pooled.region.rows(), height);
    line(pooled.region.rowBegin + first, last - first, std::span(pooled.values).subspan(y * width, width));
  }
}

}  // namespace

PooledMatrix pool(std::span<const float> matrix, std::uint64_t columns, const MatrixRegion& region, int width, int height,
                  Pooling mode) {
  NIBBLE_EXPECTS(region.columnEnd <= columns && region.rowEnd * columns <= matrix.size());
  PooledMatrix pooled = frame(region, width, height);
  if (pooled.values.empty()) return pooled;
  const Columns split = columnsOf(region.columns(), pooled.width);
  std::vector<float> maxima(region.columns());
  std::vector<double> sums(region.columns());
  eachLine(pooled, [&](std::uint64_t firstRow, std::uint64_t rows, std::span<float> out) {
    const auto rowAt = [&](std::uint64_t r) { return matrix.data() + (firstRow + r) * columns + region.columnBegin; };
    poolLine<true>(rowAt, rows, split, mode, out, maxima, sums);
  });
  return pooled;
}

PooledMatrix pool(const MatrixRows& source, const MatrixRegion& region, int width, int height, Pooling mode, int rowsPerPixel) {
  PooledMatrix pooled = frame(region, width, height);
  if (pooled.values.empty()) return pooled;
  const Columns split = columnsOf(region.columns(), pooled.width);
  std::vector<float> maxima(region.columns());
  std::vector<double> sums(region.columns());
  std::vector<float> buffer(region.columns());
  eachLine(pooled, [&](std::uint64_t firstRow, std::uint64_t rows, std::span<float> out) {
    const std::uint64_t taken =
        rowsPerPixel > 0 ? std::min<std::uint64_t>(rows, static_cast<std::uint64_t>(rowsPerPixel)) : rows;
    const auto rowAt = [&](std::uint64_t r) -> const float* {
      source(firstRow + firstCell(r, rows, taken), region.columnBegin, buffer);
      return buffer.data();
    };
    poolLine<false>(rowAt, taken, split, mode, out, maxima, sums);
  });
  return pooled;
}

}  // namespace nibble
