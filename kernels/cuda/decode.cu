// SPDX-License-Identifier: GPL-3.0-or-later
// Tiling. A thread makes four neighbouring weights, a warp 128:
//
//     packed   |..4 codes..|..4 codes..| ...   4 bits / 8 bytes a thread, one or two 32-bit words
//     out      |f f f f|f f f f| ...           16 bytes a thread, 512 a warp
//
// Interleaved: a thread takes one packed byte or word and makes the weights of all its slots, which lie in as many rows;
// neighbours make neighbours. Where pointers or counts are odd, a thread makes one weight and reads bytes.
// Bytes: bits / 8 read and 4 written for each weight, 8 read for each group. Every weight is written once.
// A table of up to 32 levels lies in the lanes of the warp and is read by a shuffle; a longer one in the first cache.
//
// bound decodeQuads registers 48 shared 0
// bound decodeOne registers 48 shared 0
// bound decodeSlots registers 48 shared 0
#include "kernels/cuda/decode.h"

namespace nibble::kernels::NIBBLE_CUDA_SPACE {
namespace {

constexpr unsigned threads = 256;

// Called by whole warps: the table lies in their lanes.
class Decoder {
 public:
  NIBBLE_DEVICE explicit Decoder(const ValueRuleOf& rule) : m_rule(rule), m_lane(0.0f) {
    const unsigned lane = threadIndex() % 32;
    if (rule.spelling == Spelling::ScaleTable && lane < rule.tableSize) m_lane = load(rule.table + lane);
  }
  NIBBLE_DEVICE float operator()(unsigned code, float scale, float zero) const {
    if (m_rule.spelling == Spelling::ScaleTable) {
      if (m_rule.tableSize <= 32) return scale * shuffleFrom(m_lane, code);
      return scale * load(m_rule.table + (code < m_rule.tableSize ? code : 0));
    }
    const auto number = static_cast<float>(code);
    return m_rule.spelling == Spelling::ScaleMinusZero ? scale * (number - zero) : scale * number + zero;
  }
  NIBBLE_DEVICE float scaleOf(std::size_t group) const { return load(m_rule.scale + group); }
  NIBBLE_DEVICE float zeroOf(std::size_t group) const {
    return m_rule.spelling == Spelling::ScaleTable ? 0.0f : load(m_rule.zero + group);
  }

