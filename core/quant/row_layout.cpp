// SPDX-License-Identifier: GPL-3.0-or-later
#include "core/quant/row_layout.h"

#include "core/base/text.h"

#include <algorithm>

namespace nibble {
namespace {

constexpr std::uint64_t wordSize = 32;

std::uint64_t wordsFor(std::uint64_t codes, int bits) {
  return (codes * static_cast<std::uint64_t>(bits) + wordSize - 1) / wordSize;
}

class RowStreamLayout final : public Layout {
 public:
  RowStreamLayout(std::uint64_t rows, std::uint64_t columns, int bits)
      : m_rows(rows), m_columns(columns), m_bits(static_cast<std::uint64_t>(bits)), m_words(wordsFor(columns, bits)) {}
  [[nodiscard]] std::string name() const override { return text::number(m_bits) + " bit stream along each row"; }
  [[nodiscard]] int wordBits() const override { return static_cast<int>(wordSize); }
  [[nodiscard]] std::uint64_t sizeBytes() const override { return m_rows * m_words * wordSize / 8; }
  [[nodiscard]] BitPieces locate(std::uint64_t index) const override {
    return {{index / m_columns * m_words * wordSize + index % m_columns * m_bits, static_cast<std::uint8_t>(m_bits), 0}};
  }
  [[nodiscard]] std::vector<std::uint64_t> codesIn(std::uint64_t word, std::uint64_t codeCount) const override {
    const std::uint64_t row = word / m_words, firstBit = word % m_words * wordSize;
    const std::uint64_t begin = row * m_columns + firstBit / m_bits,
                        end = row * m_columns + std::min((firstBit + wordSize - 1) / m_bits + 1, m_columns);
    std::vector<std::uint64_t> codes;
    for (std::uint64_t i = begin; i < std::min(end, codeCount); ++i) codes.push_back(i);
    return codes;
  }

 private:
  std::uint64_t m_rows, m_columns, m_bits, m_words;
};

class ColumnStreamLayout final : public Layout {
 public:
  ColumnStreamLayout(std::uint64_t rows, std::uint64_t columns, int bits)
      : m_rows(rows), m_columns(columns), m_bits(static_cast<std::uint64_t>(bits)), m_words(wordsFor(rows, bits)) {}
  [[nodiscard]] std::string name() const override { return text::number(m_bits) + " bit stream down each column"; }
  [[nodiscard]] int wordBits() const override { return static_cast<int>(wordSize); }
  [[nodiscard]] std::uint64_t sizeBytes() const override { return m_columns * m_words * wordSize / 8; }
  [[nodiscard]] BitPieces locate(std::uint64_t index) const override {
    const std::uint64_t position = index / m_columns * m_bits, column = index % m_columns, shift = position % wordSize;
    const std::uint64_t word = position / wordSize, low = std::min(m_bits, wordSize - shift);
    const BitPiece first{(word * m_columns + column) * wordSize + shift, static_cast<std::uint8_t>(low), 0};
    if (low == m_bits) return {first};
    return {first,
            {((word + 1) * m_columns + column) * wordSize, static_cast<std::uint8_t>(m_bits - low),
             static_cast<std::uint8_t>(low)}};
  }
  [[nodiscard]] std::vector<std::uint64_t> codesIn(std::uint64_t word, std::uint64_t codeCount) const override {
    const std::uint64_t firstBit = word / m_columns * wordSize, column = word % m_columns;
    std::vector<std::uint64_t> codes;
    for (std::uint64_t row = firstBit / m_bits; row < std::min((firstBit + wordSize - 1) / m_bits + 1, m_rows); ++row)
      if (row * m_columns + column < codeCount) codes.push_back(row * m_columns + column);
    return codes;
  }

 private:
  std::uint64_t m_rows, m_columns, m_bits, m_words;
};

class LowFirstInterleavedLayout final : public Layout {
 public:
  LowFirstInterleavedLayout(std::uint64_t rows, std::uint64_t columns, int bits)
      : m_rows(rows), m_columns(columns), m_bits(static_cast<std::uint64_t>(bits)) {
    const std::uint64_t slots = 8 / m_bits;
    m_packedRows = (rows + slots - 1) / slots;
  }
  [[nodiscard]] std::string name() const override {
    return text::number(m_bits) + " bit, rows interleaved, first in the low bits";
  }
  [[nodiscard]] int wordBits() const override { return 8; }
  [[nodiscard]] std::uint64_t sizeBytes() const override { return m_packedRows * m_columns; }
  [[nodiscard]] BitPieces locate(std::uint64_t index) const override {
    const std::uint64_t row = index / m_columns, byte = row % m_packedRows * m_columns + index % m_columns;
    return {{byte * 8 + row / m_packedRows * m_bits, static_cast<std::uint8_t>(m_bits), 0}};
  }
  [[nodiscard]] std::vector<std::uint64_t> codesIn(std::uint64_t word, std::uint64_t codeCount) const override {
    std::vector<std::uint64_t> codes;
    for (std::uint64_t row = word / m_columns; row < m_rows; row += m_packedRows)
      if (const std::uint64_t index = row * m_columns + word % m_columns; index < codeCount) codes.push_back(index);
    return codes;
  }

 private:
  std::uint64_t m_rows, m_columns, m_bits;
  std::uint64_t m_packedRows = 0;
};

}  // namespace

std::shared_ptr<const Layout> rowStreamLayout(std::uint64_t rows, std::uint64_t columns, int bits) {
  return std::make_shared<RowStreamLayout>(rows, columns, bits);
}
std::shared_ptr<const Layout> columnStreamLayout(std::uint64_t rows, std::uint64_t columns, int bits) {
  return std::make_shared<ColumnStreamLayout>(rows, columns, bits);
}
std::shared_ptr<const Layout> lowFirstInterleavedLayout(std::uint64_t rows, std::uint64_t columns, int bits) {
  return std::make_shared<LowFirstInterleavedLayout>(rows, columns, bits);
}

}  // namespace nibble
