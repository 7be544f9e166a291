// SPDX-License-Identifier: GPL-3.0-or-later
#include "core/quant/block_fields.h"

#include "core/base/contracts.h"

#include <algorithm>

namespace nibble::blocks {

BitPieces bitsAt(std::uint64_t byte, std::uint64_t bit, int width, int codeShift, bool inverted) {
  return {{byte * 8 + bit, static_cast<std::uint8_t>(width), static_cast<std::uint8_t>(codeShift), inverted}};
}

BitPieces join(const BitPieces& low, const BitPieces& high) {
  const BitPiece first = *low.begin(), second = *high.begin();
  return {first, second};
}

BitField halfAt(std::uint64_t byte) {
  return {1, 16, [byte](std::uint32_t) { return bitsAt(byte, 0, 16); }};
}

ParameterField impliedNumber(float value) {
  ParameterField field;
  field.kind = ParameterField::Kind::Implied;
  field.implied = value;
  return field;
}

ParameterField plainNumbers(BitField numbers, Stored stored) {
  ParameterField field;
  field.kind = ParameterField::Kind::Numbers;
  field.stored = stored;
  field.numbers = std::move(numbers);
  return field;
}

ParameterField nestedNumbers(BitField numbers, BitField codes, Levels levels, std::optional<float> levelsZero) {
  ParameterField field;
  field.kind = ParameterField::Kind::Nested;
  field.numbers = std::move(numbers);
  field.codes = std::move(codes);
  field.levels = std::move(levels);
  field.levelsZero = levelsZero;
  return field;
}

BitField::BitField(std::uint32_t count, int bits, const std::function<BitPieces(std::uint32_t)>& place) : m_bits(bits) {
  std::vector<std::vector<BytePiece>> all(count);
  for (std::uint32_t i = 0; i < count; ++i) {
    m_places.push_back(place(i));
    for (const BitPiece& piece : m_places.back()) {
      for (int done = 0; done < piece.width;) {
        const std::uint64_t bit = piece.bit + static_cast<std::uint64_t>(done);
        const int down = static_cast<int>(bit % 8), width = std::min(piece.width - done, 8 - down);
        const auto mask = static_cast<std::uint8_t>((1u << width) - 1);
        all[i].push_back({static_cast<std::uint16_t>(bit / 8), static_cast<std::uint8_t>(down), mask,
                          static_cast<std::uint8_t>(piece.codeShift + done),
                          piece.inverted ? static_cast<std::uint8_t>(mask << down) : std::uint8_t{0}});
        done += width;
      }
    }
    m_depth = std::max(m_depth, static_cast<int>(all[i].size()));
  }
  for (std::vector<BytePiece>& pieces : all) {
    pieces.resize(static_cast<std::size_t>(m_depth));
    m_pieces.insert(m_pieces.end(), pieces.begin(), pieces.end());
  }
}

template <int depth, class T>
void BitField::readDeep(const std::byte* block, T* out) const {
  const BytePiece* piece = m_pieces.data();
  for (std::size_t i = 0; i < m_places.size(); ++i) {
    unsigned value = 0;
    for (int k = 0; k < depth; ++k, ++piece)
      value |= ((std::to_integer<unsigned>(block[piece->byte]) ^ piece->flip) >> piece->down & piece->mask) << piece->up;
    out[i] = static_cast<T>(value);
  }
}

template <class T>
void BitField::readAny(const std::byte* block, T* out) const {
  switch (m_depth) {
    case 1: return readDeep<1>(block, out);
    case 2: return readDeep<2>(block, out);
    case 3: return readDeep<3>(block, out);
    case 4: return readDeep<4>(block, out);
    default: NIBBLE_EXPECTS(m_places.empty());
  }
}

void BitField::read(const std::byte* block, std::uint8_t* out) const { readAny(block, out); }
void BitField::read(const std::byte* block, std::uint16_t* out) const { readAny(block, out); }

void BitField::write(std::uint32_t index, std::uint32_t value, std::byte* block) const {
  const auto depth = static_cast<std::size_t>(m_depth);
  for (std::size_t k = index * depth; k < (index + 1) * depth; ++k) {
    const BytePiece& piece = m_pieces[k];
    block[piece.byte] |= static_cast<std::byte>((value >> piece.up & piece.mask) << piece.down ^ piece.flip);
  }
}

int tritDigit(std::uint32_t code) {
  if (code < 160) return static_cast<int>(code / 32);
  if (code < 240) return static_cast<int>((code - 160) / 16);
  return static_cast<int>((code - 240) / 4);
}

const BlockFields& fieldsOf(BlockType type) {
  static const std::vector<BlockFields> all = [] {
    std::vector<BlockFields> fields = plainFields();
    for (auto family : {superFields, vectorFields})
      for (BlockFields& more : family()) fields.push_back(std::move(more));
    return fields;
  }();
  const auto found = std::find_if(all.begin(), all.end(), [type](const BlockFields& fields) { return fields.type == type; });
  NIBBLE_EXPECTS(found != all.end());
  return *found;
}

}  // namespace nibble::blocks
