// SPDX-License-Identifier: GPL-3.0-or-later
// Q4_0 (GGUF): 32 weights share one scale.
//
//   d = (the weight of largest magnitude) / -8, code = trunc(w / d + 8.5) at most 15, w ~ d (code - 8)
//
// With importance weights d and codes come from a search for the least weighted squared error. Codes are chosen with the float32
// d and d is stored as float16: not always the nearest level, but the reference's bytes.
// Storage: 18 bytes | d f16 | 16 bytes: code j low nibble, code j + 16 high |
// Reference: ggml 0.25.3 (MIT), byte for byte its default build.
#include "core/schemes/gguf_blocks.h"

namespace nibble {

const Scheme& q4_0Scheme() {
  static const BlockScheme scheme(
      {"q4_0", "Q4_0", "4-bit codes around zero, a float16 scale per 32 weights",
       ggufReference, Family::Gguf, Needs::ImportanceWeights},
      kernels::BlockType::Q4_0, {Promise::Deterministic, Promise::ZeroStaysZero, Promise::Idempotent});
  return scheme;
}

}  // namespace nibble
