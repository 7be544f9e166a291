// SPDX-License-Identifier: GPL-3.0-or-later
// Q5_1 (GGUF): 32 weights share a scale and a minimum.
//
//   m = min w, d = (max w - m) / 31, code = trunc((w - m) / d + 0.5), w ~ d code + m
//
// With importance weights d and m come from a search over 37 steps. Codes are chosen with the float32 d and m.
// Storage: 24 bytes | d f16 | m f16 | 4 bytes: fifth bits | 16 bytes: low nibbles, j and j + 16 |
// Reference: ggml 0.25.3 (MIT), byte for byte its default build.
#include "core/schemes/gguf_blocks.h"

namespace nibble {

const Scheme& q5_1Scheme() {
  static const BlockScheme scheme(
      {"q5_1", "Q5_1", "5-bit codes above a minimum, float16 scale and minimum per 32 weights",
       ggufReference, Family::Gguf, Needs::ImportanceWeights},
      kernels::BlockType::Q5_1, {Promise::Deterministic});
  return scheme;
}

}  // namespace nibble
