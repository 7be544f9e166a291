// SPDX-License-Identifier: GPL-3.0-or-later
// Super-blocks of 256 weights whose codes stand for vectors of weights (kernels/math/vector_tables.h).
//   IQ2_XXS IQ2_XS IQ2_S   d (s + 1/2) / 4 * +-vector[q], eight weights a code
//   IQ3_XXS                d (s + 1/2) / 2 * +-vector[q], four        IQ3_S   d (2 s + 1) * +-vector[q], four
//   IQ1_S IQ1_M            d (2 s + 1) (vector[q] +- 1/8), eight
#include "core/quant/block_fields.h"
#include "kernels/math/vector_tables.h"

namespace nibble::blocks {
namespace {

Levels vectors(const kernels::VectorTable& table) {
  Levels levels;
  levels.kind = Levels::Kind::Table;
  levels.levelCount = static_cast<std::uint32_t>(table.entries.size());
  levels.dimension = static_cast<std::uint32_t>(table.dimension);
  for (std::size_t entry = 0; entry < table.entries.size(); ++entry)
    for (int i = 0; i < table.dimension; ++i) levels.table.push_back(static_cast<float>(table.at(entry, i)));
  return levels;
}

// factor * (s + 1/2) for every s of `bits`.
Levels halfSteps(int bits, float factor) {
  std::vector<float> table;
  for (int s = 0; s < 1 << bits; ++s) table.push_back((static_cast<float>(s) + 0.5f) * factor);
  return Levels::fixedTable(std::move(table));
}

BlockFields base(BlockType type, std::string_view name, const kernels::VectorTable& table, BitField codes) {
  BlockFields fields;
  fields.type = type;
  fields.name = name;
  fields.levels = vectors(table);
  fields.codes = std::move(codes);
  return fields;
}

// Words of 32 bits from `byte` on, each `stride` bytes after the last: four times seven sign bits, then a 4-bit scale.
BitField sevenSigns(std::uint64_t byte, std::uint64_t stride) {
  return {32, 7, [=](std::uint32_t i) { return bitsAt(byte + i / 4 * stride, 7 * (i % 4), 7); }};
}
BitField topScales(std::uint64_t byte, std::uint64_t stride) {
  return {8, 4, [=](std::uint32_t i) { return bitsAt(byte + i * stride, 28, 4); }};
}
BitField signBytes(std::uint64_t byte) {
  return {32, 8, [=](std::uint32_t i) { return bitsAt(byte + i, 0, 8); }};
}
BitField scaleNibbles(std::uint64_t byte, std::uint32_t count) {
  return {count, 4, [=](std::uint32_t i) { return bitsAt(byte + i / 2, i % 2 * 4, 4); }};
}

BlockFields iq2xxs() {
  const auto code = [](std::uint32_t i) { return bitsAt(2 + i / 4 * 8 + i % 4, 0, 8); };
  BlockFields fields = base(BlockType::IQ2_XXS, "IQ2_XXS", kernels::iq2xxsVectors(), {32, 8, code});
  fields.signs = sevenSigns(6, 8);
  fields.scale = nestedNumbers(halfAt(0), topScales(6, 8), halfSteps(4, 0.25f));
  return fields;
}

BlockFields iq2xs() {
  const auto code = [](std::uint32_t i) { return bitsAt(2 + 2 * i, 0, 9); };
  BlockFields fields = base(BlockType::IQ2_XS, "IQ2_XS", kernels::iq2xsVectors(), {32, 9, code});
  fields.signs = {32, 7, [](std::uint32_t i) { return bitsAt(2 + 2 * i, 9, 7); }};
  fields.scale = nestedNumbers(halfAt(0), scaleNibbles(66, 16), halfSteps(4, 0.25f));
  return fields;
}

BlockFields iq2s() {
  const auto code = [](std::uint32_t i) { return join(bitsAt(2 + i, 0, 8), bitsAt(66 + i / 4, 2 * (i % 4), 2, 8)); };
  BlockFields fields = base(BlockType::IQ2_S, "IQ2_S", kernels::iq2sVectors(), {32, 10, code});
  fields.signs = signBytes(34);
  fields.scale = nestedNumbers(halfAt(0), scaleNibbles(74, 16), halfSteps(4, 0.25f));
  return fields;
}

BlockFields iq3xxs() {
  const auto code = [](std::uint32_t i) { return bitsAt(2 + i, 0, 8); };
  BlockFields fields = base(BlockType::IQ3_XXS, "IQ3_XXS", kernels::iq3xxsVectors(), {64, 8, code});
  fields.signs = sevenSigns(66, 4);
  fields.scale = nestedNumbers(halfAt(0), topScales(66, 4), halfSteps(4, 0.5f));
  return fields;
}

BlockFields iq3s() {
  const auto code = [](std::uint32_t i) { return join(bitsAt(2 + i, 0, 8), bitsAt(66 + i / 8, i % 8, 1, 8)); };
  BlockFields fields = base(BlockType::IQ3_S, "IQ3_S", kernels::iq3sVectors(), {64, 9, code});
  fields.signs = signBytes(74);
  fields.scale = nestedNumbers(halfAt(0), scaleNibbles(106, 8), halfSteps(4, 2));
  return fields;
}

// What is subtracted from the vector: the sign bit set means -1/8 is added.
Levels eighths() { return Levels::fixedTable({-0.125f, 0.125f}); }

BlockFields iq1s() {
  const auto code = [](std::uint32_t i) { return join(bitsAt(2 + i, 0, 8), bitsAt(34 + i / 4 * 2, 3 * (i % 4), 3, 8)); };
  BlockFields fields = base(BlockType::IQ1_S, "IQ1_S", kernels::iq1Vectors(), {32, 11, code});
  fields.rule = ValueRule::ScaleMinusZero;
  fields.scale = nestedNumbers(halfAt(0), {8, 3, [](std::uint32_t i) { return bitsAt(34 + 2 * i, 12, 3); }}, halfSteps(3, 2));
  fields.zero = nestedNumbers({}, {8, 1, [](std::uint32_t i) { return bitsAt(34 + 2 * i, 15, 1); }}, eighths());
  return fields;
}

// The four words of scales keep a nibble of d in their high bits.
BlockFields iq1m() {
  const auto code = [](std::uint32_t i) { return join(bitsAt(i, 0, 8), bitsAt(32 + i / 2, i % 2 * 4, 3, 8)); };
  const BitField number{1, 16, [](std::uint32_t) {
                          return BitPieces{{48 * 8 + 12, 4, 0}, {50 * 8 + 12, 4, 4}, {52 * 8 + 12, 4, 8}, {54 * 8 + 12, 4, 12}};
                        }};
  BlockFields fields = base(BlockType::IQ1_M, "IQ1_M", kernels::iq1Vectors(), {32, 11, code});
  fields.rule = ValueRule::ScaleMinusZero;
  fields.scale =
      nestedNumbers(number, {16, 3, [](std::uint32_t i) { return bitsAt(48 + i / 4 * 2, i % 4 * 3, 3); }}, halfSteps(3, 2));
  fields.zero = nestedNumbers({}, {32, 1, [](std::uint32_t i) { return bitsAt(32 + i / 2, i % 2 * 4 + 3, 1); }}, eighths());
  return fields;
}

}  // namespace

std::vector<BlockFields> vectorFields() { return {iq2xxs(), iq2xs(), iq2s(), iq3xxs(), iq3s(), iq1s(), iq1m()}; }

}  // namespace nibble::blocks
