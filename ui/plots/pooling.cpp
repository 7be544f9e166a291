// SPDX-License-Identifier: GPL-3.0-or-later
#include "ui/plots/pooling.h"

#include "core/base/contracts.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

namespace nibble {
namespace {

// Magnitudes of floats order like their bits without the sign, NaN above infinity: one integer maximum keeps the largest weight and
// makes NaN win, without a branch the compiler could not turn into vector instructions. The sign moves into the lowest bit.
std::uint32_t ranked(float value) { return std::rotl(std::bit_cast<std::uint32_t>(value), 1); }
float unranked(std::uint32_t rank) { return std::bit_cast<float>(std::rotr(rank, 1)); }

struct Columns {
  std::vector<std::uint32_t> first;  // of each pixel, and one past the last
};

Columns columnsOf(std::uint64_t cells, int pixels) {
  Columns columns;
  for (int i = 0; i <= pixels; ++i) {
    columns.first.push_back(static_cast<std::uint32_t>(firstCell(static_cast<std::uint64_t>(i), cells, static_cast<std::uint64_t>(pixels))));
  }
  return columns;
}

void foldMaxima(std::span<const std::uint32_t> line, const Columns& columns, std::span<float> out) {
  for (std::size_t x = 0; x < out.size(); ++x) {
    std::uint32_t best = 0;
    for (std::uint32_t c = columns.first[x]; c < columns.first[x + 1]; ++c) best = std::max(best, line[c]);
    out[x] = unranked(best);
  }
}

void foldSums(std::span<const double> line, const Columns& columns, std::uint64_t rows, std::span<float> out) {
  for (std::size_t x = 0; x < out.size(); ++x) {
    double sum = 0;
    for (std::uint32_t c = columns.first[x]; c < columns.first[x + 1]; ++c) sum += line[c];
    out[x] = static_cast<float>(sum / static_cast<double>(rows * (columns.first[x + 1] - columns.first[x])));
  }
}

// One pixel row from `rows` rows given one by one: down the columns first, which runs along memory, then across.
template <class RowAt>
void poolLine(RowAt rowAt, std::uint64_t rows, const Columns& columns, Pooling mode, std::span<float> out,
              std::vector<std::uint32_t>& maxima, std::vector<double>& sums) {
  const std::size_t width = columns.first.back();
  if (mode == Pooling::MaxMagnitude) {
    std::fill(maxima.begin(), maxima.end(), 0U);
    for (std::uint64_t r = 0; r < rows; ++r) {
      const float* row = rowAt(r);
      std::uint32_t* best = maxima.data();
      for (std::size_t c = 0; c < width; ++c) best[c] = std::max(best[c], ranked(row[c]));
    }
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
    const std::uint64_t first = firstCell(y, pooled.region.rows(), height), last = firstCell(y + 1, pooled.region.rows(), height);
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
  std::vector<std::uint32_t> maxima(region.columns());
  std::vector<double> sums(region.columns());
  eachLine(pooled, [&](std::uint64_t firstRow, std::uint64_t rows, std::span<float> out) {
    const auto rowAt = [&](std::uint64_t r) { return matrix.data() + (firstRow + r) * columns + region.columnBegin; };
    poolLine(rowAt, rows, split, mode, out, maxima, sums);
  });
  return pooled;
}

PooledMatrix pool(const MatrixRows& source, const MatrixRegion& region, int width, int height, Pooling mode, int rowsPerPixel) {
  PooledMatrix pooled = frame(region, width, height);
  if (pooled.values.empty()) return pooled;
  const Columns split = columnsOf(region.columns(), pooled.width);
  std::vector<std::uint32_t> maxima(region.columns());
  std::vector<double> sums(region.columns());
  std::vector<float> buffer(region.columns());
  eachLine(pooled, [&](std::uint64_t firstRow, std::uint64_t rows, std::span<float> out) {
    const std::uint64_t taken = rowsPerPixel > 0 ? std::min<std::uint64_t>(rows, static_cast<std::uint64_t>(rowsPerPixel)) : rows;
    const auto rowAt = [&](std::uint64_t r) -> const float* {
      source(firstRow + firstCell(r, rows, taken), region.columnBegin, buffer);
      return buffer.data();
    };
    poolLine(rowAt, taken, split, mode, out, maxima, sums);
  });
  return pooled;
}

}  // namespace nibble
