// SPDX-License-Identifier: GPL-3.0-or-later
// Products on weights packed down their columns (kernels/products.h says how they lie and what they are).
// Groups hold a multiple of 32 stored rows, so every tile of 32 rows has one width and one group: kernels walk a list of tiles
// in runs of equal bytes. `order[k]` is the input channel of stored row k; null: the same. No table of width masks, no
// atomics: partial sums of the runs are added in order, float32.
// Errors, against exact sums of the same weights: at most 2^-23 (terms / 2 + 8) sum |x w|; products on tensor cores also round
// the activations to halves.
#pragma once
#include "kernels/cuda/device.h"
#include "kernels/products.h"

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace nibble::kernels::NIBBLE_CUDA_SPACE {

// v: first word row, group, bits, number of the tile. As kernels read it, 16 bytes at once.
using ColumnTile = Quad<std::uint32_t>;
// Tiles [first, last).
using TileRun = Pair<std::uint32_t>;

using kernels::ColumnGroup;

struct TileList {
  std::vector<ColumnTile> tiles;
  std::vector<TileRun> runs;
  std::size_t wordRows = 0;
};
// Cuts into at most `runCount` runs of about equal bytes, each beginning where a group does, unless groups are longer than a
// run. Error: a width or a number of rows that this layout does not have.
Outcome tileList(std::span<const ColumnGroup> groups, std::size_t runCount, TileList* list);
// How many runs put eight blocks on each of so many multiprocessors, with at least two tiles a run: of vector products, whose
// blocks take 128 columns and four runs, and of skinny ones, whose blocks take 64 and one.
std::size_t vectorRunCount(std::size_t tiles, std::size_t outputs, std::size_t multiprocessors);
std::size_t skinnyRunCount(std::size_t tiles, std::size_t outputs, std::size_t multiprocessors);

// On the device.
struct PackedColumns {
  const std::uint32_t* words = nullptr;
  const std::uint16_t* scales = nullptr;  // [groups, outputs]
  const std::uint16_t* zeros = nullptr;
  const std::uint32_t* order = nullptr;  // [inputs], or null
  const ColumnTile* tiles = nullptr;
  const TileRun* runs = nullptr;
  std::size_t tileCount = 0, runCount = 0, outputs = 0;
  [[nodiscard]] NIBBLE_BOTH std::size_t inputs() const { return 32 * tileCount; }
};

// weights[order[k], n], as halves: [inputs, outputs].
Outcome launchDecodeColumns(const PackedColumns& packed, std::uint16_t* weights, Stream stream);

// y[m, n] = sum over k of x[m, order[k]] w[k, n], plus bias[n] where there is one. x [rows, inputs], y [rows, outputs],
// float32. Up to 4 rows on the ordinary units, exact activations. Scratch: productScratch floats.
inline constexpr std::size_t mostVectorRows = 4;
std::size_t productScratch(const PackedColumns& packed, std::size_t rows);
Outcome launchVectorProduct(const PackedColumns& packed, const float* x, std::size_t rows, const float* bias, float* scratch,
                            float* y, Stream stream);

// The same for up to 64 rows on tensor cores. halves: skinnyHalves 16-bit numbers of scratch.
inline constexpr std::size_t mostSkinnyRows = 64;
std::size_t skinnyHalves(const PackedColumns& packed, std::size_t rows);
Outcome launchSkinnyProduct(const PackedColumns& packed, const float* x, std::size_t rows, const float* bias,
                            std::uint16_t* halves, float* scratch, float* y, Stream stream);

// dx[m, order[k]] = sum over n of dy[m, n] w[k, n], for up to 64 rows on tensor cores, from the same bytes.
std::size_t backwardHalves(const PackedColumns& packed, std::size_t rows);
std::size_t backwardScratch(const PackedColumns& packed, std::size_t rows);
Outcome launchBackwardProduct(const PackedColumns& packed, const float* dy, std::size_t rows, std::uint16_t* halves,
                              float* scratch, float* dx, Stream stream);

}  // namespace nibble::kernels::NIBBLE_CUDA_SPACE
