// SPDX-License-Identifier: GPL-3.0-or-later
#include "core/quant/stream_layout.h"

#include "core/base/contracts.h"
#include "core/base/text.h"

#include <algorithm>
#include <cstring>
#include <set>

namespace nibble {
namespace {

class InputStreamLayout final : public Layout {
 public:
  InputStreamLayout(std::uint64_t rows, std::uint64_t outputs, std::vector<std::uint8_t> widths)
      : m_rows(rows), m_outputs(outputs), m_columns(widths.size()), m_begin(widths.size() + 1) {
    for (std::size_t k = 0; k < widths.size(); ++k) m_begin[k + 1] = m_begin[k] + widths[k];
    NIBBLE_EXPECTS(m_rows <= m_outputs && m_begin.back() % 32 == 0);
    std::set<int, std::greater<>> distinct(widths.begin(), widths.end());
    for (const int width : distinct) m_name += (m_name.empty() ? "" : "/") + text::number(std::int64_t{width});
    m_name += " bit, words down the input";
  }

  [[nodiscard]] std::string name() const override { return m_name; }
  [[nodiscard]] int wordBits() const override { return 32; }
  [[nodiscard]] std::uint64_t sizeBytes() const override { return m_begin.back() / 32 * m_outputs * 4; }

  [[nodiscard]] BitPieces locate(std::uint64_t index) const override {
    const std::uint64_t row = index / m_columns, column = index % m_columns, word = m_begin[column] / 32;
    const std::uint64_t shift = m_begin[column] % 32, width = m_begin[column + 1] - m_begin[column];
    const auto low = static_cast<std::uint8_t>(std::min<std::uint64_t>(width, 32 - shift));
    const BitPiece first{(word * m_outputs + row) * 32 + shift, low, 0};
    if (low == width) return {first};
    return {first, {((word + 1) * m_outputs + row) * 32, static_cast<std::uint8_t>(width - low), low}};
  }

  [[nodiscard]] std::vector<std::uint64_t> codesIn(std::uint64_t word, std::uint64_t codeCount) const override {
    const std::uint64_t row = word % m_outputs, firstBit = word / m_outputs * 32;
    std::vector<std::uint64_t> codes;
    if (row >= m_rows) return codes;
    const auto after = std::upper_bound(m_begin.begin(), m_begin.end(), firstBit);
    auto column = static_cast<std::uint64_t>(after - m_begin.begin()) - 1;
    for (; column < m_columns && m_begin[column] < firstBit + 32; ++column)
      if (row * m_columns + column < codeCount) codes.push_back(row * m_columns + column);
    return codes;
  }

  [[nodiscard]] std::vector<std::byte> pack(const Codes& codes) const override {
    std::vector<std::byte> bytes(sizeBytes());
    std::vector<std::uint32_t> words(m_begin.back() / 32 + 1);
    codes.visit([&](const auto& values) {
      for (std::uint64_t row = 0; row < m_rows; ++row) {
        std::fill(words.begin(), words.end(), 0u);
        for (std::uint64_t column = 0; column < m_columns; ++column) {
          const std::uint64_t at = m_begin[column] / 32;
          const std::uint64_t moved = static_cast<std::uint64_t>(values[row * m_columns + column]) << m_begin[column] % 32;
          words[at] |= static_cast<std::uint32_t>(moved);
          words[at + 1] |= static_cast<std::uint32_t>(moved >> 32);
        }
        for (std::uint64_t word = 0; word + 1 < words.size(); ++word)
          std::memcpy(bytes.data() + (word * m_outputs + row) * 4, &words[word], 4);
      }
    });
    return bytes;
  }

  [[nodiscard]] Codes unpack(std::span<const std::byte> bytes, std::uint64_t codeCount) const override {
    NIBBLE_EXPECTS(bytes.size() == sizeBytes() && codeCount == m_rows * m_columns);
    std::vector<std::uint8_t> codes(codeCount);
    std::vector<std::uint32_t> words(m_begin.back() / 32 + 1);
    for (std::uint64_t row = 0; row < m_rows; ++row) {
      for (std::uint64_t word = 0; word + 1 < words.size(); ++word)
        std::memcpy(&words[word], bytes.data() + (word * m_outputs + row) * 4, 4);
      for (std::uint64_t column = 0; column < m_columns; ++column) {
        const std::uint64_t at = m_begin[column] / 32, width = m_begin[column + 1] - m_begin[column];
        const std::uint64_t window = words[at] | std::uint64_t{words[at + 1]} << 32;
        codes[row * m_columns + column] =
            static_cast<std::uint8_t>(window >> m_begin[column] % 32 & ((std::uint64_t{1} << width) - 1));
      }
    }
    return Codes(std::move(codes));
  }

 private:
  std::uint64_t m_rows, m_outputs, m_columns;
  std::vector<std::uint64_t> m_begin;  // first bit of each stored column; the last entry is the stream's length
  std::string m_name;
};

}  // namespace

std::shared_ptr<const Layout> inputStreamLayout(std::uint64_t rows, std::uint64_t outputs, std::vector<std::uint8_t> widths) {
  return std::make_shared<InputStreamLayout>(rows, outputs, std::move(widths));
}

}  // namespace nibble
