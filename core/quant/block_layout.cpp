// SPDX-License-Identifier: GPL-3.0-or-later
#include "core/base/contracts.h"
#include "core/base/text.h"
#include "core/quant/block_fields.h"
#include "core/quant/blocks.h"

namespace nibble {
namespace {

using blocks::BlockFields;

// Five base-3 digits in a byte: the number they spell, scaled from 3^5 to 2^8 and rounded up, so that multiplying by 3 and
// taking what leaves the byte gives digit after digit.
std::uint8_t trit(std::byte stored, int digit) {
  constexpr unsigned powers[] = {1, 3, 9, 27, 81};
  const unsigned rest = std::to_integer<unsigned>(stored) * powers[digit] & 0xFFu;
  return static_cast<std::uint8_t>(rest * 3 >> 8);
}

class BlockLayout final : public Layout {
 public:
  BlockLayout(const BlockFields& fields, std::uint64_t blockCount) : m_fields(fields), m_blockCount(blockCount) {}
  [[nodiscard]] const BlockFields& fields() const { return m_fields; }
  [[nodiscard]] std::string name() const override {
    return std::string(m_fields.name) + ", blocks of " + text::number(m_fields.bytes()) + " bytes";
  }
  [[nodiscard]] int wordBits() const override { return 8; }
  [[nodiscard]] std::uint64_t sizeBytes() const override { return m_blockCount * m_fields.bytes(); }

  [[nodiscard]] std::optional<StorageSize> sizeByPurpose() const override {
    StorageSize size;
    size.scales = m_blockCount * m_fields.scale.bitsInBlock() / 8;
    size.zeros = m_blockCount * m_fields.zero.bitsInBlock() / 8;
    size.codes = sizeBytes() - size.scales - size.zeros;
    return size;
  }

  [[nodiscard]] BitPieces locate(std::uint64_t index) const override {
    const std::uint64_t perBlock = m_fields.codes.count(), block = index / perBlock;
    return m_fields.codes.place(static_cast<std::uint32_t>(index % perBlock)).movedBy(block * m_fields.bytes() * 8);
  }

  [[nodiscard]] std::vector<std::uint64_t> codesIn(std::uint64_t word, std::uint64_t codeCount) const override {
    const std::uint64_t perBlock = m_fields.codes.count(), block = word / m_fields.bytes();
    std::vector<std::uint64_t> result;
    for (std::uint64_t i = block * perBlock; i < std::min((block + 1) * perBlock, codeCount); ++i)
      for (const BitPiece& piece : locate(i))
        if (piece.bit < (word + 1) * 8 && piece.bit + piece.width > word * 8 && (result.empty() || result.back() != i))
          result.push_back(i);
    return result;
  }

  [[nodiscard]] std::vector<std::byte> pack(const Codes& codes) const override {
    std::vector<std::byte> bytes(sizeBytes());
    packInto(codes, bytes);
    return bytes;
  }

  [[nodiscard]] std::vector<std::byte> packWhole(const QuantizedTensor& tensor) const override {
    auto bytes = toBlocks(tensor);
    return bytes ? *std::move(bytes) : pack(tensor.codes);
  }

  [[nodiscard]] Codes unpack(std::span<const std::byte> bytes, std::uint64_t codeCount) const override {
    NIBBLE_EXPECTS(bytes.size() == sizeBytes() && codeCount == m_blockCount * m_fields.codes.count());
    if (m_fields.trits || m_fields.codes.bits() <= 8) return unpackAs<std::uint8_t>(bytes);
    return unpackAs<std::uint16_t>(bytes);
  }

 private:
  template <class T>
  [[nodiscard]] Codes unpackAs(std::span<const std::byte> bytes) const {
    const std::uint64_t perBlock = m_fields.codes.count();
    std::vector<T> codes(m_blockCount * perBlock);
    for (std::uint64_t block = 0; block < m_blockCount; ++block) {
      const std::byte* from = bytes.data() + block * m_fields.bytes();
      T* to = codes.data() + block * perBlock;
      if (m_fields.trits) {
        for (std::uint32_t i = 0; i < perBlock; ++i)
          to[i] = trit(from[m_fields.codes.place(i).begin()->bit / 8], blocks::tritDigit(i));
      } else {
        m_fields.codes.read(from, to);
      }
    }
    return Codes(std::move(codes));
  }

  void packInto(const Codes& codes, std::span<std::byte> bytes) const {
    const std::uint64_t perBlock = m_fields.codes.count();
    NIBBLE_EXPECTS(codes.size() == m_blockCount * perBlock);
    codes.visit([&](const auto& values) {
      for (std::uint64_t block = 0; block < m_blockCount; ++block) {
        const auto* from = values.data() + block * perBlock;
        std::byte* to = bytes.data() + block * m_fields.bytes();
        if (m_fields.trits) {
          packTrits(from, to);
          continue;
        }
        for (std::uint32_t i = 0; i < perBlock; ++i) m_fields.codes.write(i, static_cast<std::uint32_t>(from[i]), to);
      }
    });
  }

  // The last bytes hold four digits; the fifth is 0.
  template <class T>
  void packTrits(const T* codes, std::byte* block) const {
    constexpr unsigned powers[] = {81, 27, 9, 3, 1};
    unsigned sums[52] = {};
    for (std::uint32_t i = 0; i < m_fields.codes.count(); ++i)
      sums[m_fields.codes.place(i).begin()->bit / 8] += powers[blocks::tritDigit(i)] * static_cast<unsigned>(codes[i]);
    for (std::size_t i = 0; i < std::size(sums); ++i) block[i] = static_cast<std::byte>((sums[i] * 256 + 242) / 243);
  }

  const BlockFields& m_fields;
  std::uint64_t m_blockCount;
};

}  // namespace

std::shared_ptr<const Layout> blockLayout(BlockType type, std::uint64_t rows, std::uint64_t columns) {
  const BlockFields& fields = blocks::fieldsOf(type);
  NIBBLE_EXPECTS(columns % fields.weights() == 0);
  return std::make_shared<BlockLayout>(fields, rows * (columns / fields.weights()));
}

std::optional<BlockType> blockTypeOf(const QuantizedTensor& tensor) {
  const auto* layout = dynamic_cast<const BlockLayout*>(tensor.layout.get());
  return layout == nullptr ? std::nullopt : std::optional(layout->fields().type);
}

}  // namespace nibble
