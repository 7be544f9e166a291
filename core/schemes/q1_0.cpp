// SPDX-License-Identifier: GPL-3.0-or-later
// Q1_0 (GGUF): 128 weights share one magnitude.
//
//   d = mean |w|, code = 1 where w >= 0, w ~ d (2 code - 1)
//
// Importance weights are ignored. Storage: 18 bytes | d f16 | 16 bytes: sign bits, bit j % 8 of byte j / 8 |
// Reference: ggml 0.25.3 (MIT), byte for byte its default build.
#include "core/schemes/gguf_blocks.h"

namespace nibble {

const Scheme& q1_0Scheme() {
  static const BlockScheme scheme(
      {"q1_0", "Q1_0", "one sign bit a weight, a float16 scale per 128 weights",
       ggufReference, Family::Gguf},
      kernels::BlockType::Q1_0, {Promise::Deterministic, Promise::Idempotent});
  return scheme;
}

}  // namespace nibble
