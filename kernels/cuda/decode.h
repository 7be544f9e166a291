// SPDX-License-Identifier: GPL-3.0-or-later
// Packed codes to float32 weights, each step rounded, equal to the host's to the bit. Layouts, with bits = 1..8:
//   Dense        codes one after another, low bits first
//   HighNibble   bytes of two 4-bit codes, the first in the high nibble (bitsandbytes)
//   Words        32-bit words of floor(32 / bits) codes, the first in the highest used bits (document 000)
//   Interleaved  HQQ: with step = ceil(rows / slots) packed rows, slot k of packed row i holds row k step + i, slot 0 in the
//   high
//                bits; bits 8 4 2 1 in bytes, 3 in 32-bit words of ten
// Parameters: one scale, and zero or bias, for each group. All pointers are the device's.
#pragma once
#include "kernels/cuda/device.h"

namespace nibble::kernels::NIBBLE_CUDA_SPACE {

enum class Packing : std::uint8_t { Dense, HighNibble, Words };
enum class Spelling : std::uint8_t {
  ScaleMinusZero,  // scale * (code - zero)
  ScalePlusBias,   // scale * code + zero
  ScaleTable,      // scale * table[code]
};

struct ValueRuleOf {
  Spelling spelling = Spelling::ScaleMinusZero;
  const float* scale = nullptr;
  const float* zero = nullptr;
  const float* table = nullptr;  // ScaleTable: tableSize entries, at most 256
  unsigned tableSize = 0;
};

// Groups of `groupSize` neighbouring weights. `byteCount` bytes hold the codes.
Outcome launchDecode(Packing packing, int bits, const std::uint8_t* bytes, std::size_t byteCount, std::size_t count,
                     std::size_t groupSize, const ValueRuleOf& rule, float* out, Stream stream);

// A [rows, columns] matrix packed along its rows; a parameter for each row, or for each column.
Outcome launchDecodeInterleaved(int bits, const std::uint8_t* bytes, std::size_t rows, std::size_t columns,
                                bool parameterEachRow, const ValueRuleOf& rule, float* out, Stream stream);

}  // namespace nibble::kernels::NIBBLE_CUDA_SPACE
