// SPDX-License-Identifier: GPL-3.0-or-later
// What stands where in a block of each GGUF type, as data: codes, signs, scales of sub-blocks, numbers of the block. Layout,
// reading and writing all follow from this one description. Bits are counted from the block's first byte, low bits first.
#pragma once
#include "core/quant/layout.h"
#include "core/quant/quantized_tensor.h"
#include "kernels/block_type.h"

#include <array>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

namespace nibble::blocks {

using kernels::BlockType;

// `count` numbers of some bits each in every block.
class BitField {
 public:
  BitField() = default;
  BitField(std::uint32_t count, int bits, const std::function<BitPieces(std::uint32_t index)>& place);
  [[nodiscard]] std::uint32_t count() const { return static_cast<std::uint32_t>(m_places.size()); }
  [[nodiscard]] int bits() const { return m_bits; }
  [[nodiscard]] std::uint64_t bitsInBlock() const { return static_cast<std::uint64_t>(m_bits) * count(); }
  [[nodiscard]] const BitPieces& place(std::uint32_t index) const { return m_places[index]; }
  // All numbers of a block; `out` holds `count`. `write` expects the field's bits to be 0.
  void read(const std::byte* block, std::uint8_t* out) const;
  void read(const std::byte* block, std::uint16_t* out) const;
  void write(std::uint32_t index, std::uint32_t value, std::byte* block) const;

 private:
  // A piece within one byte: value bits [up, up + width of mask) = (byte ^ flip) >> down & mask.
  struct BytePiece {
    std::uint16_t byte = 0;
    std::uint8_t down = 0, mask = 0, up = 0, flip = 0;
  };
  template <int depth, class T>
  void readDeep(const std::byte* block, T* out) const;
  template <class T>
  void readAny(const std::byte* block, T* out) const;
  std::vector<BitPieces> m_places;
  std::vector<BytePiece> m_pieces;  // m_depth for each number; unused ones have an empty mask
  int m_depth = 0, m_bits = 0;
};

// How a parameter plane is stored in blocks.
struct ParameterField {
  enum class Kind : std::uint8_t { None, Implied, Numbers, Nested };
  Kind kind = Kind::None;
  float implied = 0;                // Implied: one number for all
  Stored stored = Stored::F16;      // Numbers, and the block's number of Nested
  BitField numbers;                 // Numbers: one per group; Nested: one per block, or none
  BitField codes;                   // Nested: one per group
  Levels levels;                    // Nested: of those codes
  std::optional<float> levelsZero;  // Nested: subtracted from them
  [[nodiscard]] std::uint32_t groupsInBlock() const { return kind == Kind::Nested ? codes.count() : numbers.count(); }
  [[nodiscard]] std::uint64_t bitsInBlock() const { return numbers.bitsInBlock() + codes.bitsInBlock(); }
};

struct BlockFields {
  BlockType type{};
  std::string_view name;
  BitField codes;
  bool trits = false;  // TQ1_0: `place` of a code is its byte, `tritDigit` says which digit
  Levels levels;
  ValueRule rule = ValueRule::Scale;
  ParameterField scale, zero;
  BitField signs;  // of eight weights each: 8 bits, or 7 and the eighth makes the number of negatives even
  [[nodiscard]] std::uint64_t weights() const { return kernels::blockShape(type).weights; }
  [[nodiscard]] std::uint64_t bytes() const { return kernels::blockShape(type).bytes; }
};

const BlockFields& fieldsOf(BlockType type);

// Digit of a TQ1_0 code in its byte, the first the most significant of five.
int tritDigit(std::uint32_t code);

// Families, each in its own file; called once.
std::vector<BlockFields> plainFields();   // one scale a block: q, tq, fp4
std::vector<BlockFields> superFields();   // scales of sub-blocks: k, iq4_xs
std::vector<BlockFields> vectorFields();  // codes of several weights: iq1, iq2, iq3

// Spellings the families share.
BitPieces bitsAt(std::uint64_t byte, std::uint64_t bit, int width, int codeShift = 0, bool inverted = false);
BitPieces join(const BitPieces& low, const BitPieces& high);
BitField halfAt(std::uint64_t byte);
ParameterField impliedNumber(float value);
ParameterField plainNumbers(BitField numbers, Stored stored = Stored::F16);
ParameterField nestedNumbers(BitField numbers, BitField codes, Levels levels, std::optional<float> levelsZero = std::nullopt);

}  // namespace nibble::blocks
