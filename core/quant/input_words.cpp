// SPDX-License-Identifier: GPL-3.0-or-later
#include "core/quant/input_words.h"

#include "core/base/text.h"

#include <algorithm>

namespace nibble {
namespace {

constexpr std::uint64_t wordSize = 32;

class InputWordLayout final : public Layout {
 public:
  InputWordLayout(std::uint64_t rows, std::uint64_t columns, int bits)
      : m_rows(rows), m_columns(columns), m_bits(static_cast<std::uint64_t>(bits)) {}
  [[nodiscard]] std::string name() const override { return text::number(m_bits) + " bits along the input, 32-bit words"; }
  [[nodiscard]] int wordBits() const override { return wordSize; }
  [[nodiscard]] std::uint64_t sizeBytes() const override {
    return (m_columns * m_bits + wordSize - 1) / wordSize * m_rows * wordSize / 8;
  }
  [[nodiscard]] BitPieces locate(std::uint64_t index) const override {
    const std::uint64_t row = index / m_columns, first = index % m_columns * m_bits;
    const std::uint64_t shift = first % wordSize, low = std::min(m_bits, wordSize - shift);
    const BitPiece piece{place(first / wordSize, row) + shift, static_cast<std::uint8_t>(low), 0};
    if (low == m_bits) return {piece};
    return {piece, {place(first / wordSize + 1, row), static_cast<std::uint8_t>(m_bits - low), static_cast<std::uint8_t>(low)}};
  }
  [[nodiscard]] std::vector<std::uint64_t> codesIn(std::uint64_t word, std::uint64_t codeCount) const override {
    const std::uint64_t row = word % m_rows, firstBit = word / m_rows * wordSize;
    std::vector<std::uint64_t> codes;
    for (std::uint64_t column = firstBit / m_bits; column * m_bits < firstBit + wordSize && column < m_columns; ++column)
      if (row * m_columns + column < codeCount) codes.push_back(row * m_columns + column);
    return codes;
  }

 private:
  [[nodiscard]] std::uint64_t place(std::uint64_t word, std::uint64_t row) const { return (word * m_rows + row) * wordSize; }
  std::uint64_t m_rows, m_columns, m_bits;
};

}  // namespace

std::shared_ptr<const Layout> inputWordLayout(std::uint64_t rows, std::uint64_t columns, int bits) {
  return std::make_shared<InputWordLayout>(rows, columns, bits);
}

}  // namespace nibble
