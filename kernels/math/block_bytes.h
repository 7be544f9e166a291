// SPDX-License-Identifier: GPL-3.0-or-later
// How codes and scales of GGUF's block types become bytes: pure bit moving, shared by every quantizer of a type.
// `codes` are one byte per weight of a block, in the order of the weights. Source: ggml 0.25.3 (MIT), ggml-common.h.
#pragma once
#include "kernels/math/minifloat.h"

#include <cstddef>
#include <cstdint>

namespace nibble::kernels {

// Stores a float16 and gives back what it decodes to.
inline float storeHalf(std::uint8_t* out, float value) {
  const std::uint16_t half = floatToHalf(value);
  out[0] = static_cast<std::uint8_t>(half & 0xFF);
  out[1] = static_cast<std::uint8_t>(half >> 8);
  return halfToFloat(half);
}

// Byte j holds weights j (low nibble) and j + distance; `count` weights in runs of 2 * distance.
inline void packNibbles(const std::uint8_t* codes, std::size_t count, std::size_t distance, std::uint8_t* out) {
  for (std::size_t run = 0; run < count; run += 2 * distance, out += distance)
    for (std::size_t j = 0; j < distance; ++j)
      out[j] = static_cast<std::uint8_t>((codes[run + j] & 15) | ((codes[run + j + distance] & 15) << 4));
}

// Of every 128 weights byte j holds the two bits at `shift` of weights j, j + 32, j + 64, j + 96, low bits first.
inline void packPairs(const std::uint8_t* codes, int shift, std::uint8_t* out) {
  for (std::size_t run = 0; run < 256; run += 128, out += 32)
    for (std::size_t j = 0; j < 32; ++j) {
      const std::uint8_t* c = codes + run + j;
      out[j] = static_cast<std::uint8_t>(((c[0] >> shift) & 3) | (((c[32] >> shift) & 3) << 2) | (((c[64] >> shift) & 3) << 4) |
                                         (((c[96] >> shift) & 3) << 6));
    }
}

// Bit `shift` of 256 codes: bit k of byte j belongs to weight 32 k + j.
inline void packBitPlane(const std::uint8_t* codes, int shift, std::uint8_t* out) {
  for (std::size_t j = 0; j < 32; ++j) {
    unsigned bits = 0;
    for (std::size_t k = 0; k < 8; ++k) bits |= ((codes[32 * k + j] >> shift) & 1u) << k;
    out[j] = static_cast<std::uint8_t>(bits);
  }
}

// Bit 4 of 32 codes in four bytes: bit j of the little-endian word belongs to weight j.
inline void packFifthBits(const std::uint8_t* codes, std::uint8_t* out) {
  std::uint32_t bits = 0;
  for (unsigned j = 0; j < 32; ++j) bits |= ((codes[j] >> 4) & 1u) << j;
  for (unsigned k = 0; k < 4; ++k) out[k] = static_cast<std::uint8_t>(bits >> (8 * k));
}

// Eight 6-bit scales and eight 6-bit minima in 12 bytes (q4_k, q5_k): bytes 0-3 and 4-7 hold the first four of each, bytes 8-11
// the low nibbles of the others, whose upper two bits fill bytes 0-7.
inline void packSixBitPairs(const std::uint8_t* scales, const std::uint8_t* minima, std::uint8_t* out) {
  for (std::size_t j = 0; j < 4; ++j) {
    out[j] = static_cast<std::uint8_t>(scales[j] | (scales[j + 4] >> 4) << 6);
    out[j + 4] = static_cast<std::uint8_t>(minima[j] | (minima[j + 4] >> 4) << 6);
    out[j + 8] = static_cast<std::uint8_t>((scales[j + 4] & 15) | (minima[j + 4] & 15) << 4);
  }
}

struct SixBitPair {
  int scale, minimum;
};
inline SixBitPair sixBitPair(const std::uint8_t* packed, std::size_t j) {
  if (j < 4) return {packed[j] & 63, packed[j + 4] & 63};
  return {(packed[j + 4] & 15) | (packed[j - 4] >> 6) << 4, (packed[j + 4] >> 4) | (packed[j] >> 6) << 4};
}

// Sixteen 6-bit scales in 12 bytes (q3_k): low nibbles of 0-7 and 8-15 in bytes 0-7, upper pairs of j in byte 8 + j % 4.
inline void packSixBits(const std::uint8_t* scales, std::uint8_t* out) {
  for (std::size_t j = 0; j < 8; ++j) out[j] = static_cast<std::uint8_t>((scales[j] & 15) | (scales[j + 8] & 15) << 4);
  for (std::size_t j = 0; j < 4; ++j)
    out[j + 8] = static_cast<std::uint8_t>((scales[j] >> 4 & 3) | (scales[j + 4] >> 4 & 3) << 2 | (scales[j + 8] >> 4 & 3) << 4 |
                                           (scales[j + 12] >> 4 & 3) << 6);
}

// Low nibbles and upper pairs of 6-bit codes (q6_k), 128 weights at a time: ql byte j of 64 holds weights j and j + 64.
inline void packSixBitCodes(const std::uint8_t* codes, std::uint8_t* low, std::uint8_t* high) {
  packNibbles(codes, 256, 64, low);
  packPairs(codes, 4, high);
}

}  // namespace nibble::kernels
