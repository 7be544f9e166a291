// SPDX-License-Identifier: GPL-3.0-or-later
// Tiling. A thread makes four neighbouring weights, a block 1024. The block's words and the parameters of its groups are loaded
// side by side into shared memory first, so that no word is moved twice and no sector for one number:
//
//     packed   |..4 codes..|..4 codes..| ...   4 bits / 8 bytes a thread, out of one or two 32-bit words in shared memory
//     out      |f f f f|f f f f| ...           16 bytes a thread, 512 a warp
//
// Interleaved: a thread takes one packed byte or word and makes the weights of all its slots, which lie in as many rows;
// neighbours make neighbours. Parameters of rows, which neighbours share, come through shared memory too. Where pointers or
// counts are odd, a thread makes one weight and reads bytes.
// Bytes: bits / 8 read and 4 written for each weight, 8 read for each group. Every weight is written once.
// A table of up to 32 levels lies in the lanes of the warp and is read by a shuffle; a longer one in the first cache.
//
// bound decodeQuads registers 48 shared 3080
// bound decodeOne registers 48 shared 0
// bound decodeSlots registers 48 shared 20480
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

// The words that hold the block's codes: how many, from which one on.
constexpr std::size_t blockWeights = threads * 4;
// Codes of whole words: HighNibble counts as words of eight.
NIBBLE_DEVICE std::size_t wordOf(Packing packing, unsigned bits, std::size_t i) {
  return packing == Packing::Words ? i / (32 / bits) : i * bits / 32;
}

// Four codes from i on (a multiple of 4), out of staged words, of which `first` is the number of the first.
NIBBLE_DEVICE void fourCodes(Packing packing, unsigned bits, const Shared<std::uint32_t>& words, std::size_t first,
                             std::size_t i, unsigned (&codes)[4]) {
  const unsigned mask = (1u << bits) - 1;
  if (packing == Packing::HighNibble) {
    const std::uint32_t pair = words.get(i / 8 - first) >> (i % 8 * 4);
    for (unsigned k = 0; k < 4; ++k) codes[k] = pair >> (8 * (k / 2) + (k % 2 == 0 ? 4 : 0)) & 15u;
  } else if (packing == Packing::Dense) {
    const std::size_t bit = i * bits;
    const auto shift = static_cast<unsigned>(bit % 32);
    const std::uint32_t low = words.get(bit / 32 - first);
    const std::uint32_t high = shift + 4 * bits > 32 ? words.get(bit / 32 + 1 - first) : 0;
    const std::uint32_t four = funnel(low, high, shift);
    for (unsigned k = 0; k < 4; ++k) codes[k] = four >> (k * bits) & mask;
  } else {
    const std::size_t each = 32 / bits, begin = i / each, last = (i + 3) / each;
    const std::uint32_t low = words.get(begin - first), high = last != begin ? words.get(last - first) : low;
    for (unsigned k = 0; k < 4; ++k)
      codes[k] = ((i + k) / each == begin ? low : high) >> ((each - 1 - (i + k) % each) * bits) & mask;
  }
}

// In shared memory: words, scales, zeros of the block. A block touches at most 256 words and, as groups are four weights or
// more, 257 groups.
constexpr std::size_t mostWords = 256, mostGroups = 257, groupsOffset = mostWords * 4,
                      quadsShared = groupsOffset + 2 * mostGroups * 4;

