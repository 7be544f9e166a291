// SPDX-License-Identifier: GPL-3.0-or-later
// One block of any GGUF type that has a quantizer here, by the headers beside this one.
#pragma once
#include "kernels/block_type.h"
#include "kernels/math/blocks_iq4.h"
#include "kernels/math/blocks_k.h"
#include "kernels/math/blocks_legacy.h"
#include "kernels/math/blocks_ternary.h"

namespace nibble::kernels {

using BlockEncoder = void (*)(const BlockInput& in, std::uint8_t* out);

// Null: no quantizer (iq1 .. iq3 and the 4-bit floats).
inline BlockEncoder blockEncoder(BlockType type) {
  switch (type) {
    case BlockType::Q4_0: return encodeSymmetric<4>;
    case BlockType::Q5_0: return encodeSymmetric<5>;
    case BlockType::Q4_1: return encodeWithMinimum<4>;
    case BlockType::Q5_1: return encodeWithMinimum<5>;
    case BlockType::Q8_0: return encodeQ8_0;
    case BlockType::Q2_K: return [](const BlockInput& in, std::uint8_t* out) { encodeWithMinima(kindQ2_K, in, out); };
    case BlockType::Q3_K: return encodeQ3_K;
    case BlockType::Q4_K: return [](const BlockInput& in, std::uint8_t* out) { encodeWithMinima(kindQ4_K, in, out); };
    case BlockType::Q5_K: return [](const BlockInput& in, std::uint8_t* out) { encodeWithMinima(kindQ5_K, in, out); };
    case BlockType::Q6_K: return encodeQ6_K;
    case BlockType::IQ4_NL: return encodeIQ4_NL;
    case BlockType::IQ4_XS: return encodeIQ4_XS;
    case BlockType::TQ1_0: return encodeTQ1_0;
    case BlockType::TQ2_0: return encodeTQ2_0;
    case BlockType::Q1_0: return encodeQ1_0;
    case BlockType::Q2_0: return encodeQ2_0;
    default: return nullptr;
  }
}

// Whether the type's quantizer looks at importance weights.
constexpr bool usesImportance(BlockType type) {
  switch (type) {
    case BlockType::Q8_0:
    case BlockType::TQ1_0:
    case BlockType::TQ2_0:
    case BlockType::Q1_0:
    case BlockType::Q2_0: return false;
    default: return true;
  }
}

// Whether importance is weighed against the mean square of the block's row (the legacy types), not of the block.
constexpr bool usesRowMeanSquare(BlockType type) {
  return type == BlockType::Q4_0 || type == BlockType::Q4_1 || type == BlockType::Q5_0 || type == BlockType::Q5_1;
}

// A matrix whose rows are cut into blocks. `importance` has one number per column, or is null.
struct BlockMatrix {
  BlockType type;
  const float* weights;
  std::size_t columns;
  const float* importance;
  [[nodiscard]] BlockShape shape() const { return blockShape(type); }
  [[nodiscard]] std::size_t blocksPerRow() const { return columns / shape().weights; }
  [[nodiscard]] const float* importanceOf(std::size_t block) const {
    if (importance == nullptr || !usesImportance(type)) return nullptr;
    return importance + block % blocksPerRow() * shape().weights;
  }
};

// Blocks [begin, end), counted row by row; `out` is where block 0 lies.
inline void encodeBlockRange(const BlockMatrix& matrix, std::size_t begin, std::size_t end, std::uint8_t* out) {
  const BlockShape shape = matrix.shape();
  const BlockEncoder encode = blockEncoder(matrix.type);
  const std::size_t perRow = matrix.blocksPerRow();
  const bool squares = matrix.importance != nullptr && usesRowMeanSquare(matrix.type);
  float square = 0;
  for (std::size_t block = begin; block < end; ++block) {
    if (squares && (block == begin || block % perRow == 0))
      square = meanSquare(matrix.weights + block / perRow * matrix.columns, matrix.columns);
    encode({matrix.weights + block * shape.weights, matrix.importanceOf(block), square}, out + block * shape.bytes);
  }
}

}  // namespace nibble::kernels
