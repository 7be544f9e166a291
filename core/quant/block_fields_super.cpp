// SPDX-License-Identifier: GPL-3.0-or-later
// Super-blocks of 256 weights whose sub-blocks have small integer scales s (and minima m) times the block's d (and dmin).
//   Q2_K   d s q - dmin m, 16 sub-blocks      Q4_K Q5_K   d s q - dmin m, 8 sub-blocks
//   Q3_K   d (s - 32) (q - 4), 16             Q6_K        d s (q - 32), 16, s a signed byte
//   IQ4_XS d (s - 32) table[q], 8
// A minimum is subtracted in the file and added in the model: its levels are the negative integers.
#include "core/quant/block_fields.h"

namespace nibble::blocks {
namespace {

// Two bits a weight in 64 bytes from `byte` on: 32 bytes hold 128 weights, the first 32 in their low bits.
BitPieces twoBits(std::uint64_t byte, std::uint32_t i) {
  return bitsAt(byte + i / 128 * 32 + i % 32, i % 128 / 32 * 2, 2);
}

// Four bits a weight in 128 bytes: 32 bytes hold 64 weights.
BitPieces fourBits(std::uint64_t byte, std::uint32_t i) {
  return bitsAt(byte + i / 64 * 32 + i % 32, i % 64 / 32 * 4, 4);
}

// The 6-bit scales (or minima) of Q4_K and Q5_K in 12 bytes from byte 4 on.
BitField sixBits(bool minimum) {
  return {8, 6, [minimum](std::uint32_t i) {
            const std::uint64_t own = minimum ? 8 + i % 4 : 4 + i % 4;
            if (i < 4) return bitsAt(own, 0, 6);
            return join(bitsAt(12 + i % 4, minimum ? 4 : 0, 4), bitsAt(own, 6, 2, 4));
          }};
}

Levels negatives(int count) {
  std::vector<float> table;
  for (int i = 0; i < count; ++i) table.push_back(-static_cast<float>(i));  // the first is -0: a minimum of 0 adds nothing
  return Levels::fixedTable(std::move(table));
}

BlockFields base(BlockType type, std::string_view name, BitField codes) {
  BlockFields fields;
  fields.type = type;
  fields.name = name;
  fields.codes = std::move(codes);
  return fields;
}

BlockFields q2k() {
  BlockFields fields = base(BlockType::Q2_K, "Q2_K", {256, 2, [](std::uint32_t i) { return twoBits(16, i); }});
  fields.rule = ValueRule::ScalePlusBias;
  fields.scale = nestedNumbers(halfAt(80), {16, 4, [](std::uint32_t i) { return bitsAt(i, 0, 4); }}, Levels::identity());
  fields.zero = nestedNumbers(halfAt(82), {16, 4, [](std::uint32_t i) { return bitsAt(i, 4, 4); }}, negatives(16));
  return fields;
}

BlockFields q3k() {
  const auto code = [](std::uint32_t i) { return join(twoBits(32, i), bitsAt(i % 32, i / 32, 1, 2)); };
  const auto scale = [](std::uint32_t i) {
    return join(bitsAt(96 + i % 8, i / 8 * 4, 4), bitsAt(104 + i % 4, i / 4 * 2, 2, 4));
  };
  BlockFields fields = base(BlockType::Q3_K, "Q3_K", {256, 3, code});
  fields.rule = ValueRule::ScaleMinusZero;
  fields.scale = nestedNumbers(halfAt(108), {16, 6, scale}, Levels::identity(), 32.0f);
  fields.zero = impliedNumber(4);
  return fields;
}

BlockFields withSixBits(BlockType type, std::string_view name, BitField codes) {
  BlockFields fields = base(type, name, std::move(codes));
  fields.rule = ValueRule::ScalePlusBias;
  fields.scale = nestedNumbers(halfAt(0), sixBits(false), Levels::identity());
  fields.zero = nestedNumbers(halfAt(2), sixBits(true), negatives(64));
  return fields;
}

BlockFields q5k() {
  const auto code = [](std::uint32_t i) { return join(fourBits(48, i), bitsAt(16 + i % 32, i / 32, 1, 4)); };
  return withSixBits(BlockType::Q5_K, "Q5_K", {256, 5, code});
}

BlockFields q6k() {
  const auto code = [](std::uint32_t i) {
    const std::uint32_t half = i / 128, quarter = i % 128 / 32, place = i % 32;
    return join(bitsAt(half * 64 + place + quarter % 2 * 32, quarter / 2 * 4, 4),
                bitsAt(128 + half * 32 + place, 2 * quarter, 2, 4));
  };
  const auto scale = [](std::uint32_t i) { return join(bitsAt(192 + i, 0, 7), bitsAt(192 + i, 7, 1, 7, true)); };
  BlockFields fields = base(BlockType::Q6_K, "Q6_K", {256, 6, code});
  fields.rule = ValueRule::ScaleMinusZero;
  fields.scale = nestedNumbers(halfAt(208), {16, 8, scale}, Levels::identity(), 128.0f);
  fields.zero = impliedNumber(32);
  return fields;
}

BlockFields iq4xs() {
  const auto code = [](std::uint32_t i) { return bitsAt(8 + i / 32 * 16 + i % 16, i % 32 / 16 * 4, 4); };
  const auto scale = [](std::uint32_t i) { return join(bitsAt(4 + i / 2, i % 2 * 4, 4), bitsAt(2, 2 * i, 2, 4)); };
  BlockFields fields = base(BlockType::IQ4_XS, "IQ4_XS", {256, 4, code});
  fields.levels = Levels::fixedTable({-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113});
  fields.scale = nestedNumbers(halfAt(0), {8, 6, scale}, Levels::identity(), 32.0f);
  return fields;
}

}  // namespace

std::vector<BlockFields> superFields() {
  BitField nibbles{256, 4, [](std::uint32_t i) { return fourBits(16, i); }};
  return {q2k(), q3k(), withSixBits(BlockType::Q4_K, "Q4_K", std::move(nibbles)), q5k(), q6k(), iq4xs()};
}

}  // namespace nibble::blocks
