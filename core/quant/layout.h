// SPDX-License-Identifier: GPL-3.0-or-later
// How codes lie in bytes. A layout says where each bit of a weight's code goes (`locate`); packing, unpacking, size and the bit
// strip all follow from that one function. Faster pack and unpack paths may override the generic ones and are tested equal.
// A layout is immutable and holds what it needs to know about the tensor's shape and widths.
#pragma once
#include "core/base/result.h"
#include "core/quant/quantized_tensor.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace nibble {

// `width` bits of a code, from code bit `codeShift` up, stored in bits [bit, bit + width) of the little-endian bit string
// (bit 8k is the low bit of byte k).
struct BitPiece {
  std::uint64_t bit = 0;
  std::uint8_t width = 0;
  std::uint8_t codeShift = 0;
  bool inverted = false;  // stored as its complement (the sign of two's complement, for a code counted from the lowest value)
};

// The pieces of one code: one as a rule, two where low and high bits lie apart, at most four.
class BitPieces {
 public:
  BitPieces(std::initializer_list<BitPiece> pieces) {
    for (const BitPiece& piece : pieces) m_pieces[m_count++] = piece;
  }
  [[nodiscard]] const BitPiece* begin() const { return m_pieces.data(); }
  [[nodiscard]] const BitPiece* end() const { return m_pieces.data() + m_count; }
  [[nodiscard]] std::size_t size() const { return m_count; }
  // The same pieces `bits` further on.
  [[nodiscard]] BitPieces movedBy(std::uint64_t bits) const {
    BitPieces moved = *this;
    for (std::size_t i = 0; i < m_count; ++i) moved.m_pieces[i].bit += bits;
    return moved;
  }

 private:
  std::array<BitPiece, 4> m_pieces{};
  std::size_t m_count = 0;
};

// Bytes by purpose: what stands under "bits per weight".
struct StorageSize {
  std::uint64_t codes = 0, scales = 0, zeros = 0, other = 0;  // bytes; other: level tables, order, channel scale, widths
  [[nodiscard]] std::uint64_t total() const { return codes + scales + zeros + other; }
  StorageSize& operator+=(const StorageSize& more);
};

class Layout {
 public:
  virtual ~Layout() = default;
  [[nodiscard]] virtual std::string name() const = 0;                // "4bit_u8", "dense 3 bits", shown over the bit strip
  [[nodiscard]] virtual int wordBits() const = 0;                    // the storage unit a reader sees: 8, 16, 32
  [[nodiscard]] virtual std::uint64_t sizeBytes() const = 0;         // of the codes, padding included
  [[nodiscard]] virtual BitPieces locate(std::uint64_t codeIndex) const = 0;
  // Codes (of `codeCount`) with a bit in this word of wordBits, ascending. The generic way asks `locate` about every code.
  [[nodiscard]] virtual std::vector<std::uint64_t> codesIn(std::uint64_t word, std::uint64_t codeCount) const;
  [[nodiscard]] virtual std::vector<std::byte> pack(const Codes& codes) const;
  [[nodiscard]] virtual Codes unpack(std::span<const std::byte> bytes, std::uint64_t codeCount) const;
  // Layouts of blocks hold the parameters between the codes: `sizeBytes` are then those of everything, by purpose here. None:
  // parameters lie apart.
  [[nodiscard]] virtual std::optional<StorageSize> sizeByPurpose() const { return std::nullopt; }
  // As `pack`, with the parameters where the layout has a place for them.
  [[nodiscard]] virtual std::vector<std::byte> packWhole(const QuantizedTensor& tensor) const;
};

// One word of the packed codes without packing the rest: what `pack` writes at [word * wordBits, + wordBits).
std::uint64_t wordAt(const Layout& layout, const Codes& codes, std::uint64_t word);

// Codes one after another, `bits` each, low bits first; bits 8, 16, 32 are plain arrays; 0 bits take no room.
std::shared_ptr<const Layout> denseLayout(std::uint64_t codeCount, int bits);
// 32-bit words of floor(32 / bits) codes, the first in the highest used bits; unused high bits 0, the last word filled with 0
// (reference document 000 with bits = 3: ten codes a word).
std::shared_ptr<const Layout> wordLayout(std::uint64_t codeCount, int bits);
// Bytes of two codes, the first in the high nibble (bitsandbytes).
std::shared_ptr<const Layout> highNibbleLayout(std::uint64_t codeCount);
// HQQ's packing of a grouped [groupedRows, groupedColumns] matrix along its rows: with step = packed rows, slot k of packed row i
// holds row k * step + i, slot 0 in the high bits. bits 8 4 2 1 in bytes, 3 in 32-bit words of ten.
std::shared_ptr<const Layout> rowInterleavedLayout(std::uint64_t groupedRows, std::uint64_t groupedColumns, int bits);

StorageSize storageSize(const QuantizedTensor& tensor);
double bitsPerWeight(const QuantizedTensor& tensor);

// One named run of payload bytes ("codes", "scale", "zero", "zero.codes", "levels" ..., or "blocks" with everything) in the default layout. Together they
// are exactly storageSize bytes: the figure shown is the bytes there are.
struct PayloadPart {
  std::string name;
  std::vector<std::byte> bytes;
};
std::vector<PayloadPart> payload(const QuantizedTensor& tensor);

}  // namespace nibble