 private:
  const ValueRuleOf& m_rule;
  float m_lane;
};

// One code by single bytes.
NIBBLE_DEVICE unsigned codeByBytes(Packing packing, unsigned bits, const std::uint8_t* bytes, std::size_t byteCount,
                                   std::size_t i) {
  if (packing == Packing::HighNibble) return load(bytes + i / 2) >> (i % 2 == 0 ? 4 : 0) & 15u;
  const unsigned mask = (1u << bits) - 1;
  std::size_t bit = i * bits;
  if (packing == Packing::Words) {
    const std::size_t each = 32 / bits;
    bit = i / each * 32 + (each - 1 - i % each) * bits;
  }
  const std::size_t byte = bit / 8;
  unsigned value = load(bytes + byte);
  if (bit % 8 + bits > 8 && byte + 1 < byteCount) value |= static_cast<unsigned>(load(bytes + byte + 1)) << 8;
  return value >> (bit % 8) & mask;
}

// Four codes from i on (a multiple of 4), out of aligned words of which all are there.
NIBBLE_DEVICE void fourCodes(Packing packing, unsigned bits, const std::uint8_t* bytes, std::size_t i, unsigned (&codes)[4]) {
  const auto* words = reinterpret_cast<const std::uint32_t*>(bytes);
  const unsigned mask = (1u << bits) - 1;
  if (packing == Packing::HighNibble) {
    const std::uint32_t pair = load(reinterpret_cast<const std::uint16_t*>(bytes) + i / 4);
    for (unsigned k = 0; k < 4; ++k) codes[k] = pair >> (8 * (k / 2) + (k % 2 == 0 ? 4 : 0)) & 15u;
  } else if (packing == Packing::Dense) {
    const std::size_t bit = i * bits;
    const auto shift = static_cast<unsigned>(bit % 32);
    const std::uint32_t low = load(words + bit / 32);
    const std::uint32_t high = shift + 4 * bits > 32 ? load(words + bit / 32 + 1) : 0;
    const std::uint32_t four = funnel(low, high, shift);
    for (unsigned k = 0; k < 4; ++k) codes[k] = four >> (k * bits) & mask;
  } else {
    const std::size_t each = 32 / bits, first = i / each, last = (i + 3) / each;
    const std::uint32_t low = load(words + first), high = last != first ? load(words + last) : low;
    for (unsigned k = 0; k < 4; ++k)
      codes[k] = ((i + k) / each == first ? low : high) >> ((each - 1 - (i + k) % each) * bits) & mask;
  }
}

NIBBLE_KERNEL NIBBLE_THREADS(256) decodeQuads(Packing packing, unsigned bits, const std::uint8_t* bytes, std::size_t count,
                                              std::size_t groupSize, ValueRuleOf rule, float* out) {
  const std::size_t mine = (std::size_t{blockX()} * threads + threadIndex()) * 4;
  const std::size_t i = mine < count ? mine : count - 4;  // idle threads go along, for the shuffles
  const Decoder decoder(rule);
  const float scale = decoder.scaleOf(i / groupSize), zero = decoder.zeroOf(i / groupSize);
  unsigned codes[4];
  fourCodes(packing, bits, bytes, i, codes);
  Quad<float> values;
  for (unsigned k = 0; k < 4; ++k) values.v[k] = decoder(codes[k], scale, zero);
  if (mine < count) store(reinterpret_cast<Quad<float>*>(out + i), values);
}

NIBBLE_KERNEL NIBBLE_THREADS(256) decodeOne(Packing packing, unsigned bits, const std::uint8_t* bytes, std::size_t byteCount,
                                            std::size_t count, std::size_t groupSize, ValueRuleOf rule, float* out) {
  const std::size_t mine = std::size_t{blockX()} * threads + threadIndex();
  const std::size_t i = mine < count ? mine : count - 1;
  const Decoder decoder(rule);
  const float value =
      decoder(codeByBytes(packing, bits, bytes, byteCount, i), decoder.scaleOf(i / groupSize), decoder.zeroOf(i / groupSize));
  if (mine < count) store(out + i, value);
}

template <class Unit>
NIBBLE_KERNEL NIBBLE_THREADS(256) decodeSlots(unsigned bits, const Unit* units, std::size_t rows, std::size_t columns,
                                              bool eachRow, ValueRuleOf rule, float* out) {
  const std::size_t slots = sizeof(Unit) == 4 ? 10 : 8 / bits, step = (rows + slots - 1) / slots;
  const std::size_t mine = std::size_t{blockX()} * threads + threadIndex();
  const bool inside = mine < step * columns;
  const std::size_t i = inside ? mine : 0, column = i % columns;
  const Decoder decoder(rule);
  const std::uint32_t unit = load(units + i);
  const float columnScale = eachRow ? 0.0f : decoder.scaleOf(column), columnZero = eachRow ? 0.0f : decoder.zeroOf(column);
  for (std::size_t slot = 0; slot < slots; ++slot) {
    const std::size_t row = slot * step + i / columns;
    const bool there = inside && row < rows;
    const std::size_t group = there ? row : 0;
    const unsigned code = unit >> ((slots - 1 - slot) * bits) & ((1u << bits) - 1);
    const float value =
        decoder(code, eachRow ? decoder.scaleOf(group) : columnScale, eachRow ? decoder.zeroOf(group) : columnZero);
    if (there) store(out + row * columns + column, value);
  }
}

// Whether every word that four codes touch lies within the bytes.
bool wholeWords(Packing packing, int bits, std::size_t byteCount, std::size_t count) {
  const auto b = static_cast<std::size_t>(bits);
  const std::size_t each = 32 / b;
  if (packing == Packing::HighNibble) return byteCount * 2 >= count;
  if (packing == Packing::Words) return byteCount / 4 * each >= count;
  return byteCount / 4 * 32 >= count * b;
}

}  // namespace

Outcome launchDecode(Packing packing, int bits, const std::uint8_t* bytes, std::size_t byteCount, std::size_t count,
                     std::size_t groupSize, const ValueRuleOf& rule, float* out, Stream stream) {
  if (count == 0) return {};
  if (bits < 1 || bits > 8 || groupSize == 0)
    return Outcome::failed(Fault::BadCall, "codes of " + std::to_string(bits) + " bits");
  const auto width = static_cast<unsigned>(bits);
  const bool quads = count % 4 == 0 && groupSize % 4 == 0 && isAligned(out, 16) && isAligned(bytes, 4) &&
                     wholeWords(packing, bits, byteCount, count);
  const std::size_t blocks = ceilDiv(count, threads * (quads ? 4 : 1));
  if (blocks > largestGridX) return Outcome::failed(Fault::BadCall, "too many weights at once");
  const GridSize grid{static_cast<unsigned>(blocks), 1};
  if (quads) return launch(decodeQuads, grid, threads, 0, stream, packing, width, bytes, count, groupSize, rule, out);
  return launch(decodeOne, grid, threads, 0, stream, packing, width, bytes, byteCount, count, groupSize, rule, out);
}

Outcome launchDecodeInterleaved(int bits, const std::uint8_t* bytes, std::size_t rows, std::size_t columns,
                                bool parameterEachRow, const ValueRuleOf& rule, float* out, Stream stream) {
  if (rows == 0 || columns == 0) return {};
  const bool words = bits == 3;
  if (bits != 1 && bits != 2 && bits != 3 && bits != 4 && bits != 8)
    return Outcome::failed(Fault::BadCall, "interleaved codes of " + std::to_string(bits) + " bits");
  if (words && !isAligned(bytes, 4)) return Outcome::failed(Fault::BadCall, "interleaved words that are not aligned");
  const auto width = static_cast<unsigned>(bits);
  const std::size_t units = ceilDiv(rows, words ? 10 : 8 / width) * columns, blocks = ceilDiv(units, threads);
  if (blocks > largestGridX) return Outcome::failed(Fault::BadCall, "too many weights at once");
  const GridSize grid{static_cast<unsigned>(blocks), 1};
  if (words)
    return launch(decodeSlots<std::uint32_t>, grid, threads, 0, stream, width, reinterpret_cast<const std::uint32_t*>(bytes),
                  rows, columns, parameterEachRow, rule, out);
  return launch(decodeSlots<std::uint8_t>, grid, threads, 0, stream, width, bytes, rows, columns, parameterEachRow, rule, out);
}

}  // namespace nibble::kernels::NIBBLE_CUDA_SPACE
