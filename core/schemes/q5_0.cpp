// SPDX-License-Identifier: GPL-3.0-or-later
// Q5_0 (GGUF): 32 weights share one scale.
//
//   d = (the weight of largest magnitude) / -16, code = trunc(w / d + 16.5) at most 31, w ~ d (code - 16)
//
// With importance weights d and codes come from a search. Codes are chosen with the float32 d.
// Storage: 22 bytes | d f16 | 4 bytes: fifth bits, bit j of code j | 16 bytes: low nibbles, j and j + 16 |
// Reference: ggml 0.25.3 (MIT), byte for byte its default build.
#include "core/schemes/gguf_blocks.h"

namespace nibble {

const Scheme& q5_0Scheme() {
  static const BlockScheme scheme(
      {"q5_0", "Q5_0", "5-bit codes around zero, a float16 scale per 32 weights",
       ggufReference, Family::Gguf, Needs::ImportanceWeights},
      kernels::BlockType::Q5_0, {Promise::Deterministic, Promise::ZeroStaysZero, Promise::Idempotent});
  return scheme;
}

}  // namespace nibble
