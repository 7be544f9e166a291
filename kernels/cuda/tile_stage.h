// SPDX-License-Identifier: GPL-3.0-or-later
// A tile of packed words on its way to the tensor cores: 64 columns of up to 8 word rows in shared memory, 72 words apart, so
// that eight columns of four word rows lie in different banks. And the codes taken out of it.
#pragma once
#include "kernels/cuda/columns.h"

namespace nibble::kernels::NIBBLE_CUDA_SPACE {

inline constexpr unsigned tileThreads = 128, tileColumns = 64, wordStride = 72;
inline constexpr std::size_t tileWordBytes = 8 * wordStride * sizeof(std::uint32_t);

// Starts copying the tile's words of columns [first, first + 64) to shared byte `offset`; columns beyond the last are 0.
// Called by the whole block.
template <bool aligned>
NIBBLE_DEVICE void stageWords(const PackedColumns& packed, const ColumnTile& tile, std::size_t first, std::size_t offset) {
  if constexpr (aligned) {
    const Shared<Quad<std::uint32_t>> quads(offset, 8 * wordStride / 4);
    for (unsigned i = threadIndex(); i < tile.v[2] * (tileColumns / 4); i += tileThreads) {
      const unsigned r = i / (tileColumns / 4), c = i % (tileColumns / 4);
      const std::size_t place = r * (wordStride / 4) + c;
      if (first + 4 * c < packed.outputs)
        quads.copyLater(place, reinterpret_cast<const Quad<std::uint32_t>*>(packed.words + (tile.v[0] + r) * packed.outputs +
                                                                            first + 4 * c));
      else
        quads.set(place, {{0, 0, 0, 0}});
    }
  } else {
    const Shared<std::uint32_t> words(offset, 8 * wordStride);
    for (unsigned i = threadIndex(); i < tile.v[2] * tileColumns; i += tileThreads) {
      const unsigned r = i / tileColumns, c = i % tileColumns;
      words.set(r * wordStride + c,
                first + c < packed.outputs ? loadOnce(packed.words + (tile.v[0] + r) * packed.outputs + first + c) : 0u);
    }
  }
}

// The bits of a column's stream from bit `bit` on.
NIBBLE_DEVICE std::uint32_t streamBits(const Shared<std::uint32_t>& words, unsigned bits, unsigned column, unsigned bit) {
  const unsigned low = bit / 32, high = low + 1 < bits ? low + 1 : low;
  return funnel(words.get(low * wordStride + column), words.get(high * wordStride + column), bit % 32);
}

}  // namespace nibble::kernels::NIBBLE_CUDA_SPACE
