// SPDX-License-Identifier: GPL-3.0-or-later
// Tiling. A thread makes four neighbouring weights, a warp 128: four small blocks, or half a super-block.
//
//     blocks   |d|nibbles........|d|nibbles........| ...   a lane reads the block's numbers and its own four codes' bytes
//     out      |f f f f|f f f f| ...                       16 bytes a thread, 512 a warp
//
// Blocks have even sizes that are no multiples of four, so bytes are read in pairs. Lanes of a block read the same numbers, at
// once. AWQ: two neighbouring threads read one word and make four weights each.
// Bytes: a block's own (0.56 to 1.06 a weight) read and 4 written for each weight. Every weight is written once.
//
// bound decodeBlockQuads registers 40 shared 0
// bound decodeAwq registers 40 shared 0
#include "kernels/cuda/decode_blocks.h"

namespace nibble::kernels::NIBBLE_CUDA_SPACE {
namespace {

constexpr unsigned threads = 256;
using Bytes = const std::uint8_t*;

NIBBLE_DEVICE std::uint32_t pairAt(Bytes at) {
  return load(reinterpret_cast<const std::uint16_t*>(at));
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
NIBBLE_DEVICE void smallCodes(Bytes nibbles, Bytes fifths, unsigned in, int middle, FourCodes& four) {
  const std::uint32_t bytes = fourAt(nibbles + in % 16) >> (in >= 16 ? 4 : 0);
  const std::uint32_t high = fifths != nullptr ? fourAt(fifths) >> in : 0;
  for (unsigned k = 0; k < 4; ++k)
    four.codes[k] = static_cast<int>((bytes >> (8 * k) & 15u) | (high >> k & 1u) << 4) - middle;
}

NIBBLE_DEVICE void smallBlock(BlockType type, Bytes p, unsigned in, FourCodes& four) {
  four.scale = halfAt(p);
  four.hasMinimum = type == BlockType::Q4_1 || type == BlockType::Q5_1;
  if (four.hasMinimum) four.minimum = -halfAt(p + 2);
  if (type == BlockType::Q4_0) smallCodes(p + 2, nullptr, in, 8, four);
  if (type == BlockType::Q4_1) smallCodes(p + 4, nullptr, in, 0, four);
  if (type == BlockType::Q5_0) smallCodes(p + 6, p + 2, in, 16, four);
  if (type == BlockType::Q5_1) smallCodes(p + 8, p + 4, in, 0, four);
  if (type != BlockType::Q8_0) return;
  const std::uint32_t bytes = fourAt(p + 2 + in);
  for (unsigned k = 0; k < 4; ++k) four.codes[k] = static_cast<std::int8_t>(bytes >> (8 * k) & 0xFFu);
}

// Scale and minimum j of eight, six bits each in twelve bytes.
NIBBLE_DEVICE void sixBits(Bytes p, unsigned j, unsigned& scale, unsigned& minimum) {
  if (j < 4) {
    scale = load(p + j) & 63u;
    minimum = load(p + j + 4) & 63u;
    return;
  }
  const unsigned low = load(p + j + 4);
  scale = (low & 15u) | (load(p + j - 4) >> 6u) << 4u;
  minimum = low >> 4u | (load(p + j) >> 6u) << 4u;
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
    const unsigned both = load(p + in / 16);
    four.scale = halfAt(p + 80) * static_cast<float>(both & 15u);
    four.minimum = halfAt(p + 82) * static_cast<float>(both >> 4u);
    four.hasMinimum = true;
  } else if (type == BlockType::Q3_K) {
    low = fourPairs(p + 32, in), mask = 3, middle = 4, highShift = 2;
    high = fourAt(p + in % 32) >> (in / 32);
    const unsigned t = in / 16;
    const unsigned nibble = load(p + 96 + t % 8) >> (t < 8 ? 0u : 4u) & 15u;
    const int six = static_cast<int>(nibble | (load(p + 104 + t % 4) >> (t / 4 * 2) & 3u) << 4);
    four.scale = halfAt(p + 108) * static_cast<float>(six - 32);
  } else if (type == BlockType::Q6_K) {
    low = fourAt(p + in / 128 * 64 + in % 64) >> (in % 128 < 64 ? 0 : 4);
    high = fourPairs(p + 128, in), highMask = 3, middle = 32;
    four.scale = halfAt(p + 208) * signedByte(load(p + 192 + in / 16));
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
  const std::size_t i = (std::size_t{blockX()} * threads + threadIndex()) * 4;
  if (i >= count) return;
  const std::uint8_t* block = blocks + i / shape.weights * shape.bytes;
  const auto in = static_cast<unsigned>(i % shape.weights);
  FourCodes four;
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
  const Quad<std::uint16_t> scales = load(reinterpret_cast<const Quad<std::uint16_t>*>(packed.scales + group * packed.outputs + n));
  Quad<float> values;
  for (unsigned c = 0; c < 4; ++c) {
    const auto column = static_cast<unsigned>(n % 8) + c;
    const unsigned shift = 4 * (column / 2 + (column % 2) * 4);
    values.v[c] = halfToNumber(scales.v[c]) * (static_cast<float>(word >> shift & 15u) - static_cast<float>(zero >> shift & 15u));
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
  return launch(decodeBlockQuads, {static_cast<unsigned>(grid), 1}, threads, 0, stream, type, shape, blocks, weights, out);
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
