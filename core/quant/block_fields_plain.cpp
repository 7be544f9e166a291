// SPDX-License-Identifier: GPL-3.0-or-later
// Blocks with numbers of their own and no sub-blocks.
//   Q4_0 Q5_0 Q8_0   d * (q - 8 | 16 | 128)         Q4_1 Q5_1   d * q + m
//   Q1_0             d * {-1, 1}[q]                 Q2_0 TQ1_0 TQ2_0   d * (q - 1)
//   IQ4_NL MXFP4     d * table[q]                   NVFP4       one E4M3 scale for 16 weights
// Halves of nibbles: the low ones hold the first half of the (sub-)block's weights, the high ones the second.
#include "core/quant/block_fields.h"

namespace nibble::blocks {
namespace {

// Nibbles of `count` weights from `byte` on.
BitField nibbles(std::uint64_t byte, std::uint32_t count) {
  return {count, 4, [=](std::uint32_t i) { return bitsAt(byte + i % (count / 2), i / (count / 2) * 4, 4); }};
}

// The same with the fifth bits of 32 weights at `fifth`.
BitField fiveBits(std::uint64_t byte, std::uint64_t fifth) {
  return {32, 5, [=](std::uint32_t i) { return join(bitsAt(byte + i % 16, i / 16 * 4, 4), bitsAt(fifth, i, 1, 4)); }};
}

// Bytes in two's complement, counted from -128.
BitField signedBytes(std::uint64_t byte, std::uint32_t count) {
  return {count, 8, [=](std::uint32_t i) { return join(bitsAt(byte + i, 0, 7), bitsAt(byte + i, 7, 1, 7, true)); }};
}

// E2M1 in OCP's units; ggml's negative zero is a plain one.
Levels fourBitFloats() {
  return Levels::fixedTable({0, 0.5f, 1, 1.5f, 2, 3, 4, 6, 0, -0.5f, -1, -1.5f, -2, -3, -4, -6});
}

Levels nonlinear() {
  return Levels::fixedTable({-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113});
}

Levels ternary() {
  Levels levels;
  levels.levelCount = 3;
  return levels;
}

BlockFields offset(BlockType type, std::string_view name, BitField codes, std::uint64_t scaleAt, float zero) {
  BlockFields fields;
  fields.type = type;
  fields.name = name;
  fields.codes = std::move(codes);
  fields.rule = ValueRule::ScaleMinusZero;
  fields.scale = plainNumbers(halfAt(scaleAt));
  fields.zero = impliedNumber(zero);
  return fields;
}

BlockFields withMinimum(BlockType type, std::string_view name, BitField codes) {
  BlockFields fields = offset(type, name, std::move(codes), 0, 0);
  fields.rule = ValueRule::ScalePlusBias;
  fields.zero = plainNumbers(halfAt(2));
  return fields;
}

BlockFields table(BlockType type, std::string_view name, BitField codes, Levels levels, ParameterField scale) {
  BlockFields fields;
  fields.type = type;
  fields.name = name;
  fields.codes = std::move(codes);
  fields.levels = std::move(levels);
  fields.scale = std::move(scale);
  return fields;
}

BlockFields ternaryTypes(BlockType type) {
  if (type == BlockType::TQ2_0) {
    const auto place = [](std::uint32_t i) { return bitsAt(i / 128 * 32 + i % 32, i % 128 / 32 * 2, 2); };
    BlockFields fields = offset(type, "TQ2_0", {256, 2, place}, 64, 1);
    fields.levels = ternary();
    return fields;
  }
  // Three runs of bytes hold digit 0 of their first weights, then digit 1 of the next ...
  const auto place = [](std::uint32_t i) {
    return bitsAt(i < 160 ? i % 32 : i < 240 ? 32 + (i - 160) % 16 : 48 + (i - 240) % 4, 0, 8);
  };
  BlockFields fields = offset(type, "TQ1_0", {256, 8, place}, 52, 1);
  fields.levels = ternary();
  fields.trits = true;
  return fields;
}

}  // namespace

std::vector<BlockFields> plainFields() {
  const BitField sign{128, 1, [](std::uint32_t i) { return bitsAt(2, i, 1); }};
  const BitField twoBits{64, 2, [](std::uint32_t i) { return bitsAt(2, 2 * i, 2); }};
  const BitField exponent{1, 8, [](std::uint32_t) { return bitsAt(0, 0, 8); }};
  const BitField scales{4, 8, [](std::uint32_t i) { return bitsAt(i, 0, 8); }};
  const BitField nvfp4{64, 4, [](std::uint32_t i) { return bitsAt(4 + i / 16 * 8 + i % 8, i % 16 / 8 * 4, 4); }};
  return {
      offset(BlockType::Q4_0, "Q4_0", nibbles(2, 32), 0, 8),
      withMinimum(BlockType::Q4_1, "Q4_1", nibbles(4, 32)),
      offset(BlockType::Q5_0, "Q5_0", fiveBits(6, 2), 0, 16),
      withMinimum(BlockType::Q5_1, "Q5_1", fiveBits(8, 4)),
      offset(BlockType::Q8_0, "Q8_0", signedBytes(2, 32), 0, 128),
      table(BlockType::IQ4_NL, "IQ4_NL", nibbles(2, 32), nonlinear(), plainNumbers(halfAt(0))),
      ternaryTypes(BlockType::TQ1_0),
      ternaryTypes(BlockType::TQ2_0),
      table(BlockType::MXFP4, "MXFP4", nibbles(1, 32), fourBitFloats(), plainNumbers(exponent, Stored::F8E8M0)),
      table(BlockType::NVFP4, "NVFP4", nvfp4, fourBitFloats(), plainNumbers(scales, Stored::F8E4M3)),
      table(BlockType::Q1_0, "Q1_0", sign, Levels::fixedTable({-1, 1}), plainNumbers(halfAt(0))),
      offset(BlockType::Q2_0, "Q2_0", twoBits, 0, 1),
  };
}

}  // namespace nibble::blocks
