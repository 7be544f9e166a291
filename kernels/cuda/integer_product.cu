// SPDX-License-Identifier: GPL-3.0-or-later
// Tiling. A block takes 64 rows of a (tokens) times 64 rows of b (outputs), 64 columns at a time:
//
//     stage s   a [64 rows x 64 bytes] | b [64 rows x 64 bytes], rows 80 bytes apart      copied asynchronously, 4 deep
//     warp w    32 x 32 outputs, rows 32 (w / 2) .. of a, 32 (w % 2) .. of b:  2 x 4 tile products for each 32 columns
//     sums      in registers, 32 bits, exact -> shared memory, rows 72 numbers apart -> out, 128 bytes a warp
//
// Rows 80 bytes apart put one 16-byte piece of eight rows, and one word of eight rows x 4, in different banks. Beyond the last
// row the last one is read again, and nothing is written.
// Bytes: a once for each 64 rows of b, b once for each 64 rows of a; 4 written for each output.
//
// bound multiplyBytes registers 128 shared 40960
#include "kernels/cuda/integer_product.h"

namespace nibble::kernels::NIBBLE_CUDA_SPACE {
namespace {

constexpr unsigned threads = 128, tileSide = 64, stages = 4, quadsOfRow = 5, wordsOfRow = 4 * quadsOfRow, sumStride = 72;
constexpr std::size_t sideBytes = tileSide * wordsOfRow * sizeof(std::uint32_t), stageBytes = 2 * sideBytes;

// Starts copying 64 columns of 64 rows from `first` on. Eight lanes copy one quarter of eight rows.
NIBBLE_DEVICE void stageRows(const std::int8_t* from, std::size_t rows, std::size_t first, std::size_t columns,
                             std::size_t column, std::size_t offset) {
  const Shared<Quad<std::uint32_t>> quads(offset, tileSide * quadsOfRow);
#pragma unroll
  for (unsigned i = threadIndex(); i < tileSide * 4; i += threads) {
    const unsigned r = i / 32 * 8 + i % 8, quarter = i % 32 / 8;
    const std::size_t row = first + r < rows ? first + r : rows - 1;
    quads.copyLater(r * quadsOfRow + quarter,
                    reinterpret_cast<const Quad<std::uint32_t>*>(from + row * columns + column) + quarter);
  }
}

NIBBLE_KERNEL NIBBLE_THREADS(128)
    multiplyBytes(const std::int8_t* a, std::size_t aRows, const std::int8_t* b, std::size_t bRows, std::size_t columns,
                  std::int32_t* out, std::size_t outStep) {
  const unsigned lane = threadIndex() % 32, warp = threadIndex() / 32, g = lane / 4, t4 = lane % 4;
  const unsigned aFirst = warp / 2 * 32, bFirst = warp % 2 * 32;
  const std::size_t firstA = std::size_t{blockY()} * tileSide, firstB = std::size_t{blockX()} * tileSide;
  const auto steps = static_cast<unsigned>(columns / integerDepth);
  // A group of copies for each stage, empty after the last one.
  const auto stage = [&](unsigned step) {
    if (step < steps) {
      const std::size_t offset = step % stages * stageBytes, column = step * integerDepth;
      stageRows(a, aRows, firstA, columns, column, offset);
      stageRows(b, bRows, firstB, columns, column, offset + sideBytes);
    }
    closeCopies();
  };
  std::int32_t sums[2][4][4] = {};
  for (unsigned s = 0; s + 1 < stages; ++s) stage(s);
  for (unsigned step = 0; step < steps; ++step) {
    awaitCopies<stages - 2>();
    syncThreads();
    stage(step + stages - 1);
    const std::size_t offset = step % stages * stageBytes;
    const Shared<std::uint32_t> aWords(offset, tileSide * wordsOfRow), bWords(offset + sideBytes, tileSide * wordsOfRow);
#pragma unroll
    for (unsigned half = 0; half < 2; ++half) {
      std::uint32_t left[2][4], right[4][2];
#pragma unroll
      for (unsigned m = 0; m < 2; ++m)
        for (unsigned i = 0; i < 4; ++i)
          left[m][i] = aWords.get((aFirst + m * 16 + g + i % 2 * 8) * wordsOfRow + half * 8 + i / 2 * 4 + t4);
#pragma unroll
      for (unsigned n = 0; n < 4; ++n)
        for (unsigned i = 0; i < 2; ++i) right[n][i] = bWords.get((bFirst + n * 8 + g) * wordsOfRow + half * 8 + i * 4 + t4);
#pragma unroll
      for (unsigned m = 0; m < 2; ++m)
#pragma unroll
        for (unsigned n = 0; n < 4; ++n) multiplyByteTile(sums[m][n], left[m], right[n]);
    }
  }
  awaitCopies<0>();
  syncThreads();  // the sums take the stages' place
  const Shared<Pair<std::int32_t>> pairs(0, tileSide * sumStride / 2);
#pragma unroll
  for (unsigned m = 0; m < 2; ++m)
#pragma unroll
    for (unsigned n = 0; n < 4; ++n)
      for (unsigned i = 0; i < 2; ++i)
        pairs.set(((aFirst + m * 16 + g + i * 8) * sumStride + bFirst + n * 8) / 2 + t4,
                  {{sums[m][n][2 * i], sums[m][n][2 * i + 1]}});
  syncThreads();
  const Shared<std::int32_t> all(0, tileSide * sumStride);
  for (unsigned i = threadIndex(); i < tileSide * tileSide; i += threads) {
    const std::size_t r = firstA + i / tileSide, s = firstB + i % tileSide;
    if (r < aRows && s < bRows) store(out + r * outStep + s, all.get(i / tileSide * sumStride + i % tileSide));
  }
}

}  // namespace

Outcome launchIntegerProducts(const std::int8_t* a, std::size_t aRows, const std::int8_t* b, std::size_t bRows,
                              std::size_t columns, std::int32_t* out, std::size_t outStep, Stream stream) {
  if (aRows == 0 || bRows == 0) return {};
  const GridSize grid{static_cast<unsigned>(ceilDiv(bRows, tileSide)), static_cast<unsigned>(ceilDiv(aRows, tileSide))};
  if (columns % integerDepth != 0 || columns > mostIntegerColumns || grid.y > largestGridY)
    return Outcome::failed(
        Fault::BadCall, "an integer product of " + std::to_string(aRows) + " rows of " + std::to_string(columns) + " columns");
  if (!isAligned(a, 16) || !isAligned(b, 16)) return Outcome::failed(Fault::BadCall, "rows that are not aligned");
  return launch(multiplyBytes, grid, threads, stages * stageBytes, stream, a, aRows, b, bRows, columns, out, outStep);
}

}  // namespace nibble::kernels::NIBBLE_CUDA_SPACE
