// SPDX-License-Identifier: GPL-3.0-or-later
// Super-blocks of 256 weights whose codes stand for vectors, from the format's description alone. k counts runs of 32 weights, l
// the four vectors (or pairs of them) of a run. "Seven signs": bits 0..6 as stored, bit 7 so that their number is even.
//   IQ2_XXS (16): d, per k: 4 bytes of codes, then 4 x 7 signs and a 4-bit s            d (s + 1/2) / 4
//   IQ2_XS (17): d, per k: 4 words of 9-bit code and 7 signs; 8 bytes of two 4-bit s    d (s + 1/2) / 4
//   IQ2_S (22): d, 32 low bytes of codes, 32 of signs, 8 of two high bits each, 8 bytes of two s
//   IQ3_XXS (18): d, 64 bytes of codes (of 4 weights), per k: 4 x 7 signs and a 4-bit s  d (s + 1/2) / 2
//   IQ3_S (21): d, 64 low bytes of codes, 8 of high bits, 32 of signs, 4 bytes of two s  d (2 s + 1)
//   IQ1_S (19): d, 32 low bytes, per k a word: 4 x 3 high bits, 3-bit s, sign of 1/8     d (2 s + 1) (v +- 1/8)
//   IQ1_M (29): 32 low bytes, 16 of (3 high bits, sign) twice, 4 words of four 3-bit s; d in the words' upper nibbles
// The tables of vectors are facts of the format and shared with the decoder (kernels/math/vector_tables.h).
#include "core/formats/gguf/proof.h"
#include "kernels/math/vector_tables.h"

#include <array>

