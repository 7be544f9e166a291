// SPDX-License-Identifier: GPL-3.0-or-later
// Blocks of one scale, from the format's description alone. "Halves": of b bytes of nibbles the low ones are the block's first
// weights, the high ones the others.
//   Q4_0 (2): d, 16 bytes of halves, d (q - 8)           Q4_1 (3): d, m, halves, d q + m
//   Q5_0 (6): d, 32 fifth bits, halves, d (q - 16)       Q5_1 (7): d, m, fifth bits, halves
//   Q8_0 (8): d, 32 signed bytes                         IQ4_NL (20): as Q4_0 with a table
//   TQ1_0 (34): 32, 16, 4 bytes of base-3 digits (the most significant first, a byte is ceil(number * 256 / 243)), d
//   TQ2_0 (35): two runs of 32 bytes, four codes each, d; both d (q - 1)
//   MXFP4 (39): exponent byte, halves of E2M1            NVFP4 (40): four E4M3 bytes, then halves of 16 weights
//   Q1_0 (41): d, 128 bits, d or -d                      Q2_0 (42): d, 64 codes of 2 bits, d (q - 1)
#include "core/formats/gguf/proof.h"

#include <array>
#include <cmath>

namespace nibble::proof {
namespace {

using Bytes = const unsigned char*;

unsigned half(Bytes nibbles, unsigned i, unsigned weights) {
  return i < weights / 2 ? nibbles[i] & 15u : nibbles[i - weights / 2] >> 4u;
}
unsigned fifth(Bytes bits, unsigned i) {
  return static_cast<unsigned>(bits[i / 8] >> (i % 8) & 1) << 4;
}

bool q4_0(Bytes b, float* w) {
  const float d = ggufHalf(b);
  for (unsigned i = 0; i < 32; ++i) w[i] = d * (static_cast<float>(half(b + 2, i, 32)) - 8.0f);
  return true;
}
bool q4_1(Bytes b, float* w) {
  const float d = ggufHalf(b), m = ggufHalf(b + 2);
  for (unsigned i = 0; i < 32; ++i) w[i] = d * static_cast<float>(half(b + 4, i, 32)) + m;
  return std::isfinite(d) && std::isfinite(m);
}
bool q5_0(Bytes b, float* w) {
  const float d = ggufHalf(b);
  for (unsigned i = 0; i < 32; ++i) w[i] = d * (static_cast<float>(half(b + 6, i, 32) + fifth(b + 2, i)) - 16.0f);
  return true;
}
bool q5_1(Bytes b, float* w) {
  const float d = ggufHalf(b), m = ggufHalf(b + 2);
  for (unsigned i = 0; i < 32; ++i) w[i] = d * static_cast<float>(half(b + 8, i, 32) + fifth(b + 4, i)) + m;
  return std::isfinite(d) && std::isfinite(m);
}
bool q8_0(Bytes b, float* w) {
  const float d = ggufHalf(b);
  for (unsigned i = 0; i < 32; ++i) w[i] = d * static_cast<float>(static_cast<signed char>(b[2 + i]));
  return true;
}
bool iq4Nl(Bytes b, float* w) {
  static constexpr std::array<float, 16> table{-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};
  const float d = ggufHalf(b);
  for (unsigned i = 0; i < 32; ++i) w[i] = d * table[half(b + 2, i, 32)];
  return true;
}

// The digits of a byte, the most significant of `count` first; false: no number of so many digits is written so.
bool digits(unsigned byte, unsigned count, std::array<unsigned, 5>& out) {
  for (unsigned number = 0; number < 243; number += count == 5 ? 1 : 3) {
    if ((number * 256 + 242) / 243 != byte) continue;
    for (unsigned k = 0, rest = number, unit = 81; k < 5; ++k, rest %= unit, unit /= 3) {
      out[k] = rest / unit;
      if (unit == 1) break;
    }
    return true;
  }
  return false;
}
bool tq1_0(Bytes b, float* w) {
  const float d = ggufHalf(b + 52);
  const struct { unsigned bytes, count; } runs[] = {{32, 5}, {16, 5}, {4, 4}};
  for (const auto& run : runs) {
    for (unsigned i = 0; i < run.bytes; ++i) {
      std::array<unsigned, 5> trits{};
      if (!digits(*b++, run.count, trits)) return false;
      for (unsigned k = 0; k < run.count; ++k) w[k * run.bytes + i] = d * (static_cast<float>(trits[k]) - 1.0f);
    }
    w += run.bytes * run.count;
  }
  return true;
}
bool tq2_0(Bytes b, float* w) {
  const float d = ggufHalf(b + 64);
  for (unsigned i = 0; i < 256; ++i) {
    const unsigned code = b[i / 128 * 32 + i % 32] >> (i % 128 / 32 * 2) & 3u;
    if (code == 3) return false;
    w[i] = d * (static_cast<float>(code) - 1.0f);
  }
  return true;
}

float e2m1(unsigned code) {
  static constexpr std::array<float, 8> magnitudes{0, 0.5f, 1, 1.5f, 2, 3, 4, 6};
  return code < 8 ? magnitudes[code] : -magnitudes[code - 8];
}
bool mxfp4(Bytes b, float* w) {
  if (b[0] == 255) return false;
  const float d = std::ldexp(1.0f, static_cast<int>(b[0]) - 127);
  for (unsigned i = 0; i < 32; ++i) w[i] = d * e2m1(half(b + 1, i, 32));
  return true;
}
float e4m3(unsigned byte) {
  const int exponent = static_cast<int>(byte >> 3 & 15u), fraction = static_cast<int>(byte & 7u);
  return exponent == 0 ? std::ldexp(static_cast<float>(fraction), -9) : std::ldexp(static_cast<float>(8 + fraction), exponent - 10);
}
bool nvfp4(Bytes b, float* w) {
  for (unsigned k = 0; k < 4; ++k)
    if (b[k] >= 0x7F) return false;  // negative or no number: ggml would read one into it
  for (unsigned i = 0; i < 64; ++i) w[i] = e4m3(b[i / 16]) * e2m1(half(b + 4 + i / 16 * 8, i % 16, 16));
  return true;
}
bool q1_0(Bytes b, float* w) {
  const float d = ggufHalf(b);
  for (unsigned i = 0; i < 128; ++i) w[i] = (b[2 + i / 8] >> (i % 8) & 1) != 0 ? d : -d;
  return true;
}
bool q2_0(Bytes b, float* w) {
  const float d = ggufHalf(b);
  for (unsigned i = 0; i < 64; ++i) w[i] = d * (static_cast<float>(b[2 + i / 4] >> (i % 4 * 2) & 3) - 1.0f);
  return true;
}

}  // namespace

std::span<const GgufBlock> plainGgufBlocks() {
  static constexpr std::array blocks{
      GgufBlock{2, 32, 18, q4_0},    GgufBlock{3, 32, 20, q4_1},    GgufBlock{6, 32, 22, q5_0},    GgufBlock{7, 32, 24, q5_1},
      GgufBlock{8, 32, 34, q8_0},    GgufBlock{20, 32, 18, iq4Nl},  GgufBlock{34, 256, 54, tq1_0}, GgufBlock{35, 256, 66, tq2_0},
      GgufBlock{39, 32, 17, mxfp4},  GgufBlock{40, 64, 36, nvfp4},  GgufBlock{41, 128, 18, q1_0},  GgufBlock{42, 64, 18, q2_0},
  };
  return blocks;
}

}  // namespace nibble::proof
