// SPDX-License-Identifier: GPL-3.0-or-later
// Tiling. dx^T = w dy^T on tensor cores: 16 inputs (stored rows) are a tile's rows, 8 rows of dy its columns, 16 outputs its
// depth. A block takes one tile of 32 inputs and a share of the outputs, 64 at a time, 16 a warp:
//
//     stage s   words [bits x 64 columns] | dy [rows x 64 outputs, 72 halves apart] | 64 scales, 64 zeros
//                                                                                        copied asynchronously, 3 deep
//     warp w    outputs 16 w ..: codes -> halves (a), dy (b):  2 x rows / 8 tile products each stage
//     sums      32 inputs x rows a warp -> shared memory -> warps in order -> parts[share, row, input] -> addParts, by `order`
//
// Bytes: bits / 8 for each weight, once; scales and zeros once for each tile; dy (2 bytes) once for each tile, second cache.
// dy is rounded to halves.
//
// bound multiplyBack registers 160 shared 36864
#include "kernels/cuda/column_sums.h"
#include "kernels/cuda/tile_stage.h"

#include <algorithm>

namespace nibble::kernels::NIBBLE_CUDA_SPACE {
namespace {

constexpr unsigned stages = 3, gradientStride = 72;  // halves between rows of dy: 36 words, eight rows in different banks
constexpr std::size_t mostShares = 8;

template <unsigned eights>
inline constexpr std::size_t parametersAt = tileWordBytes + eights * 8 * gradientStride * sizeof(std::uint16_t);
template <unsigned eights>
inline constexpr std::size_t stageBytes = parametersAt<eights> + 2 * tileColumns * sizeof(std::uint16_t);
// The sums of four warps, [warp][row][input], rows 36 floats apart so that a fragment's lanes lie in different banks.
constexpr unsigned sumStride = 36;
template <unsigned eights>
inline constexpr std::size_t sumBytes = 4 * eights * 8 * sumStride * sizeof(float);
template <unsigned eights>
inline constexpr std::size_t sharedBytes =
    stages* stageBytes<eights> > sumBytes<eights> ? stages* stageBytes<eights> : sumBytes<eights>;

std::size_t paddedOutputs(const PackedColumns& packed) {
  return ceilDiv(packed.outputs, tileColumns) * tileColumns;
}
// Into how many shares the outputs are cut: a function of the shape alone.
std::size_t sharesOf(const PackedColumns& packed) {
  const std::size_t chunks = ceilDiv(packed.outputs, tileColumns);
  return std::clamp<std::size_t>(ceilDiv(512, std::max<std::size_t>(1, packed.tileCount)), 1, std::min(mostShares, chunks));
}

// Scales and zeros of 64 columns; 0 beyond the last one.
template <bool aligned>
NIBBLE_DEVICE void stageParameters(const PackedColumns& packed, const ColumnTile& tile, std::size_t first, std::size_t offset) {
  constexpr unsigned width = aligned ? 8 : 1, each = tileColumns / width;
  if (threadIndex() >= 2 * each) return;
  const std::size_t n = first + threadIndex() % each * width;
  const std::uint16_t* from = (threadIndex() < each ? packed.scales : packed.zeros) + tile.v[1] * packed.outputs + n;
  if constexpr (aligned) {
    const Shared<Quad<std::uint32_t>> parameters(offset, 2 * each);
    if (n < packed.outputs)
      parameters.copyLater(threadIndex(), reinterpret_cast<const Quad<std::uint32_t>*>(from));
    else
      parameters.set(threadIndex(), {{0, 0, 0, 0}});
  } else {
    Shared<std::uint16_t>(offset, 2 * each).set(threadIndex(), n < packed.outputs ? load(from) : std::uint16_t{0});
  }
}

template <unsigned eights, bool aligned>
NIBBLE_DEVICE void stageChunk(const PackedColumns& packed, const ColumnTile& tile, const std::uint16_t* dy,
                              std::size_t paddedColumns, std::size_t begin, std::size_t chunk, std::size_t end) {
  if (chunk < end) {
    const std::size_t offset = (chunk - begin) % stages * stageBytes<eights>;
    stageWords<aligned>(packed, tile, chunk * tileColumns, offset);
    stageParameters<aligned>(packed, tile, chunk * tileColumns, offset + parametersAt<eights>);
    const Shared<Quad<std::uint32_t>> gradients(offset + tileWordBytes, eights * 8 * gradientStride / 8);
    for (unsigned i = threadIndex(); i < eights * 8 * 8; i += tileThreads)
      gradients.copyLater(
          i / 8 * (gradientStride / 8) + i % 8,
          reinterpret_cast<const Quad<std::uint32_t>*>(dy + (i / 8) * paddedColumns + chunk * tileColumns) + i % 8);
  }
  closeCopies();
}

// Code (k, column) and (k, column + 1) as halves.
NIBBLE_DEVICE std::uint32_t weightPair(const Shared<Pair<std::uint32_t>>& words, unsigned bits, unsigned column, unsigned k,
                                       std::uint32_t scales, std::uint32_t zeros) {
  const unsigned bit = k * bits, low = bit / 32, high = low + 1 < bits ? low + 1 : low, mask = (1u << bits) - 1;
  const Pair<std::uint32_t> from = words.get((low * wordStride + column) / 2), to = words.get((high * wordStride + column) / 2);
  return fusedHalves(scales, funnel(from.v[0], to.v[0], bit % 32) & mask, funnel(from.v[1], to.v[1], bit % 32) & mask, zeros);
}

template <unsigned eights>
NIBBLE_DEVICE void storeSums(const float (&sums)[2][eights][4], std::size_t tile, std::size_t inputs, std::size_t rows,
                             float* parts) {
  const unsigned lane = threadIndex() % 32, warp = threadIndex() / 32, g = lane / 4, t4 = lane % 4;
  const Shared<float> all(0, 4 * eights * 8 * sumStride);
#pragma unroll
  for (unsigned half = 0; half < 2; ++half)
    for (unsigned e = 0; e < eights; ++e)
      for (unsigned i = 0; i < 4; ++i)  // input half * 16 + g + 8 (i / 2), row 2 t4 + i % 2
        all.set(((warp * eights + e) * 8 + 2 * t4 + i % 2) * sumStride + half * 16 + g + 8 * (i / 2), sums[half][e][i]);
  syncThreads();
  for (unsigned i = threadIndex(); i < eights * 8 * 32; i += tileThreads) {
    const unsigned m = i / 32, k = i % 32;
    if (m >= rows) continue;
    float sum = 0;
    for (unsigned w = 0; w < 4; ++w) sum += all.get((w * eights * 8 + m) * sumStride + k);
    store(parts + (blockY() * rows + m) * inputs + tile * 32 + k, sum);
  }
}

template <unsigned eights, bool aligned>
NIBBLE_KERNEL NIBBLE_THREADS(128)
    multiplyBack(PackedColumns packed, const std::uint16_t* dy, std::size_t rows, std::size_t paddedColumns, float* parts) {
  const unsigned lane = threadIndex() % 32, warp = threadIndex() / 32, g = lane / 4, t4 = lane % 4;
  const ColumnTile tile = load(packed.tiles + blockX());
  const std::size_t chunks = paddedColumns / tileColumns, begin = chunks * blockY() / gridY(),
                    end = chunks * (blockY() + 1) / gridY();
  float sums[2][eights][4] = {};
  for (unsigned s = 0; s + 1 < stages; ++s) stageChunk<eights, aligned>(packed, tile, dy, paddedColumns, begin, begin + s, end);
  for (std::size_t chunk = begin; chunk < end; ++chunk) {
    awaitCopies<stages - 2>();
    syncThreads();
    stageChunk<eights, aligned>(packed, tile, dy, paddedColumns, begin, chunk + stages - 1, end);
    const std::size_t offset = (chunk - begin) % stages * stageBytes<eights>;
    const Shared<Pair<std::uint32_t>> words(offset, 8 * wordStride / 2);
    const Shared<std::uint32_t> gradients(offset + tileWordBytes, eights * 8 * gradientStride / 2);
    const Shared<std::uint32_t> parameters(offset + parametersAt<eights>, tileColumns);
    const unsigned column = warp * 16 + 2 * t4;  // of the chunk: this lane's pairs are here and 8 further
    std::uint32_t scales[2], zeros[2];
    for (unsigned c = 0; c < 2; ++c) {
      scales[c] = parameters.get(column / 2 + 4 * c);
      zeros[c] = parameters.get(tileColumns / 2 + column / 2 + 4 * c);
    }
#pragma unroll
    for (unsigned half = 0; half < 2; ++half) {
      std::uint32_t a[4];
#pragma unroll
      for (unsigned i = 0; i < 4; ++i)
        a[i] = weightPair(words, tile.v[2], column + 8 * (i / 2), half * 16 + g + 8 * (i % 2), scales[i / 2], zeros[i / 2]);
#pragma unroll
      for (unsigned e = 0; e < eights; ++e) {
        const unsigned place = (e * 8 + g) * (gradientStride / 2) + column / 2;
        const std::uint32_t b[2] = {gradients.get(place), gradients.get(place + 4)};
        multiplyTile(sums[half][e], a, b);
      }
    }
  }
  awaitCopies<0>();
  syncThreads();
  storeSums<eights>(sums, blockX(), packed.inputs(), rows, parts);
}

template <unsigned eights>
Outcome launchBack(const PackedColumns& packed, const std::uint16_t* dy, std::size_t rows, float* parts, Stream stream) {
  const bool aligned =
      packed.outputs % 8 == 0 && isAligned(packed.words, 16) && isAligned(packed.scales, 16) && isAligned(packed.zeros, 16);
  const GridSize grid{static_cast<unsigned>(packed.tileCount), static_cast<unsigned>(sharesOf(packed))};
  return launch(aligned ? multiplyBack<eights, true> : multiplyBack<eights, false>, grid, tileThreads, sharedBytes<eights>,
                stream, packed, dy, rows, paddedOutputs(packed), parts);
}

}  // namespace

std::size_t backwardHalves(const PackedColumns& packed, std::size_t rows) {
  return tilesOfEight(rows) * 8 * paddedOutputs(packed);
}
std::size_t backwardScratch(const PackedColumns& packed, std::size_t rows) {
  return sharesOf(packed) * rows * packed.inputs();
}

Outcome launchBackwardProduct(const PackedColumns& packed, const float* dy, std::size_t rows, std::uint16_t* halves,
                              float* scratch, float* dx, Stream stream) {
  if (rows == 0 || packed.tileCount == 0) return {};
  if (rows > mostSkinnyRows) return Outcome::failed(Fault::BadCall, "more rows than a backward product takes");
  if (!isAligned(halves, 16)) return Outcome::failed(Fault::BadCall, "scratch that is not aligned");
  const std::size_t eights = tilesOfEight(rows);
  Outcome outcome = launchHalves(dy, rows, packed.outputs, eights * 8, paddedOutputs(packed), nullptr, halves, stream);
  if (!outcome.ok()) return outcome;
  outcome = eights == 1   ? launchBack<1>(packed, halves, rows, scratch, stream)
            : eights == 2 ? launchBack<2>(packed, halves, rows, scratch, stream)
            : eights == 4 ? launchBack<4>(packed, halves, rows, scratch, stream)
                          : launchBack<8>(packed, halves, rows, scratch, stream);
  if (!outcome.ok()) return outcome;
  return launchAddParts(scratch, sharesOf(packed), rows, packed.inputs(), nullptr, packed.order, dx, stream);
}

}  // namespace nibble::kernels::NIBBLE_CUDA_SPACE