namespace nibble::proof {
namespace {

using Bytes = const unsigned char*;
using kernels::VectorTable;

unsigned word(Bytes b) {
  return b[0] | static_cast<unsigned>(b[1]) << 8;
}
unsigned longWord(Bytes b) {
  return word(b) | word(b + 2) << 16;
}

unsigned evenSigns(unsigned seven) {
  unsigned odd = 0;
  for (unsigned i = 0; i < 7; ++i) odd ^= seven >> i & 1u;
  return seven | odd << 7;
}

// The vector of `code` times `scale`, element i negated where bit i of `signs` is set.
void put(const VectorTable& table, unsigned code, float scale, unsigned signs, float* w) {
  for (int i = 0; i < table.dimension; ++i) {
    const float value = scale * static_cast<float>(table.at(code, i));
    w[i] = (signs >> i & 1u) != 0 ? -value : value;
  }
}

bool iq2Xxs(Bytes b, float* w) {
  const float d = ggufHalf(b);
  for (unsigned k = 0; k < 8; ++k) {
    const Bytes codes = b + 2 + 8 * k;
    const unsigned rest = longWord(codes + 4);
    const float scale = d * (0.5f + static_cast<float>(rest >> 28)) * 0.25f;
    for (unsigned l = 0; l < 4; ++l) put(kernels::iq2xxsVectors(), codes[l], scale, evenSigns(rest >> (7 * l) & 127u), w + 32 * k + 8 * l);
  }
  return true;
}

float quarterScale(float d, unsigned byte, unsigned l) {
  return d * (0.5f + static_cast<float>(byte >> (l / 2 * 4) & 15u)) * 0.25f;
}
bool iq2Xs(Bytes b, float* w) {
  const float d = ggufHalf(b);
  for (unsigned k = 0; k < 8; ++k) {
    for (unsigned l = 0; l < 4; ++l) {
      const unsigned code = word(b + 2 + 8 * k + 2 * l);
      put(kernels::iq2xsVectors(), code & 511u, quarterScale(d, b[66 + k], l), evenSigns(code >> 9), w + 32 * k + 8 * l);
    }
  }
  return true;
}
bool iq2S(Bytes b, float* w) {
  const float d = ggufHalf(b);
  for (unsigned k = 0; k < 8; ++k) {
    for (unsigned l = 0; l < 4; ++l) {
      const unsigned code = b[2 + 4 * k + l] + 256u * (b[66 + k] >> (2 * l) & 3u);
      put(kernels::iq2sVectors(), code, quarterScale(d, b[74 + k], l), b[34 + 4 * k + l], w + 32 * k + 8 * l);
    }
  }
  return true;
}

bool iq3Xxs(Bytes b, float* w) {
  const float d = ggufHalf(b);
  for (unsigned k = 0; k < 8; ++k) {
    const unsigned rest = longWord(b + 66 + 4 * k);
    const float scale = d * (0.5f + static_cast<float>(rest >> 28)) * 0.5f;
    for (unsigned l = 0; l < 8; ++l) {
      const unsigned signs = evenSigns(rest >> (7 * (l / 2)) & 127u) >> (l % 2 * 4);
      put(kernels::iq3xxsVectors(), b[2 + 8 * k + l], scale, signs, w + 32 * k + 4 * l);
    }
  }
  return true;
}
bool iq3S(Bytes b, float* w) {
  const float d = ggufHalf(b);
  for (unsigned k = 0; k < 8; ++k) {
    const float scale = d * static_cast<float>(1 + 2 * (b[106 + k / 2] >> (k % 2 * 4) & 15));
    for (unsigned l = 0; l < 8; ++l) {
      const unsigned code = b[2 + 8 * k + l] + 256u * (b[66 + k] >> l & 1u);
      put(kernels::iq3sVectors(), code, scale, static_cast<unsigned>(b[74 + 4 * k + l / 2]) >> (l % 2 * 4), w + 32 * k + 4 * l);
    }
  }
  return true;
}

void putShifted(unsigned code, float scale, bool down, float* w) {
  const VectorTable& table = kernels::iq1Vectors();
  for (int i = 0; i < 8; ++i) w[i] = scale * (static_cast<float>(table.at(code, i)) + (down ? -0.125f : 0.125f));
}
bool iq1S(Bytes b, float* w) {
  const float d = ggufHalf(b);
  for (unsigned k = 0; k < 8; ++k) {
    const unsigned high = word(b + 34 + 2 * k);
    const float scale = d * static_cast<float>(2 * (high >> 12 & 7u) + 1);
    for (unsigned l = 0; l < 4; ++l)
      putShifted(b[2 + 4 * k + l] + 256u * (high >> (3 * l) & 7u), scale, (high & 0x8000u) != 0, w + 32 * k + 8 * l);
  }
  return true;
}
bool iq1M(Bytes b, float* w) {
  unsigned bits = 0;
  for (unsigned i = 0; i < 4; ++i) bits |= (word(b + 48 + 2 * i) >> 12) << (4 * i);
  const std::array<unsigned char, 2> half{static_cast<unsigned char>(bits & 255u), static_cast<unsigned char>(bits >> 8)};
  const float d = ggufHalf(half.data());
  for (unsigned v = 0; v < 32; ++v) {  // vectors of 8; two share a scale
    const unsigned high = b[32 + v / 2] >> (v % 2 * 4) & 15u, s = word(b + 48 + v / 8 * 2) >> (v % 8 / 2 * 3) & 7u;
    putShifted(b[v] + 256u * (high & 7u), d * static_cast<float>(2 * s + 1), (high & 8u) != 0, w + 8 * v);
  }
  return true;
}

}  // namespace

std::span<const GgufBlock> vectorGgufBlocks() {
  static constexpr std::array blocks{
      GgufBlock{16, 256, 66, iq2Xxs}, GgufBlock{17, 256, 74, iq2Xs}, GgufBlock{22, 256, 82, iq2S}, GgufBlock{18, 256, 98, iq3Xxs},
      GgufBlock{21, 256, 110, iq3S},  GgufBlock{19, 256, 50, iq1S},  GgufBlock{29, 256, 56, iq1M},
  };
  return blocks;
}

}  // namespace nibble::proof
