// SPDX-License-Identifier: GPL-3.0-or-later
// Super-blocks of 256 weights, from the format's description alone; i is a weight's place in the block.
//   Q2_K (10): 16 bytes (scale low, minimum high), 64 of codes, d, dmin            d s q - dmin m, s and m of i / 16
//   Q3_K (11): 32 bytes of third bits, 64 of codes, 12 of 6-bit scales, d          d (s - 32) (q - 4), s of i / 16
//   Q4_K (12), Q5_K (13): d, dmin, 12 bytes of 6-bit s and m, (32 of fifth bits,) 128 of nibbles    s and m of i / 32
//   Q6_K (14): 128 bytes of low nibbles, 64 of high bits, 16 signed scales, d      d s (q - 32), s of i / 16
//   IQ4_XS (23): d, high bits of the scales, low ones, nibbles in halves of 32     d (s - 32) table[q], s of i / 32
#include "core/formats/gguf/proof.h"

#include <array>
#include <cmath>

namespace nibble::proof {
namespace {

using Bytes = const unsigned char*;

// Codes of two bits: in each run of 128 weights, 32 bytes hold weights l, l + 32, l + 64, l + 96.
unsigned twoBits(Bytes b, unsigned i) {
  return b[i / 128 * 32 + i % 32] >> (i % 128 / 32 * 2) & 3u;
}
// Nibbles: in each run of 64 weights, 32 bytes hold weights l and l + 32.
unsigned fourBits(Bytes b, unsigned i) {
  return b[i / 64 * 32 + i % 32] >> (i % 64 / 32 * 4) & 15u;
}

bool q2K(Bytes b, float* w) {
  const float d = ggufHalf(b + 80), dmin = ggufHalf(b + 82);
  for (unsigned i = 0; i < 256; ++i) {
    const float scale = d * static_cast<float>(b[i / 16] & 15), minimum = dmin * static_cast<float>(b[i / 16] >> 4);
    w[i] = scale * static_cast<float>(twoBits(b + 16, i)) - minimum;
  }
  return std::isfinite(d) && std::isfinite(dmin);
}

bool q3K(Bytes b, float* w) {
  const float d = ggufHalf(b + 108);
  const Bytes scales = b + 96;
  for (unsigned i = 0; i < 256; ++i) {
    const unsigned k = i / 16;
    const unsigned low = k < 8 ? scales[k] & 15u : scales[k - 8] >> 4u, high = scales[8 + k % 4] >> (k / 4 * 2) & 3u;
    const unsigned third = b[i % 32] >> (i / 32) & 1u;
    const float scale = d * (static_cast<float>(low + 16 * high) - 32.0f);
    w[i] = scale * (static_cast<float>(twoBits(b + 32, i) + 4 * third) - 4.0f);
  }
  return true;
}

// Eight scales and eight minima of 6 bits: the first four of each in bytes 0..3 and 4..7, of the others the low nibbles in bytes
// 8..11 (scale low, minimum high) and the upper two bits on top of the first ones.
unsigned sixBits(Bytes b, unsigned k, bool minimum) {
  const unsigned first = minimum ? 4 : 0;
  if (k < 4) return b[first + k] & 63u;
  return (b[4 + k] >> (minimum ? 4 : 0) & 15u) + 16u * (b[first + k - 4] >> 6u);
}

bool q45K(Bytes b, Bytes fifth, Bytes nibbles, float* w) {
  const float d = ggufHalf(b), dmin = ggufHalf(b + 2);
  for (unsigned i = 0; i < 256; ++i) {
    const unsigned k = i / 32, more = fifth == nullptr ? 0u : fifth[i % 32] >> k & 1u;
    const float scale = d * static_cast<float>(sixBits(b + 4, k, false)), minimum = dmin * static_cast<float>(sixBits(b + 4, k, true));
    w[i] = scale * static_cast<float>(fourBits(nibbles, i) + 16 * more) - minimum;
  }
  return std::isfinite(d) && std::isfinite(dmin);
}
bool q4K(Bytes b, float* w) {
  return q45K(b, nullptr, b + 16, w);
}
bool q5K(Bytes b, float* w) {
  return q45K(b, b + 16, b + 48, w);
}

bool q6K(Bytes b, float* w) {
  const float d = ggufHalf(b + 208);
  for (unsigned i = 0; i < 256; ++i) {
    const unsigned inRun = i % 128, low = b[i / 128 * 64 + inRun % 64] >> (inRun / 64 * 4) & 15u;
    const float scale = d * static_cast<float>(static_cast<signed char>(b[192 + i / 16]));
    w[i] = scale * (static_cast<float>(low + 16 * twoBits(b + 128, i)) - 32.0f);
  }
  return true;
}

bool iq4Xs(Bytes b, float* w) {
  static constexpr std::array<float, 16> table{-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};
  const float d = ggufHalf(b);
  const unsigned high = b[2] | b[3] << 8;
  for (unsigned i = 0; i < 256; ++i) {
    const unsigned k = i / 32, place = i % 32, low = b[4 + k / 2] >> (k % 2 * 4) & 15u;
    const float scale = d * (static_cast<float>(low + 16 * (high >> (2 * k) & 3u)) - 32.0f);
    w[i] = scale * table[b[8 + 16 * k + place % 16] >> (place / 16 * 4) & 15u];
  }
  return true;
}

}  // namespace

std::span<const GgufBlock> superGgufBlocks() {
  static constexpr std::array blocks{GgufBlock{10, 256, 84, q2K},  GgufBlock{11, 256, 110, q3K}, GgufBlock{12, 256, 144, q4K},
                                     GgufBlock{13, 256, 176, q5K}, GgufBlock{14, 256, 210, q6K}, GgufBlock{23, 256, 136, iq4Xs}};
  return blocks;
}

}  // namespace nibble::proof
