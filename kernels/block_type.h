// SPDX-License-Identifier: GPL-3.0-or-later
// The block types of GGUF: which they are, how many weights a block holds and how many bytes it takes. A matrix is stored row by
// row, each row as whole blocks. The numbers of the types are those of the file format.
// Source: ggml 0.25.3 (MIT), ggml.h and ggml-common.h.
#pragma once
#include <cstddef>
#include <cstdint>

namespace nibble::kernels {

enum class BlockType : std::uint8_t {
  Q4_0 = 2,
  Q4_1 = 3,
  Q5_0 = 6,
  Q5_1 = 7,
  Q8_0 = 8,
  Q2_K = 10,
  Q3_K = 11,
  Q4_K = 12,
  Q5_K = 13,
  Q6_K = 14,
  IQ2_XXS = 16,
  IQ2_XS = 17,
  IQ3_XXS = 18,
  IQ1_S = 19,
  IQ4_NL = 20,
  IQ3_S = 21,
  IQ2_S = 22,
  IQ4_XS = 23,
  IQ1_M = 29,
  TQ1_0 = 34,
  TQ2_0 = 35,
  MXFP4 = 39,
  NVFP4 = 40,
  Q1_0 = 41,
  Q2_0 = 42,
};

struct BlockShape {
  std::size_t weights = 0, bytes = 0;
};

constexpr BlockShape blockShape(BlockType type) {
  switch (type) {
    case BlockType::Q4_0: return {32, 18};       // d, 16 bytes of nibbles
    case BlockType::Q4_1: return {32, 20};       // d, m, nibbles
    case BlockType::Q5_0: return {32, 22};       // d, 4 bytes of fifth bits, nibbles
    case BlockType::Q5_1: return {32, 24};       // d, m, fifth bits, nibbles
    case BlockType::Q8_0: return {32, 34};       // d, 32 signed bytes
    case BlockType::Q2_K: return {256, 84};      // 16 scale and minimum nibbles, 64 bytes of codes, d, dmin
    case BlockType::Q3_K: return {256, 110};     // 32 bytes of third bits, 64 of low bits, 12 of scales, d
    case BlockType::Q4_K: return {256, 144};     // d, dmin, 12 bytes of scales and minima, 128 of nibbles
    case BlockType::Q5_K: return {256, 176};     // d, dmin, 12 of scales and minima, 32 of fifth bits, 128 of nibbles
    case BlockType::Q6_K: return {256, 210};     // 128 bytes of low nibbles, 64 of high bits, 16 scales, d
    case BlockType::IQ2_XXS: return {256, 66};
    case BlockType::IQ2_XS: return {256, 74};
    case BlockType::IQ3_XXS: return {256, 98};
    case BlockType::IQ1_S: return {256, 50};
    case BlockType::IQ4_NL: return {32, 18};     // d, nibbles
    case BlockType::IQ3_S: return {256, 110};
    case BlockType::IQ2_S: return {256, 82};
    case BlockType::IQ4_XS: return {256, 136};   // d, 2 bytes of high scale bits, 4 of low, 128 of nibbles
    case BlockType::IQ1_M: return {256, 56};
    case BlockType::TQ1_0: return {256, 54};     // 48 bytes of five trits, 4 of four, d
    case BlockType::TQ2_0: return {256, 66};     // 64 bytes of four codes, d
    case BlockType::MXFP4: return {32, 17};      // exponent, nibbles
    case BlockType::NVFP4: return {64, 36};      // 4 scales, nibbles
    case BlockType::Q1_0: return {128, 18};      // d, 16 bytes of signs
    case BlockType::Q2_0: return {64, 18};       // d, 16 bytes of four codes
  }
  return {};
}

}  // namespace nibble::kernels
