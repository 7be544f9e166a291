// SPDX-License-Identifier: GPL-3.0-or-later
// Tiling. A warp takes a run of tiles and 128 columns, four a lane; the four warps of a block take four runs of the same
// columns:
//
//     words   tile of 32 rows: `bits` word rows   |lane 0: n..n+3|lane 1: n+4..n+7| ... |lane 31|   16 bytes each, 512 a row
//     x       32 inputs of the tile, gathered by `order`, in the warp's shared memory, read by all lanes at once
//     sums    rows x 4 columns in registers -> shared memory -> warps added in order -> parts[block of runs, row, column]
//
// A tile's width is one branch for the whole warp, compile-time inside. Scales and zeros are loaded when the group changes.
// Bytes: bits / 8 for each weight, once; x again for each 128 columns (second cache); 4 x rows written for each column and
// block of runs, read once by addParts. Columns that are no multiple of four, or unaligned words: one column a lane, 128 bytes
// a row.
//
// bound multiplyRuns registers 128 shared 10240
#include "kernels/cuda/column_sums.h"

namespace nibble::kernels::NIBBLE_CUDA_SPACE {
namespace {

constexpr unsigned warps = 4, threads = warps * 32;

template <unsigned rows, unsigned width>
struct LaneSums {
  float sum[rows][width] = {};
  std::uint16_t scale[width] = {}, zero[width] = {};
};

template <unsigned width, class T>
NIBBLE_DEVICE void loadColumns(const T* from, T (&to)[width]) {
  if constexpr (width == 4) {
    const Quad<T> quad = load(reinterpret_cast<const Quad<T>*>(from));
    for (unsigned c = 0; c < 4; ++c) to[c] = quad.v[c];
  } else {
    to[0] = load(from);
  }
}

template <unsigned bits, unsigned rows, unsigned width>
NIBBLE_DEVICE void addTile(const PackedColumns& packed, const ColumnTile& tile, std::size_t n, const Shared<Quad<float>>& x,
                           LaneSums<rows, width>& lane) {
  std::uint32_t words[bits][width];
#pragma unroll
  for (unsigned r = 0; r < bits; ++r) {
    const std::uint32_t* from = packed.words + (tile.v[0] + r) * packed.outputs + n;
    if constexpr (width == 4) {
      const Quad<std::uint32_t> quad = loadOnce(reinterpret_cast<const Quad<std::uint32_t>*>(from));
      for (unsigned c = 0; c < 4; ++c) words[r][c] = quad.v[c];
    } else {
      words[r][0] = loadOnce(from);
    }
  }
#pragma unroll
  for (unsigned k = 0; k < 32; ++k) {
    const unsigned bit = k * bits, low = bit / 32, high = low + 1 < bits ? low + 1 : low;
    Quad<float> inputs[rows];
#pragma unroll
    for (unsigned m = 0; m < rows; ++m) inputs[m] = x.get(m * 8 + k / 4);
#pragma unroll
    for (unsigned c = 0; c < width; c += 2) {
      const unsigned other = c + 1 < width ? c + 1 : c, mask = (1u << bits) - 1;
      const std::uint32_t pair = fusedHalves(lane.scale[c] | static_cast<std::uint32_t>(lane.scale[other]) << 16,
                                             funnel(words[low][c], words[high][c], bit % 32) & mask,
                                             funnel(words[low][other], words[high][other], bit % 32) & mask,
                                             lane.zero[c] | static_cast<std::uint32_t>(lane.zero[other]) << 16);
      const float w0 = halfToNumber(static_cast<std::uint16_t>(pair)),
                  w1 = halfToNumber(static_cast<std::uint16_t>(pair >> 16));
#pragma unroll
      for (unsigned m = 0; m < rows; ++m) {
        lane.sum[m][c] = fused(inputs[m].v[k % 4], w0, lane.sum[m][c]);
        if (other != c) lane.sum[m][other] = fused(inputs[m].v[k % 4], w1, lane.sum[m][other]);
      }
    }
  }
}

template <unsigned rows, unsigned width>
NIBBLE_KERNEL NIBBLE_THREADS(128) multiplyRuns(PackedColumns packed, const float* x, std::size_t rowCount, float* parts) {
  const unsigned lane = threadIndex() % 32, warp = threadIndex() / 32;
  const std::size_t first = std::size_t{blockX()} * 32 * width, n = first + lane * width;
  const std::size_t run = std::size_t{blockY()} * warps + warp;
  const bool inside = n < packed.outputs;
  const std::size_t column = inside ? n : packed.outputs - width;  // idle lanes read along
  const Shared<float> inputs(warp * rows * 32 * sizeof(float), rows * 32);
  const Shared<Quad<float>> inputQuads(warp * rows * 32 * sizeof(float), rows * 8);
  LaneSums<rows, width> sums;
  const TileRun tiles = run < packed.runCount ? load(packed.runs + run) : TileRun{{0, 0}};
  std::uint32_t group = 0xFFFFFFFFu;
  for (std::uint32_t t = tiles.v[0]; t < tiles.v[1]; ++t) {
    const ColumnTile tile = load(packed.tiles + t);
    const std::size_t stored = std::size_t{t} * 32 + lane;
    const std::size_t channel = packed.order != nullptr ? load(packed.order + stored) : stored;
    syncWarp();
#pragma unroll
    for (unsigned m = 0; m < rows; ++m)
      inputs.set(m * 32 + lane, m < rowCount ? load(x + m * packed.inputs() + channel) : 0.0f);
    syncWarp();
    if (tile.v[1] != group) {
      group = tile.v[1];
      loadColumns<width>(packed.scales + group * packed.outputs + column, sums.scale);
      loadColumns<width>(packed.zeros + group * packed.outputs + column, sums.zero);
    }
    switch (tile.v[2]) {
      case 2:
        addTile<2>(packed, tile, column, inputQuads, sums);
        break;
      case 3:
        addTile<3>(packed, tile, column, inputQuads, sums);
        break;
      case 4:
        addTile<4>(packed, tile, column, inputQuads, sums);
        break;
      case 5:
        addTile<5>(packed, tile, column, inputQuads, sums);
        break;
      case 6:
        addTile<6>(packed, tile, column, inputQuads, sums);
        break;
      default:
        addTile<8>(packed, tile, column, inputQuads, sums);
        break;
    }
  }
  // Warps in order; [warp][row][column].
  const std::size_t offset = warps * rows * 32 * sizeof(float);
  const Shared<float> all(offset, warps * rows * width * 32);
#pragma unroll
  for (unsigned m = 0; m < rows; ++m) {
    const unsigned place = (warp * rows + m) * 32 + lane;
    if constexpr (width == 4)
      Shared<Quad<float>>(offset, warps * rows * 32)
          .set(place, {{sums.sum[m][0], sums.sum[m][1], sums.sum[m][2], sums.sum[m][3]}});
    else
      all.set(place, sums.sum[m][0]);
  }
  syncThreads();
  for (unsigned i = threadIndex(); i < rows * 32 * width; i += threads) {
    const unsigned m = i / (32 * width), at = i % (32 * width);
    if (m >= rowCount || first + at >= packed.outputs) continue;
    float sum = 0;
    for (unsigned w = 0; w < warps; ++w) sum += all.get((w * rows + m) * 32 * width + at);
    store(parts + (blockY() * rowCount + m) * packed.outputs + first + at, sum);
  }
}

template <unsigned rows, unsigned width>
Outcome launchRuns(const PackedColumns& packed, const float* x, std::size_t rowCount, float* parts, Stream stream) {
  const GridSize grid{static_cast<unsigned>(ceilDiv(packed.outputs, 32 * width)),
                      static_cast<unsigned>(ceilDiv(packed.runCount, warps))};
  const std::size_t shared = (warps * rows * 32 + warps * rows * width * 32) * sizeof(float);
  return launch(multiplyRuns<rows, width>, grid, threads, shared, stream, packed, x, rowCount, parts);
}

}  // namespace

std::size_t productScratch(const PackedColumns& packed, std::size_t rows) {
  return packed.runCount * rows * packed.outputs;
}

Outcome launchVectorProduct(const PackedColumns& packed, const float* x, std::size_t rows, const float* bias, float* scratch,
                            float* y, Stream stream) {
  if (rows == 0 || packed.outputs == 0) return {};
  if (rows > mostVectorRows || packed.runCount > largestGridY)
    return Outcome::failed(Fault::BadCall, "more rows or runs than a vector product takes");
  const bool quads =
      packed.outputs % 4 == 0 && isAligned(packed.words, 16) && isAligned(packed.scales, 8) && isAligned(packed.zeros, 8);
  Outcome outcome = !quads      ? launchRuns<4, 1>(packed, x, rows, scratch, stream)
                    : rows == 1 ? launchRuns<1, 4>(packed, x, rows, scratch, stream)
                    : rows == 2 ? launchRuns<2, 4>(packed, x, rows, scratch, stream)
                                : launchRuns<4, 4>(packed, x, rows, scratch, stream);
  if (!outcome.ok()) return outcome;
  return launchAddParts(scratch, ceilDiv(packed.runCount, warps), rows, packed.outputs, bias, nullptr, y, stream);
}

}  // namespace nibble::kernels::NIBBLE_CUDA_SPACE
