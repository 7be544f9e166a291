// SPDX-License-Identifier: GPL-3.0-or-later
// GGUF's blocks of one or two bits and of trits, each with one float16 scale d:
//   tq1_0  256 weights, x ~ d (code - 1), codes 0..2, five trits a byte: q = sum 3^(4-k) code_k, byte = ceil(q * 256 / 243)
//   tq2_0  256 weights, the same codes in two bits
//   q2_0   64 weights, x ~ d (code - 1), codes 0..3
//   q1_0   128 weights, x ~ +-d by the sign bit, d = mean |x|
// elsewhere d = max |x|. Rounding is half away from zero; importance weights are ignored.
// Source: ggml 0.25.3 (MIT), ggml-quants.c.
#pragma once
#include "kernels/math/blocks_legacy.h"

namespace nibble::kernels {

// `count` trits, `stride` apart, in one byte; a missing fifth is 0.
inline std::uint8_t tritByte(const float* x, float inverse, int count, std::size_t stride) {
  unsigned q = 0;
  for (int k = 0; k < 5; ++k)
    q = 3 * q + (k < count ? static_cast<unsigned>(roundHalfAway(x[static_cast<std::size_t>(k) * stride] * inverse) + 1) : 0u);
  return static_cast<std::uint8_t>(((q & 0xFFu) * 256 + 242) / 243);
}

inline void encodeTQ1_0(const BlockInput& in, std::uint8_t* out) {
  const float d = largestMagnitude(in.x, 256), inverse = reciprocalOrZero(d);
  for (std::size_t j = 0; j < 32; ++j) out[j] = tritByte(in.x + j, inverse, 5, 32);
  for (std::size_t j = 0; j < 16; ++j) out[32 + j] = tritByte(in.x + 160 + j, inverse, 5, 16);
  for (std::size_t j = 0; j < 4; ++j) out[48 + j] = tritByte(in.x + 240 + j, inverse, 4, 4);
  storeHalf(out + 52, d);
}

inline void encodeTQ2_0(const BlockInput& in, std::uint8_t* out) {
  const float d = largestMagnitude(in.x, 256), inverse = reciprocalOrZero(d);
  std::uint8_t codes[256];
  for (int j = 0; j < 256; ++j) codes[j] = static_cast<std::uint8_t>(roundHalfAway(in.x[j] * inverse) + 1);
  packPairs(codes, 0, out);
  storeHalf(out + 64, d);
}

inline void encodeQ2_0(const BlockInput& in, std::uint8_t* out) {
  const float d = largestMagnitude(in.x, 64), inverse = d > 0.0f ? 1.0f / d : 0.0f;
  storeHalf(out, d);
  for (int byte = 0; byte < 16; ++byte) {
    unsigned bits = 0;
    for (int k = 0; k < 4; ++k) {
      const float scaled = in.x[4 * byte + k] * inverse;
      // A denormal d has an infinite inverse; the machine's conversion of what comes of it is the smallest integer.
      const int code = std::isfinite(scaled) ? clampedTo(roundHalfAway(scaled) + 1, 0, 3) : 0;
      bits |= static_cast<unsigned>(code) << (2 * k);
    }
    out[2 + byte] = static_cast<std::uint8_t>(bits);
  }
}

inline void encodeQ1_0(const BlockInput& in, std::uint8_t* out) {
  float sum = 0;
  for (int j = 0; j < 128; ++j) sum += std::fabs(in.x[j]);
  storeHalf(out, sum / 128.0f);
  for (int byte = 0; byte < 16; ++byte) {
    unsigned bits = 0;
    for (int k = 0; k < 8; ++k) bits |= (in.x[8 * byte + k] >= 0.0f ? 1u : 0u) << k;
    out[2 + byte] = static_cast<std::uint8_t>(bits);
  }
}

}  // namespace nibble::kernels
