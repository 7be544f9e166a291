// SPDX-License-Identifier: GPL-3.0-or-later
#include "core/quant/layout.h"

#include "core/base/contracts.h"
#include "core/base/text.h"

#include <algorithm>
#include <bit>
#include <cstring>

namespace nibble {
namespace {

Codes codesOfWidth(int bits, const std::vector<std::uint32_t>& values) {
  if (bits <= 8) return Codes(std::vector<std::uint8_t>(values.begin(), values.end()));
  if (bits <= 16) return Codes(std::vector<std::uint16_t>(values.begin(), values.end()));
  return Codes(std::vector<std::int32_t>(values.begin(), values.end()));
}

// `width` bits (at most 32) at `bit` of a little-endian bit string.
std::uint32_t readBits(std::span<const std::byte> bytes, std::uint64_t bit, int width) {
  std::uint64_t window = 0;
  const std::size_t first = bit / 8;
  std::memcpy(&window, bytes.data() + first, std::min<std::size_t>(8, bytes.size() - first));
  return static_cast<std::uint32_t>(window >> (bit % 8) & ((std::uint64_t{1} << width) - 1));
}

void orBits(std::span<std::byte> bytes, std::uint64_t bit, std::uint64_t value) {
  const std::size_t first = bit / 8, count = std::min<std::size_t>(8, bytes.size() - first);
  std::uint64_t window = 0;
  std::memcpy(&window, bytes.data() + first, count);
  window |= value << (bit % 8);
  std::memcpy(bytes.data() + first, &window, count);
}

std::uint64_t maskOf(const BitPiece& piece) { return (std::uint64_t{1} << piece.width) - 1; }
std::uint64_t complementOf(const BitPiece& piece, std::uint64_t bits) { return piece.inverted ? ~bits & maskOf(piece) : bits; }
// What the piece holds of a code.
std::uint64_t pieceOf(const BitPiece& piece, std::uint64_t code) {
  return complementOf(piece, code >> piece.codeShift & maskOf(piece));
}

// Packing and unpacking through `locate`, whatever the layout. With a final layout class the call is inlined.
template <class L>
std::vector<std::byte> packThrough(const L& layout, const Codes& codes) {
  std::vector<std::byte> bytes(layout.sizeBytes());
  codes.visit([&](const auto& values) {
    for (std::uint64_t i = 0; i < values.size(); ++i) {
      const auto code = static_cast<std::uint64_t>(static_cast<std::uint32_t>(values[i]));  // signed as two's complement
      for (const BitPiece& piece : layout.locate(i)) orBits(bytes, piece.bit, pieceOf(piece, code));
    }
  });
  return bytes;
}

template <class L>
Codes unpackThrough(const L& layout, std::span<const std::byte> bytes, std::uint64_t codeCount) {
  NIBBLE_EXPECTS(bytes.size() == layout.sizeBytes());
  std::vector<std::uint32_t> codes(codeCount);
  int widest = 0;
  for (std::uint64_t i = 0; i < codeCount; ++i) {
    for (const BitPiece& piece : layout.locate(i)) {
      const std::uint32_t stored = readBits(bytes, piece.bit, piece.width);
      codes[i] |= static_cast<std::uint32_t>(complementOf(piece, stored)) << piece.codeShift;
      widest = std::max(widest, piece.width + piece.codeShift);
    }
  }
  return codesOfWidth(widest, codes);
}

// Indices [begin, end) that exist.
std::vector<std::uint64_t> indices(std::uint64_t begin, std::uint64_t end, std::uint64_t codeCount) {
  std::vector<std::uint64_t> result;
  for (std::uint64_t i = begin; i < std::min(end, codeCount); ++i) result.push_back(i);
  return result;
}

template <class Derived>
class InlinedLayout : public Layout {
 public:
  [[nodiscard]] std::vector<std::byte> pack(const Codes& codes) const final {
    return packThrough(static_cast<const Derived&>(*this), codes);
  }
  [[nodiscard]] Codes unpack(std::span<const std::byte> bytes, std::uint64_t codeCount) const final {
    return unpackThrough(static_cast<const Derived&>(*this), bytes, codeCount);
  }
};

// Codes one after another; low bits first.
class DenseLayout final : public InlinedLayout<DenseLayout> {
 public:
  DenseLayout(std::uint64_t count, int bits) : m_count(count), m_bits(bits) {}
  [[nodiscard]] std::string name() const override { return "dense " + text::number(std::int64_t{m_bits}) + " bit"; }
  [[nodiscard]] int wordBits() const override { return m_bits == 16 || m_bits == 32 ? m_bits : 8; }
  [[nodiscard]] std::uint64_t sizeBytes() const override { return (m_count * static_cast<std::uint64_t>(m_bits) + 7) / 8; }
  [[nodiscard]] BitPieces locate(std::uint64_t index) const override {
    if (m_bits == 0) return {};
    return {{index * static_cast<std::uint64_t>(m_bits), static_cast<std::uint8_t>(m_bits), 0}};
  }
  [[nodiscard]] std::vector<std::uint64_t> codesIn(std::uint64_t word, std::uint64_t codeCount) const override {
    if (m_bits == 0) return {};
    const auto bits = static_cast<std::uint64_t>(m_bits), size = static_cast<std::uint64_t>(wordBits());
    return indices(word * size / bits, (word * size + size - 1) / bits + 1, codeCount);
  }

