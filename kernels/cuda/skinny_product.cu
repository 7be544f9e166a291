// SPDX-License-Identifier: GPL-3.0-or-later
// Tiling. y^T = w^T x^T on tensor cores: 16 columns of the weights are a tile's rows, 8 rows of x its columns, 16 inputs its
// depth. A block takes 64 columns (16 a warp), all rows of x and one run of tiles of 32 inputs:
//
//     stage s   words of the tile [bits x 64 columns] | x [rows x 32 inputs, 40 halves apart]     copied asynchronously, 4 deep
//     warp w    columns 16 w ..: codes -> halves in registers (a), x (b):  2 x rows / 8 tile products each stage
//     sums      16 columns x rows in registers, float32 -> parts[run, row, column], which addParts adds in order
//
// Scales are folded into the halves, so that the weights are exactly those of MBWQ. Zeros and scales: when the group changes,
// a warp's sixteen at once, shuffled to the lanes.
// Bytes: bits / 8 for each weight, once, whatever the rows; x (2 bytes a number) once for each 64 columns, from the second
// cache.
//
// bound multiplyTiles registers 128 shared 29696
#include "kernels/cuda/column_sums.h"
#include "kernels/cuda/tile_stage.h"

namespace nibble::kernels::NIBBLE_CUDA_SPACE {
namespace {

constexpr unsigned stages = 4, inputStride = 40;  // halves between rows of x: 20 words, so that 8 rows lie in different banks

template <unsigned eights>
inline constexpr std::size_t stageBytes = tileWordBytes + eights * 8 * inputStride * sizeof(std::uint16_t);

// Starts copying tile t and its inputs to its stage, or nothing after the last one; a group of copies either way.
template <unsigned eights, bool aligned>
NIBBLE_DEVICE void stageTile(const PackedColumns& packed, const std::uint16_t* x, std::size_t first, const TileRun& run,
                             std::uint32_t t) {
  if (t < run.v[1]) {
    const std::size_t offset = (t - run.v[0]) % stages * stageBytes<eights>;
    stageWords<aligned>(packed, load(packed.tiles + t), first, offset);
    const Shared<Quad<std::uint32_t>> inputs(offset + tileWordBytes, eights * 8 * inputStride / 8);
    // Eight lanes copy one quarter of eight rows, which lie in different banks.
    for (unsigned i = threadIndex(); i < eights * 8 * 4; i += tileThreads) {
      const unsigned m = i / 32 * 8 + i % 8, quarter = i % 32 / 8;
      inputs.copyLater(m * (inputStride / 8) + quarter,
                       reinterpret_cast<const Quad<std::uint32_t>*>(x + m * packed.inputs() + std::size_t{t} * 32) + quarter);
    }
  }
  closeCopies();
}

// Two neighbouring codes of a column as halves.
NIBBLE_DEVICE std::uint32_t weightPair(const Shared<std::uint32_t>& words, unsigned bits, unsigned column, unsigned k,
                                       std::uint32_t scale, std::uint32_t zero) {
  const unsigned mask = (1u << bits) - 1;
  const std::uint32_t codes = streamBits(words, bits, column, k * bits);
  return fusedHalves(scale, codes & mask, codes >> bits & mask, zero);
}

template <unsigned eights, bool aligned>
NIBBLE_KERNEL NIBBLE_THREADS(128) multiplyTiles(PackedColumns packed, const std::uint16_t* x, std::size_t rows, float* parts) {
  const unsigned lane = threadIndex() % 32, warp = threadIndex() / 32, g = lane / 4, t4 = lane % 4;
  const std::size_t first = std::size_t{blockX()} * tileColumns;
  const TileRun run = load(packed.runs + blockY());
  float sums[eights][4] = {};
  for (unsigned s = 0; s + 1 < stages; ++s) stageTile<eights, aligned>(packed, x, first, run, run.v[0] + s);
  std::uint32_t group = 0xFFFFFFFFu, scale[2] = {}, zero[2] = {};
  for (std::uint32_t t = run.v[0]; t < run.v[1]; ++t) {
    awaitCopies<stages - 2>();
    syncThreads();
    stageTile<eights, aligned>(packed, x, first, run, t + stages - 1);
    const ColumnTile tile = load(packed.tiles + t);
    if (tile.v[1] != group) {
      group = tile.v[1];
      const std::size_t n = first + warp * 16 + lane % 16, place = group * packed.outputs + n;
      const std::uint32_t scales = n < packed.outputs ? load(packed.scales + place) * 0x10001u : 0,
                          zeros = n < packed.outputs ? load(packed.zeros + place) * 0x10001u : 0;
      for (unsigned c = 0; c < 2; ++c) {
        scale[c] = shuffleFrom(scales, g + 8 * c);
        zero[c] = shuffleFrom(zeros, g + 8 * c);
      }
    }
    const std::size_t offset = (t - run.v[0]) % stages * stageBytes<eights>;
    const Shared<std::uint32_t> words(offset, 8 * wordStride), inputs(offset + tileWordBytes, eights * 8 * inputStride / 2);
#pragma unroll
    for (unsigned half = 0; half < 2; ++half) {
      std::uint32_t a[4];
#pragma unroll
      for (unsigned i = 0; i < 4; ++i)
        a[i] = weightPair(words, tile.v[2], warp * 16 + g + 8 * (i % 2), half * 16 + 2 * t4 + 8 * (i / 2), scale[i % 2],
                          zero[i % 2]);
#pragma unroll
      for (unsigned e = 0; e < eights; ++e) {
        const unsigned place = (e * 8 + g) * (inputStride / 2) + half * 8 + t4;
        const std::uint32_t b[2] = {inputs.get(place), inputs.get(place + 4)};
        multiplyTile(sums[e], a, b);
      }
    }
  }
  awaitCopies<0>();
#pragma unroll
  for (unsigned e = 0; e < eights; ++e)
    for (unsigned i = 0; i < 4; ++i) {
      const std::size_t n = first + warp * 16 + g + 8 * (i / 2), m = e * 8 + 2 * t4 + i % 2;
      if (n < packed.outputs && m < rows) store(parts + (blockY() * rows + m) * packed.outputs + n, sums[e][i]);
    }
}

template <unsigned eights>
Outcome launchTiles(const PackedColumns& packed, const std::uint16_t* x, std::size_t rows, float* parts, Stream stream) {
  const bool aligned = packed.outputs % 4 == 0 && isAligned(packed.words, 16);
  const GridSize grid{static_cast<unsigned>(ceilDiv(packed.outputs, tileColumns)), static_cast<unsigned>(packed.runCount)};
  return launch(aligned ? multiplyTiles<eights, true> : multiplyTiles<eights, false>, grid, tileThreads,
                stages * stageBytes<eights>, stream, packed, x, rows, parts);
}

}  // namespace

std::size_t skinnyHalves(const PackedColumns& packed, std::size_t rows) {
  return tilesOfEight(rows) * 8 * packed.inputs();
}

Outcome launchSkinnyProduct(const PackedColumns& packed, const float* x, std::size_t rows, const float* bias,
                            std::uint16_t* halves, float* scratch, float* y, Stream stream) {
  if (rows == 0 || packed.outputs == 0) return {};
  if (rows > mostSkinnyRows || packed.runCount > largestGridY)
    return Outcome::failed(Fault::BadCall, "more rows or runs than a skinny product takes");
  if (!isAligned(halves, 16)) return Outcome::failed(Fault::BadCall, "scratch that is not aligned");
  const std::size_t eights = tilesOfEight(rows);
  Outcome outcome = launchHalves(x, rows, packed.inputs(), eights * 8, packed.inputs(), packed.order, halves, stream);
  if (!outcome.ok()) return outcome;
  outcome = eights == 1   ? launchTiles<1>(packed, halves, rows, scratch, stream)
            : eights == 2 ? launchTiles<2>(packed, halves, rows, scratch, stream)
            : eights == 4 ? launchTiles<4>(packed, halves, rows, scratch, stream)
                          : launchTiles<8>(packed, halves, rows, scratch, stream);
  if (!outcome.ok()) return outcome;
  return launchAddParts(scratch, packed.runCount, rows, packed.outputs, bias, nullptr, y, stream);
}

}  // namespace nibble::kernels::NIBBLE_CUDA_SPACE
