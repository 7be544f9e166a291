// SPDX-License-Identifier: GPL-3.0-or-later
// Where the bits of codes and zero points stand in GPTQ's words. 32 neighbours (lanes) fill `bits` words; they are read as one
// bit stream (versions 1 and 2) or as one stream for each plane of the code, the low plane first (gptq_p: 3 = 2 + 1, 5 = 4 + 1,
// 6 = 4 + 2, 7 = 4 + 2 + 1).
#include "core/base/contracts.h"
#include "core/formats/gptq/plan.h"

#include <algorithm>
#include <array>
#include <cstring>

namespace nibble::formats::gptq {
namespace {

// `width` bits of a code from bit `codeShift` up, at bit `shift` of word `word` of a line of words.
struct Piece {
  std::uint64_t word;
  int shift, width, codeShift;
};
struct Pieces {
  std::array<Piece, 3> list{};
  int count = 0;
  void add(const Piece& piece) { list[static_cast<std::size_t>(count++)] = piece; }
};

Pieces streamPieces(std::uint64_t lane, int bits) {
  const std::uint64_t position = lane % lanes * static_cast<std::uint64_t>(bits);
  const std::uint64_t word = lane / lanes * static_cast<std::uint64_t>(bits) + position / 32;
  const int shift = static_cast<int>(position % 32), low = std::min(bits, 32 - shift);
  Pieces pieces;
  pieces.add({word, shift, low, 0});
  if (low < bits) pieces.add({word + 1, 0, bits - low, low});
  return pieces;
}

Pieces planePieces(std::uint64_t lane, int bits) {
  Pieces pieces;
  std::uint64_t word = lane / lanes * static_cast<std::uint64_t>(bits);
  int codeShift = 0;
  for (const int width : {8, 4, 2, 1}) {
    if ((bits & width) == 0) continue;
    const std::uint64_t position = lane % lanes * static_cast<std::uint64_t>(width);
    pieces.add({word + position / 32, static_cast<int>(position % 32), width, codeShift});
    word += static_cast<std::uint64_t>(width);
    codeShift += width;
  }
  return pieces;
}

Pieces piecesOf(std::uint64_t lane, int bits, Version version) {
  return version == Version::Planar ? planePieces(lane, bits) : streamPieces(lane, bits);
}

class WeightLayout final : public Layout {
 public:
  WeightLayout(std::uint64_t rows, std::uint64_t columns, int bits, Version version)
      : m_rows(rows), m_columns(columns), m_bits(bits), m_version(version) {}
  [[nodiscard]] std::string name() const override {
    return (m_version == Version::Planar ? "gptq_p " : "gptq ") + std::to_string(m_bits) + " bit, words along the input";
  }
  [[nodiscard]] int wordBits() const override { return 32; }
  [[nodiscard]] std::uint64_t sizeBytes() const override { return m_rows * m_columns * static_cast<std::uint64_t>(m_bits) / 8; }
  [[nodiscard]] BitPieces locate(std::uint64_t index) const override {
    const std::uint64_t row = index / m_columns, column = index % m_columns;
    const Pieces pieces = piecesOf(column, m_bits, m_version);
    const auto place = [&](int i) {
      const Piece& piece = pieces.list[static_cast<std::size_t>(i)];
      return BitPiece{(piece.word * m_rows + row) * 32 + static_cast<std::uint64_t>(piece.shift),
                      static_cast<std::uint8_t>(piece.width), static_cast<std::uint8_t>(piece.codeShift)};
    };
    if (pieces.count == 1) return {place(0)};
    if (pieces.count == 2) return {place(0), place(1)};
    return {place(0), place(1), place(2)};
  }
  [[nodiscard]] std::vector<std::uint64_t> codesIn(std::uint64_t word, std::uint64_t codeCount) const override {
    const auto bits = static_cast<std::uint64_t>(m_bits);
    const std::uint64_t wordOfRow = word / m_rows, row = word % m_rows, begin = wordOfRow / bits * lanes;
    std::vector<std::uint64_t> codes;
    for (std::uint64_t column = begin; column < std::min(begin + lanes, m_columns); ++column) {
      const Pieces pieces = piecesOf(column, m_bits, m_version);
      const auto end = pieces.list.begin() + pieces.count;
      const bool here = std::any_of(pieces.list.begin(), end, [&](const Piece& piece) { return piece.word == wordOfRow; });
      if (here && row * m_columns + column < codeCount) codes.push_back(row * m_columns + column);
    }
    return codes;
  }
  // Row by row of words instead of code by code: a column of words lies far apart in memory.
  [[nodiscard]] Codes unpack(std::span<const std::byte> bytes, std::uint64_t codeCount) const override {
    NIBBLE_EXPECTS(bytes.size() == sizeBytes() && codeCount == m_rows * m_columns);
    std::vector<std::uint8_t> codes(codeCount);
    for (std::uint64_t column = 0; column < m_columns; ++column) {
      const Pieces pieces = piecesOf(column, m_bits, m_version);
      for (int i = 0; i < pieces.count; ++i) {
        const Piece& piece = pieces.list[static_cast<std::size_t>(i)];
        const std::byte* words = bytes.data() + piece.word * m_rows * 4;
        const std::uint32_t mask = (1u << piece.width) - 1;
        for (std::uint64_t row = 0; row < m_rows; ++row) {
          std::uint32_t word = 0;
          std::memcpy(&word, words + row * 4, 4);
          codes[row * m_columns + column] |= static_cast<std::uint8_t>((word >> piece.shift & mask) << piece.codeShift);
        }
      }
    }
    return Codes(std::move(codes));
  }