 private:
  std::uint64_t m_count;
  int m_bits;
};

// 32-bit words of floor(32 / bits) codes, first code in the highest used bits.
class WordLayout final : public InlinedLayout<WordLayout> {
 public:
  WordLayout(std::uint64_t count, int bits) : m_count(count), m_bits(bits), m_perWord(32 / static_cast<std::uint64_t>(bits)) {}
  [[nodiscard]] std::string name() const override { return text::number(m_perWord) + " codes a word"; }
  [[nodiscard]] int wordBits() const override { return 32; }
  [[nodiscard]] std::uint64_t sizeBytes() const override { return (m_count + m_perWord - 1) / m_perWord * 4; }
  [[nodiscard]] BitPieces locate(std::uint64_t index) const override {
    const std::uint64_t slot = index % m_perWord;
    return {{index / m_perWord * 32 + (m_perWord - 1 - slot) * static_cast<std::uint64_t>(m_bits),
             static_cast<std::uint8_t>(m_bits), 0}};
  }
  [[nodiscard]] std::vector<std::uint64_t> codesIn(std::uint64_t word, std::uint64_t codeCount) const override {
    return indices(word * m_perWord, (word + 1) * m_perWord, codeCount);
  }

 private:
  std::uint64_t m_count;
  int m_bits;
  std::uint64_t m_perWord;
};

class HighNibbleLayout final : public InlinedLayout<HighNibbleLayout> {
 public:
  explicit HighNibbleLayout(std::uint64_t count) : m_count(count) {}
  [[nodiscard]] std::string name() const override { return "4bit_u8, high nibble first"; }
  [[nodiscard]] int wordBits() const override { return 8; }
  [[nodiscard]] std::uint64_t sizeBytes() const override { return (m_count + 1) / 2; }
  [[nodiscard]] BitPieces locate(std::uint64_t index) const override {
    return {{index / 2 * 8 + (index % 2 == 0 ? 4u : 0u), 4, 0}};
  }
  [[nodiscard]] std::vector<std::uint64_t> codesIn(std::uint64_t word, std::uint64_t codeCount) const override {
    return indices(2 * word, 2 * word + 2, codeCount);
  }

 private:
  std::uint64_t m_count;
};

// Rows of the grouped matrix interleaved over one word: slot k of packed row i holds row k * step + i.
class RowInterleavedLayout final : public InlinedLayout<RowInterleavedLayout> {
 public:
  RowInterleavedLayout(std::uint64_t rows, std::uint64_t columns, int bits)
      : m_rows(rows), m_columns(columns), m_bits(bits), m_wordBits(bits == 3 ? 32 : 8) {
    m_slots = static_cast<std::uint64_t>(m_wordBits / m_bits);
    m_step = (m_rows + m_slots - 1) / m_slots;
  }
  [[nodiscard]] std::string name() const override {
    return text::number(std::int64_t{m_bits}) + (m_wordBits == 32 ? "bit_32" : "bit_u8");
  }
  [[nodiscard]] int wordBits() const override { return m_wordBits; }
  [[nodiscard]] std::uint64_t sizeBytes() const override {
    return m_step * m_columns * static_cast<std::uint64_t>(m_wordBits / 8);
  }
  [[nodiscard]] BitPieces locate(std::uint64_t index) const override {
    const std::uint64_t row = index / m_columns, column = index % m_columns;
    const std::uint64_t word = row % m_step * m_columns + column, slot = row / m_step;
    return {{word * static_cast<std::uint64_t>(m_wordBits) + (m_slots - 1 - slot) * static_cast<std::uint64_t>(m_bits),
             static_cast<std::uint8_t>(m_bits), 0}};
  }
  [[nodiscard]] std::vector<std::uint64_t> codesIn(std::uint64_t word, std::uint64_t codeCount) const override {
    std::vector<std::uint64_t> result;
    for (std::uint64_t row = word / m_columns; row < m_rows && row / m_step < m_slots; row += m_step)
      if (const std::uint64_t index = row * m_columns + word % m_columns; index < codeCount) result.push_back(index);
    return result;
  }

