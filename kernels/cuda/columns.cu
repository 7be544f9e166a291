// SPDX-License-Identifier: GPL-3.0-or-later
// The list of tiles, decoding, and the two small kernels around every product.
//
// Tiling of decodeColumns: a thread takes one column of one tile of 32 stored rows, a warp 32 neighbouring columns:
//
//     words  row r   |n n+1 ... n+31|      `bits` loads of 128 bytes a warp
//     out    row k   |n n+1 ... n+31|      32 stores of 64 bytes, to row order[k]: the order moves whole rows
//     order          |k0 ... k0 + 31|      one load of 128 bytes a warp, an entry a lane, shuffled to all
//
// Bytes: bits / 8 read and 2 written for each weight; scales and zeros once for each tile.
//
// bound decodeColumns registers 64 shared 0
// bound addParts registers 32 shared 0
// bound makeHalves registers 32 shared 0
#include "kernels/cuda/columns.h"

#include "kernels/cuda/column_sums.h"

#include <algorithm>

namespace nibble::kernels::NIBBLE_CUDA_SPACE {
namespace {

constexpr unsigned threads = 128;

template <unsigned bits>
NIBBLE_DEVICE void decodeTile(const PackedColumns& packed, const ColumnTile& tile, std::size_t n, bool inside,
                              std::uint16_t* weights) {
  std::uint32_t words[bits];
#pragma unroll
  for (unsigned r = 0; r < bits; ++r) words[r] = loadOnce(packed.words + (tile.v[0] + r) * packed.outputs + n);
  const std::uint16_t scale = load(packed.scales + tile.v[1] * packed.outputs + n);
  const std::uint16_t zero = load(packed.zeros + tile.v[1] * packed.outputs + n);
  const std::uint32_t stored = tile.v[3] * 32 + threadIndex() % 32;
  const std::uint32_t channel = packed.order != nullptr ? load(packed.order + stored) : stored;
#pragma unroll
  for (unsigned k = 0; k < 32; ++k) {
    const unsigned bit = k * bits, low = bit / 32, high = low + 1 < bits ? low + 1 : low;
    const unsigned code = funnel(words[low], words[high], bit % 32) & ((1u << bits) - 1);
    const std::size_t row = shuffleFrom(channel, k);
    if (inside) store(weights + row * packed.outputs + n, fusedHalf(scale, code, zero));
  }
}

NIBBLE_KERNEL NIBBLE_THREADS(128) decodeColumns(PackedColumns packed, std::uint16_t* weights) {
  const std::size_t mine = std::size_t{blockY()} * threads + threadIndex();
  const bool inside = mine < packed.outputs;
  const std::size_t n = inside ? mine : packed.outputs - 1;  // idle lanes read along, for the shuffles
  const ColumnTile tile = load(packed.tiles + blockX());
  switch (tile.v[2]) {
    case 2:
      return decodeTile<2>(packed, tile, n, inside, weights);
    case 3:
      return decodeTile<3>(packed, tile, n, inside, weights);
    case 4:
      return decodeTile<4>(packed, tile, n, inside, weights);
    case 5:
      return decodeTile<5>(packed, tile, n, inside, weights);
    case 6:
      return decodeTile<6>(packed, tile, n, inside, weights);
    default:
      return decodeTile<8>(packed, tile, n, inside, weights);
  }
}

NIBBLE_KERNEL NIBBLE_THREADS(128) addParts(const float* parts, std::size_t count, std::size_t rows, std::size_t columns,
                                           const float* bias, const std::uint32_t* order, float* out) {
  const std::size_t n = std::size_t{blockX()} * threads + threadIndex(), m = blockY();
  if (n >= columns) return;
  float sum = bias != nullptr ? load(bias + n) : 0.0f;
  for (std::size_t p = 0; p < count; ++p) sum += loadOnce(parts + (p * rows + m) * columns + n);
  store(out + m * columns + (order != nullptr ? load(order + n) : n), sum);
}

NIBBLE_KERNEL NIBBLE_THREADS(128) makeHalves(const float* x, std::size_t rows, std::size_t columns, std::size_t paddedColumns,
                                             const std::uint32_t* order, std::uint16_t* halves) {
  const std::size_t k = std::size_t{blockX()} * threads + threadIndex(), m = blockY();
  if (k >= paddedColumns) return;
  float value = 0;
  if (m < rows && k < columns) value = load(x + m * columns + (order != nullptr ? load(order + k) : k));
  store(halves + m * paddedColumns + k, numberToHalf(value));
}

bool isWidth(unsigned bits) {
  return bits == 2 || bits == 3 || bits == 4 || bits == 5 || bits == 6 || bits == 8;
}

std::size_t runCount(std::size_t tiles, std::size_t blocksAcross, std::size_t runsOfBlock, std::size_t multiprocessors) {
  const std::size_t wanted = ceilDiv(8 * multiprocessors, std::max<std::size_t>(1, blocksAcross)) * runsOfBlock;
  return std::clamp<std::size_t>(wanted, 1, std::max<std::size_t>(1, tiles / 2));
}

}  // namespace

Outcome tileList(std::span<const ColumnGroup> groups, std::size_t runCount, TileList* list) {
  *list = {};
  std::vector<bool> starts;
  for (std::size_t g = 0; g < groups.size(); ++g) {
    const auto [bits, rows] = groups[g];
    if (!isWidth(bits) || rows == 0 || rows % 32 != 0)
      return Outcome::failed(Fault::BadCall, "group " + std::to_string(g) + " has " + std::to_string(rows) + " rows of " +
                                                 std::to_string(bits) +
                                                 " bits; whole tiles of 32 rows and 2, 3, 4, 5, 6 or 8 bits are needed");
    for (unsigned row = 0; row < rows; row += 32) {
      list->tiles.push_back({{static_cast<std::uint32_t>(list->wordRows), static_cast<std::uint32_t>(g), bits,
                              static_cast<std::uint32_t>(list->tiles.size())}});
      starts.push_back(row == 0);
      list->wordRows += bits;
    }
  }
  const std::size_t count = std::max<std::size_t>(1, std::min(runCount, list->tiles.size()));
  std::size_t begin = 0;
  for (std::size_t run = 1; run <= count && begin < list->tiles.size(); ++run) {
    // The tile where this run's share of the bytes ends, or the nearest start of a group within half a run.
    const std::size_t share = list->wordRows * run / count;
    std::size_t end = begin;
    while (end < list->tiles.size() && (run == count || list->tiles[end].v[0] < share)) ++end;
    const std::size_t reach = list->tiles.size() / count / 2;
    for (std::size_t away = 0; run < count && away <= reach; ++away) {
      if (end + away < list->tiles.size() && starts[end + away]) {
        end += away;
        break;
      }
      if (end > begin + away && starts[end - away]) {
        end -= away;
        break;
      }
    }
    if (end > begin) list->runs.push_back({{static_cast<std::uint32_t>(begin), static_cast<std::uint32_t>(end)}});
    begin = std::max(begin, end);
  }
  return {};
}

std::size_t vectorRunCount(std::size_t tiles, std::size_t outputs, std::size_t multiprocessors) {
  return runCount(tiles, ceilDiv(outputs, 128), 4, multiprocessors);
}
std::size_t skinnyRunCount(std::size_t tiles, std::size_t outputs, std::size_t multiprocessors) {
  return runCount(tiles, ceilDiv(outputs, 64), 1, multiprocessors);
}

Outcome launchDecodeColumns(const PackedColumns& packed, std::uint16_t* weights, Stream stream) {
  if (packed.tileCount == 0 || packed.outputs == 0) return {};
  const std::size_t columns = ceilDiv(packed.outputs, threads);
  if (columns > largestGridY) return Outcome::failed(Fault::BadCall, "too many columns at once");
  return launch(decodeColumns, {static_cast<unsigned>(packed.tileCount), static_cast<unsigned>(columns)}, threads, 0, stream,
                packed, weights);
}

Outcome launchAddParts(const float* parts, std::size_t count, std::size_t rows, std::size_t columns, const float* bias,
                       const std::uint32_t* order, float* out, Stream stream) {
  return launch(addParts, {static_cast<unsigned>(ceilDiv(columns, threads)), static_cast<unsigned>(rows)}, threads, 0, stream,
                parts, count, rows, columns, bias, order, out);
}

Outcome launchHalves(const float* x, std::size_t rows, std::size_t columns, std::size_t paddedRows, std::size_t paddedColumns,
                     const std::uint32_t* order, std::uint16_t* halves, Stream stream) {
  return launch(makeHalves, {static_cast<unsigned>(ceilDiv(paddedColumns, threads)), static_cast<unsigned>(paddedRows)},
                threads, 0, stream, x, rows, columns, paddedColumns, order, halves);
}

}  // namespace nibble::kernels::NIBBLE_CUDA_SPACE
