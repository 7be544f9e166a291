// SPDX-License-Identifier: GPL-3.0-or-later
// Tiling. A thread makes four neighbouring weights, a warp 128 (four small blocks, or half a super-block), a thread block 1024,
// whose bytes are loaded side by side into shared memory first.
//
//     blocks   |d|nibbles........|d|nibbles........| ...   a lane reads the block's numbers and its own four codes' bytes
//     out      |f f f f|f f f f| ...                       16 bytes a thread, 512 a warp
//
// Blocks have even sizes that are no multiples of four, so bytes are read in pairs, from the start of a sector on. Lanes of a
// block read the same numbers, at once. A warp's four blocks of q8_0 are 34 words, two more than there are banks: lanes read
// them in order and shuffle. AWQ: two neighbouring threads read one word and make four weights each.
// Bytes: a block's own (0.56 to 1.06 a weight) read and 4 written for each weight. Every weight is written once.
//
// bound decodeBlockQuads registers 40 shared 1088
// bound decodeAwq registers 40 shared 0
#include "kernels/cuda/decode_blocks.h"

namespace nibble::kernels::NIBBLE_CUDA_SPACE {
namespace {

constexpr unsigned threads = 256;
// As many bytes as 1024 weights have at most, in shared memory.
constexpr std::size_t stagedBytes = threads * 4 / 32 * 34;
// A place among them.
struct Bytes {
  unsigned at;
  NIBBLE_DEVICE Bytes operator+(unsigned bytes) const { return {at + bytes}; }
};

NIBBLE_DEVICE unsigned byteAt(Bytes place) {
  return Shared<std::uint8_t>(0, stagedBytes).get(place.at);
}
NIBBLE_DEVICE std::uint32_t pairAt(Bytes place) {
  return Shared<std::uint16_t>(0, stagedBytes / 2).get(place.at / 2);
}
NIBBLE_DEVICE std::uint32_t fourAt(Bytes at) {
  return pairAt(at) | pairAt(at + 2) << 16;
}
NIBBLE_DEVICE float halfAt(Bytes at) {
  return halfToNumber(static_cast<std::uint16_t>(pairAt(at)));
}
NIBBLE_DEVICE float signedByte(std::uint32_t byte) {
  return static_cast<float>(static_cast<std::int8_t>(byte & 0xFFu));
}

// value = scale * (code - middle) - minimum; minimum 0 is not subtracted, so that -0 stays.
struct FourCodes {
  float scale = 0, minimum = 0;
  bool hasMinimum = false;
  int codes[4] = {};
};

// Codes of 4 bits and their fifth bits, block of 32; `in` is the first of four weights.
NIBBLE_DEVICE void smallCodes(Bytes nibbles, const Bytes* fifths, unsigned in, int middle, FourCodes& four) {
  const std::uint32_t bytes = fourAt(nibbles + in % 16) >> (in >= 16 ? 4 : 0);
  const std::uint32_t high = fifths != nullptr ? fourAt(*fifths) >> in : 0;
  for (unsigned k = 0; k < 4; ++k) four.codes[k] = static_cast<int>((bytes >> (8 * k) & 15u) | (high >> k & 1u) << 4) - middle;
}

NIBBLE_DEVICE void smallBlock(BlockType type, Bytes p, unsigned in, FourCodes& four) {
  four.scale = halfAt(p);
  four.hasMinimum = type == BlockType::Q4_1 || type == BlockType::Q5_1;
  if (four.hasMinimum) four.minimum = -halfAt(p + 2);
  if (type == BlockType::Q4_0) smallCodes(p + 2, nullptr, in, 8, four);
  if (type == BlockType::Q4_1) smallCodes(p + 4, nullptr, in, 0, four);
  const Bytes fifths = p + (type == BlockType::Q5_0 ? 2 : 4);
  if (type == BlockType::Q5_0) smallCodes(p + 6, &fifths, in, 16, four);
  if (type == BlockType::Q5_1) smallCodes(p + 8, &fifths, in, 0, four);
}

// Four codes of q8_0 for each lane; called by whole warps.
NIBBLE_DEVICE std::uint32_t eightBitCodes(std::size_t wordCount) {
  constexpr unsigned warpWords = 34;
  const Shared<std::uint32_t> words(0, stagedBytes / 4);
  const unsigned lane = threadIndex() % 32, first = threadIndex() / 32 * warpWords;
  const std::uint32_t mine = first + lane < wordCount ? words.get(first + lane) : 0u;
  const std::uint32_t rest = lane + 32 < warpWords && first + lane + 32 < wordCount ? words.get(first + lane + 32) : 0u;
  const unsigned at = lane / 8 * 34 + 2 + lane % 8 * 4, low = at / 4, high = low + 1 < warpWords ? low + 1 : low;
  const std::uint32_t lows[2] = {shuffleFrom(mine, low % 32), shuffleFrom(rest, low % 32)};
  const std::uint32_t highs[2] = {shuffleFrom(mine, high % 32), shuffleFrom(rest, high % 32)};
  return funnel(lows[low / 32], highs[high / 32], at % 4 * 8);
}

// Scale and minimum j of eight, six bits each in twelve bytes.
NIBBLE_DEVICE void sixBits(Bytes p, unsigned j, unsigned& scale, unsigned& minimum) {
  if (j < 4) {
    scale = byteAt(p + j) & 63u;
    minimum = byteAt(p + j + 4) & 63u;
    return;
  }
  const unsigned low = byteAt(p + j + 4);
  scale = (low & 15u) | (byteAt(p + (j - 4)) >> 6u) << 4u;
  minimum = low >> 4u | (byteAt(p + j) >> 6u) << 4u;
}

// Two bits of each of four codes: byte j of 32 holds weights j, j + 32, j + 64, j + 96 of 128.
NIBBLE_DEVICE std::uint32_t fourPairs(Bytes p, unsigned in) {
  return fourAt(p + in / 128 * 32 + in % 32) >> (in % 128 / 32 * 2);
}

NIBBLE_DEVICE void superBlockOf(BlockType type, Bytes p, unsigned in, FourCodes& four) {
  std::uint32_t low = 0, high = 0;
  unsigned mask = 15, highMask = 1, highShift = 4, scale = 0, minimum = 0;
  int middle = 0;
  if (type == BlockType::Q2_K) {
    low = fourPairs(p + 16, in), mask = 3;
    const unsigned both = byteAt(p + in / 16);
    four.scale = halfAt(p + 80) * static_cast<float>(both & 15u);
    four.minimum = halfAt(p + 82) * static_cast<float>(both >> 4u);
    four.hasMinimum = true;
  } else if (type == BlockType::Q3_K) {
    low = fourPairs(p + 32, in), mask = 3, middle = 4, highShift = 2;
    high = fourAt(p + in % 32) >> (in / 32);
    const unsigned t = in / 16;
    const unsigned nibble = byteAt(p + 96 + t % 8) >> (t < 8 ? 0u : 4u) & 15u;
    const int six = static_cast<int>(nibble | (byteAt(p + 104 + t % 4) >> (t / 4 * 2) & 3u) << 4);
    four.scale = halfAt(p + 108) * static_cast<float>(six - 32);
  } else if (type == BlockType::Q6_K) {
    low = fourAt(p + in / 128 * 64 + in % 64) >> (in % 128 < 64 ? 0 : 4);
    high = fourPairs(p + 128, in), highMask = 3, middle = 32;
    four.scale = halfAt(p + 208) * signedByte(byteAt(p + 192 + in / 16));
  } else {
    const bool five = type == BlockType::Q5_K;
    low = fourAt(p + (five ? 48 : 16) + in / 64 * 32 + in % 32) >> (in % 64 < 32 ? 0 : 4);
    if (five) high = fourAt(p + 16 + in % 32) >> (in / 32);
    sixBits(p + 4, in / 32, scale, minimum);
    four.scale = halfAt(p) * static_cast<float>(scale);
    four.minimum = halfAt(p + 2) * static_cast<float>(minimum);
    four.hasMinimum = true;
  }
  for (unsigned k = 0; k < 4; ++k)
    four.codes[k] = static_cast<int>((low >> (8 * k) & mask) | (high >> (8 * k) & highMask) << highShift) - middle;
}

NIBBLE_KERNEL NIBBLE_THREADS(256)
    decodeBlockQuads(BlockType type, BlockShape shape, const std::uint8_t* blocks, std::size_t count, float* out) {
  const std::size_t begin = std::size_t{blockX()} * threads * 4, i = begin + threadIndex() * 4;
  const std::size_t end = count - begin < threads * 4 ? count : begin + threads * 4;
  const auto* from = reinterpret_cast<const std::uint16_t*>(blocks + begin / shape.weights * shape.bytes);
  const Shared<std::uint16_t> staged(0, stagedBytes / 2);
  const std::size_t pairs = (end - begin) / shape.weights * shape.bytes / 2;
  const std::size_t lead = reinterpret_cast<std::uintptr_t>(from) % 32 / 2;
  for (std::size_t j = threadIndex(); j < lead + pairs; j += threads)
    if (j >= lead) staged.set(j - lead, load(from + (j - lead)));
  if (pairs % 2 != 0 && threadIndex() == 0) staged.set(pairs, std::uint16_t{0});  // completes the last word
  syncThreads();
  const std::uint32_t bytes = type == BlockType::Q8_0 ? eightBitCodes((pairs + 1) / 2) : 0;
  if (i >= count) return;
  const Bytes block{static_cast<unsigned>((i - begin) / shape.weights * shape.bytes)};
  const auto in = static_cast<unsigned>(i % shape.weights);
  FourCodes four;
  for (unsigned k = 0; k < 4; ++k) four.codes[k] = static_cast<std::int8_t>(bytes >> (8 * k) & 0xFFu);
  if (shape.weights == 32)
    smallBlock(type, block, in, four);
  else
    superBlockOf(type, block, in, four);
  Quad<float> values;
  for (unsigned k = 0; k < 4; ++k) {
    const float value = four.scale * static_cast<float>(four.codes[k]);
    values.v[k] = four.hasMinimum ? value - four.minimum : value;
  }
  store(reinterpret_cast<Quad<float>*>(out + i), values);
}

NIBBLE_KERNEL NIBBLE_THREADS(256) decodeAwq(AwqMatrix packed, float* out) {
  const std::size_t i = (std::size_t{blockX()} * threads + threadIndex()) * 4;
  if (i >= packed.inputs * packed.outputs) return;
  const std::size_t k = i / packed.outputs, n = i % packed.outputs, group = k / packed.groupRows;
  const std::uint32_t word = load(packed.words + i / 8), zero = load(packed.zeros + (group * packed.outputs + n) / 8);
  const Quad<std::uint16_t> scales =
      load(reinterpret_cast<const Quad<std::uint16_t>*>(packed.scales + group * packed.outputs + n));
  Quad<float> values;
  for (unsigned c = 0; c < 4; ++c) {
    const auto column = static_cast<unsigned>(n % 8) + c;
    const unsigned shift = 4 * (column / 2 + (column % 2) * 4);
    values.v[c] =
        halfToNumber(scales.v[c]) * (static_cast<float>(word >> shift & 15u) - static_cast<float>(zero >> shift & 15u));
  }
  store(reinterpret_cast<Quad<float>*>(out + i), values);
}

bool isKnown(BlockType type) {
  switch (type) {
    case BlockType::Q4_0:
    case BlockType::Q4_1:
    case BlockType::Q5_0:
    case BlockType::Q5_1:
    case BlockType::Q8_0:
    case BlockType::Q2_K:
    case BlockType::Q3_K:
    case BlockType::Q4_K:
    case BlockType::Q5_K:
    case BlockType::Q6_K:
      return true;
    default:
      return false;
  }
}

}  // namespace

Outcome launchDecodeBlocks(BlockType type, const std::uint8_t* blocks, std::size_t count, float* out, Stream stream) {
  if (!isKnown(type))
    return Outcome::failed(Fault::BadCall, "blocks of type " + std::to_string(static_cast<int>(type)) + " have no kernel");
  if (!isAligned(blocks, 2) || !isAligned(out, 16)) return Outcome::failed(Fault::BadCall, "blocks that are not aligned");
  const BlockShape shape = blockShape(type);
  const std::size_t weights = count * shape.weights, grid = ceilDiv(weights, threads * 4);
  if (weights == 0) return {};
  if (grid > largestGridX) return Outcome::failed(Fault::BadCall, "too many weights at once");
  return launch(decodeBlockQuads, {static_cast<unsigned>(grid), 1}, threads, stagedBytes, stream, type, shape, blocks, weights,
                out);
}

Outcome launchDecodeAwq(const AwqMatrix& packed, float* out, Stream stream) {
  const std::size_t weights = packed.inputs * packed.outputs, grid = ceilDiv(weights, threads * 4);
  if (weights == 0) return {};
  if (packed.outputs % 8 != 0 || packed.groupRows == 0 || !isAligned(out, 16) || !isAligned(packed.scales, 8))
    return Outcome::failed(Fault::BadCall, "an AWQ matrix of " + std::to_string(packed.outputs) + " outputs, or not aligned");
  if (grid > largestGridX) return Outcome::failed(Fault::BadCall, "too many weights at once");
  return launch(decodeAwq, {static_cast<unsigned>(grid), 1}, threads, 0, stream, packed, out);
}

}  // namespace nibble::kernels::NIBBLE_CUDA_SPACE