 private:
  std::uint64_t m_rows, m_columns;
  int m_bits, m_wordBits;
  std::uint64_t m_slots = 1, m_step = 0;
};

std::vector<std::byte> numbersAs(Stored stored, const std::vector<float>& values) {
  std::vector<std::byte> bytes(values.size() * static_cast<std::size_t>(storedBits(stored)) / 8);
  const std::size_t item = bytes.size() / std::max<std::size_t>(values.size(), 1);
  for (std::size_t i = 0; i < values.size() && item != 0; ++i) {
    std::uint32_t bits = 0;
    switch (stored) {
      case Stored::F32: bits = std::bit_cast<std::uint32_t>(values[i]); break;
      case Stored::F16: bits = kernels::floatToHalf(values[i]); break;
      case Stored::BF16: bits = kernels::floatToBfloat(values[i]); break;
      case Stored::F8E4M3: bits = kernels::floatToFloat8<4>(values[i]); break;
      case Stored::F8E8M0: bits = kernels::floatToE8m0(values[i]); break;
      case Stored::U8: case Stored::I8: case Stored::I32: bits = static_cast<std::uint32_t>(static_cast<std::int32_t>(values[i])); break;
      case Stored::Implied: case Stored::Nested: break;
    }
    std::memcpy(bytes.data() + i * item, &bits, item);
  }
  return bytes;
}

std::uint64_t planeBytes(const std::optional<Plane>& plane) {
  if (!plane) return 0;
  if (plane->nested) return storageSize(*plane->nested).total();
  return plane->values.size() * static_cast<std::uint64_t>(storedBits(plane->stored)) / 8;
}

std::uint64_t extraBytes(const QuantizedTensor& tensor) {
  return tensor.levels.table.size() * static_cast<std::uint64_t>(storedBits(tensor.levels.stored)) / 8 + tensor.signs.size() +
         tensor.order.size() * tensor.orderBytes + tensor.channelScale.size() * static_cast<std::uint64_t>(storedBits(tensor.channelScaleStored)) / 8 +
         tensor.width.bits.size() * static_cast<std::uint64_t>(storedBits(tensor.width.stored)) / 8 + tensor.width.table.size();
}

template <class T>
std::vector<std::byte> rawBytes(const std::vector<T>& values) {
  std::vector<std::byte> bytes(values.size() * sizeof(T));
  if (!bytes.empty()) std::memcpy(bytes.data(), values.data(), bytes.size());
  return bytes;
}

// Each entry in its own number of bytes, little-endian.
std::vector<std::byte> orderAs(std::uint8_t entryBytes, const std::vector<std::uint32_t>& order) {
  std::vector<std::byte> bytes(order.size() * entryBytes);
  for (std::size_t i = 0; i < order.size(); ++i) std::memcpy(bytes.data() + i * entryBytes, &order[i], entryBytes);
  return bytes;
}

void addPart(std::vector<PayloadPart>& parts, std::string name, std::vector<std::byte> bytes) {
  if (!bytes.empty()) parts.push_back({std::move(name), std::move(bytes)});
}

void addPlane(std::vector<PayloadPart>& parts, const std::string& name, const std::optional<Plane>& plane) {
  if (!plane) return;
  if (!plane->nested) return addPart(parts, name, numbersAs(plane->stored, plane->values));
  for (PayloadPart& part : payload(*plane->nested)) parts.push_back({name + "." + part.name, std::move(part.bytes)});
}

}  // namespace

std::vector<std::byte> Layout::pack(const Codes& codes) const { return packThrough(*this, codes); }

Codes Layout::unpack(std::span<const std::byte> bytes, std::uint64_t codeCount) const {
  return unpackThrough(*this, bytes, codeCount);
}

std::vector<std::byte> Layout::packWhole(const QuantizedTensor& tensor) const { return pack(tensor.codes); }

std::vector<std::uint64_t> Layout::codesIn(std::uint64_t word, std::uint64_t codeCount) const {
  const auto size = static_cast<std::uint64_t>(wordBits());
  std::vector<std::uint64_t> result;
  for (std::uint64_t i = 0; i < codeCount; ++i) {
    const BitPieces pieces = locate(i);
    const bool here = std::any_of(pieces.begin(), pieces.end(), [&](const BitPiece& piece) {
      return piece.bit < (word + 1) * size && piece.bit + piece.width > word * size;
    });
    if (here) result.push_back(i);
  }
  return result;
}

std::uint64_t wordAt(const Layout& layout, const Codes& codes, std::uint64_t word) {
  const auto size = static_cast<std::uint64_t>(layout.wordBits());
  const std::uint64_t first = word * size;
  std::uint64_t value = 0;
  for (const std::uint64_t index : layout.codesIn(word, codes.size())) {
    const auto code = static_cast<std::uint64_t>(static_cast<std::uint32_t>(codes.at(index)));
    for (const BitPiece& piece : layout.locate(index)) {
      for (std::uint64_t bit = 0; bit < piece.width; ++bit)
        if (piece.bit + bit >= first && piece.bit + bit < first + size)
          value |= (pieceOf(piece, code) >> bit & 1) << (piece.bit + bit - first);
    }
  }
  return value;
}

std::shared_ptr<const Layout> denseLayout(std::uint64_t codeCount, int bits) { return std::make_shared<DenseLayout>(codeCount, bits); }
std::shared_ptr<const Layout> wordLayout(std::uint64_t codeCount, int bits) { return std::make_shared<WordLayout>(codeCount, bits); }
std::shared_ptr<const Layout> highNibbleLayout(std::uint64_t codeCount) { return std::make_shared<HighNibbleLayout>(codeCount); }
std::shared_ptr<const Layout> rowInterleavedLayout(std::uint64_t groupedRows, std::uint64_t groupedColumns, int bits) {
  return std::make_shared<RowInterleavedLayout>(groupedRows, groupedColumns, bits);
}

StorageSize& StorageSize::operator+=(const StorageSize& more) {
  codes += more.codes;
  scales += more.scales;
  zeros += more.zeros;
  other += more.other;
  return *this;
}

StorageSize storageSize(const QuantizedTensor& tensor) {
  NIBBLE_EXPECTS(tensor.layout != nullptr);
  if (const auto size = tensor.layout->sizeByPurpose()) return *size;
  return {tensor.layout->sizeBytes(), planeBytes(tensor.scale), planeBytes(tensor.zero), extraBytes(tensor)};
}

double bitsPerWeight(const QuantizedTensor& tensor) {
  return 8.0 * static_cast<double>(storageSize(tensor).total()) / static_cast<double>(tensor.weightCount());
}

std::vector<PayloadPart> payload(const QuantizedTensor& tensor) {
  std::vector<PayloadPart> parts;
  if (tensor.layout->sizeByPurpose()) return {{"blocks", tensor.layout->packWhole(tensor)}};
  addPart(parts, "codes", tensor.layout->pack(tensor.codes));
  addPlane(parts, "scale", tensor.scale);
  addPlane(parts, "zero", tensor.zero);
  addPart(parts, "levels", numbersAs(tensor.levels.stored, tensor.levels.table));
  addPart(parts, "signs", rawBytes(tensor.signs));
  addPart(parts, "order", orderAs(tensor.orderBytes, tensor.order));
  addPart(parts, "channelScale", numbersAs(tensor.channelScaleStored, tensor.channelScale));
  if (storedBits(tensor.width.stored) != 0) addPart(parts, "width", rawBytes(tensor.width.bits));
  addPart(parts, "width.table", tensor.width.table);
  return parts;
}

}  // namespace nibble
