// SPDX-License-Identifier: GPL-3.0-or-later
// Q2_0 (GGUF): 64 weights share one scale.
//
//   d = max |w|, code = w / d rounded half away from zero + 1 in 0..3, w ~ d (code - 1)
//
// Code 3 (2 d) is legal in a file and never chosen. Importance weights are ignored.
// Storage: 18 bytes | d f16 | 16 bytes: four neighbouring codes each, low bits first |
// Reference: ggml 0.25.3 (MIT), byte for byte its default build.
#include "core/schemes/gguf_blocks.h"

namespace nibble {

const Scheme& q2_0Scheme() {
  static const BlockScheme scheme(
      {"q2_0", "Q2_0", "2-bit codes around zero, a float16 scale per 64 weights",
       ggufReference, Family::Gguf},
      kernels::BlockType::Q2_0, {Promise::Deterministic, Promise::ZeroStaysZero, Promise::Idempotent});
  return scheme;
}

}  // namespace nibble