 private:
  std::uint64_t m_rows, m_columns;
  int m_bits;
  Version m_version;
};

std::uint32_t wordAt(std::span<const std::byte> bytes, std::uint64_t word) {
  std::uint32_t value = 0;
  std::memcpy(&value, bytes.data() + 4 * word, 4);
  return value;
}

}  // namespace

std::shared_ptr<const Layout> weightLayout(std::uint64_t rows, std::uint64_t columns, int bits, Version version) {
  return std::make_shared<WeightLayout>(rows, columns, bits, version);
}

std::vector<std::byte> packZeros(const std::vector<float>& zeros, std::uint64_t rows, std::uint64_t groups, int bits,
                                 Version version) {
  const std::uint64_t words = rows * static_cast<std::uint64_t>(bits) / 32;
  std::vector<std::byte> bytes(groups * words * 4);
  for (std::uint64_t group = 0; group < groups; ++group) {
    std::vector<std::uint32_t> line(words);
    for (std::uint64_t row = 0; row < rows; ++row) {
      const auto stored = static_cast<std::uint32_t>(zeros[row * groups + group]) - (version == Version::V1 ? 1u : 0u);
      const Pieces pieces = piecesOf(row, bits, version);
      for (int i = 0; i < pieces.count; ++i) {
        const Piece& piece = pieces.list[static_cast<std::size_t>(i)];
        line[piece.word] |= (stored >> piece.codeShift & ((1u << piece.width) - 1)) << piece.shift;
      }
    }
    if (words != 0) std::memcpy(bytes.data() + group * words * 4, line.data(), words * 4);
  }
  return bytes;
}

std::vector<float> unpackZeros(std::span<const std::byte> words, std::uint64_t rows, std::uint64_t groups, int bits,
                               Version version) {
  const std::uint64_t perGroup = rows * static_cast<std::uint64_t>(bits) / 32;
  const std::uint32_t mask = (1u << bits) - 1;
  // GPTQModel takes the 1s off whole words of 2, 4 or 8 bit fields, with borrow: adding them to the word brings the zeros back.
  // Fields of 3 bits straddle words and wrap each by itself.
  const bool wordwise = version == Version::V1 && 32 % bits == 0;
  const std::uint32_t ones = wordwise ? 0xFFFFFFFFu / mask : 0u;
  std::vector<float> zeros(rows * groups);
  for (std::uint64_t group = 0; group < groups; ++group) {
    for (std::uint64_t row = 0; row < rows; ++row) {
      const Pieces pieces = piecesOf(row, bits, version);
      std::uint32_t stored = 0;
      for (int i = 0; i < pieces.count; ++i) {
        const Piece& piece = pieces.list[static_cast<std::size_t>(i)];
        const std::uint32_t word = wordAt(words, group * perGroup + piece.word) + ones;
        stored |= (word >> piece.shift & ((1u << piece.width) - 1)) << piece.codeShift;
      }
      if (version == Version::V1 && !wordwise) ++stored;
      zeros[row * groups + group] = static_cast<float>(stored & mask);
    }
  }
  return zeros;
}

}  // namespace nibble::formats::gptq