NIBBLE_KERNEL NIBBLE_THREADS(256) decodeQuads(Packing packing, unsigned bits, const std::uint8_t* bytes, std::size_t count,
                                              std::size_t groupSize, ValueRuleOf rule, float* out) {
  const std::size_t begin = std::size_t{blockX()} * blockWeights;
  const std::size_t end = count - begin < blockWeights ? count : begin + blockWeights;
  const std::size_t firstWord = wordOf(packing, bits, begin), firstGroup = begin / groupSize;
  // The last code's last bit.
  const std::size_t wordCount = (packing == Packing::Words ? (end - 1) / (32 / bits) : (end * bits - 1) / 32) + 1 - firstWord;
  const std::size_t groupCount = (end - 1) / groupSize + 1 - firstGroup;
  const Decoder decoder(rule);
  const Shared<std::uint32_t> words(0, mostWords);
  const Shared<float> scales(groupsOffset, mostGroups), zeros(groupsOffset + mostGroups * 4, mostGroups);
  if (threadIndex() < wordCount)
    words.set(threadIndex(), loadOnce(reinterpret_cast<const std::uint32_t*>(bytes) + firstWord + threadIndex()));
  for (std::size_t g = threadIndex(); g < groupCount; g += threads) {
    scales.set(g, decoder.scaleOf(firstGroup + g));
    zeros.set(g, decoder.zeroOf(firstGroup + g));
  }
  syncThreads();
  const std::size_t mine = begin + threadIndex() * 4;
  const std::size_t i = mine < count ? mine : count - 4;  // idle threads go along, for the shuffles
  const float scale = scales.get(i / groupSize - firstGroup), zero = zeros.get(i / groupSize - firstGroup);
  unsigned codes[4];
  fourCodes(packing, bits, words, firstWord, i, codes);
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

// How many rows the units of a block lie in, at most.
NIBBLE_BOTH constexpr std::size_t rowsOfUnits(std::size_t columns) {
  return columns > 1 ? (threads - 2) / columns + 2 : threads;
}

template <class Unit>
NIBBLE_KERNEL NIBBLE_THREADS(256) decodeSlots(unsigned bits, const Unit* units, std::size_t rows, std::size_t columns,
                                              bool eachRow, ValueRuleOf rule, float* out) {
  const std::size_t slots = sizeof(Unit) == 4 ? 10 : 8 / bits, step = (rows + slots - 1) / slots;
  const std::size_t begin = std::size_t{blockX()} * threads, mine = begin + threadIndex();
  const bool inside = mine < step * columns;
  const std::size_t i = inside ? mine : 0, column = i % columns;
  const Decoder decoder(rule);
  const std::uint32_t unit = load(units + i);
  const float columnScale = eachRow ? 0.0f : decoder.scaleOf(column), columnZero = eachRow ? 0.0f : decoder.zeroOf(column);
  const std::size_t firstRow = begin / columns, rowsHere = rowsOfUnits(columns);
  const Shared<float> scales(0, slots * rowsHere), zeros(slots * rowsHere * sizeof(float), slots * rowsHere);
  for (std::size_t j = threadIndex(); eachRow && j < slots * rowsHere; j += threads) {
    const std::size_t row = firstRow + j % rowsHere, group = j / rowsHere * step + row;
    const bool there = row < step && group < rows;
    scales.set(j, there ? decoder.scaleOf(group) : 0.0f);
    zeros.set(j, there ? decoder.zeroOf(group) : 0.0f);
  }
  syncThreads();
  for (std::size_t slot = 0; slot < slots; ++slot) {
    const std::size_t row = slot * step + i / columns, at = slot * rowsHere + (inside ? i / columns - firstRow : 0);
    const unsigned code = unit >> ((slots - 1 - slot) * bits) & ((1u << bits) - 1);
    const float value = decoder(code, eachRow ? scales.get(at) : columnScale, eachRow ? zeros.get(at) : columnZero);
    if (inside && row < rows) store(out + row * columns + column, value);
  }
}

// Whether every word that four codes touch lies within the bytes.
bool wholeWords(Packing packing, int bits, std::size_t byteCount, std::size_t count) {
  const auto b = static_cast<std::size_t>(bits);
  const std::size_t each = 32 / b;
  if (packing == Packing::HighNibble) return byteCount / 4 * 8 >= count;
  if (packing == Packing::Words) return byteCount / 4 * each >= count;
  return byteCount / 4 * 32 >= count * b;
}

}  // namespace

Outcome launchDecode(Packing packing, int bits, const std::uint8_t* bytes, std::size_t byteCount, std::size_t count,
                     std::size_t groupSize, const ValueRuleOf& rule, float* out, Stream stream) {
  if (count == 0) return {};
  if (bits < 1 || bits > 8 || groupSize == 0)
    return Outcome::failed(Fault::BadCall, "codes of " + std::to_string(bits) + " bits");
  const auto width = static_cast<unsigned>(packing == Packing::HighNibble ? 4 : bits);
  const bool quads = count % 4 == 0 && groupSize % 4 == 0 && isAligned(out, 16) && isAligned(bytes, 4) &&
                     wholeWords(packing, bits, byteCount, count);
  const std::size_t blocks = ceilDiv(count, threads * (quads ? 4 : 1));
  if (blocks > largestGridX) return Outcome::failed(Fault::BadCall, "too many weights at once");
  const GridSize grid{static_cast<unsigned>(blocks), 1};
  if (quads) return launch(decodeQuads, grid, threads, quadsShared, stream, packing, width, bytes, count, groupSize, rule, out);
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
  const std::size_t slots = words ? 10 : 8 / width,
                    shared = parameterEachRow ? 2 * slots * rowsOfUnits(columns) * sizeof(float) : 0;
  if (words)
    return launch(decodeSlots<std::uint32_t>, grid, threads, shared, stream, width,
                  reinterpret_cast<const std::uint32_t*>(bytes), rows, columns, parameterEachRow, rule, out);
  return launch(decodeSlots<std::uint8_t>, grid, threads, shared, stream, width, bytes, rows, columns, parameterEachRow, rule,
                out);
}

}  // namespace nibble::kernels::NIBBLE_CUDA_SPACE
