// SPDX-License-Identifier: GPL-3.0-or-later
// Q5_K (GGUF): super-blocks of 256 weights, runs of 32 with 6-bit scale s and minimum m.
//
//   w ~ d s code - dmin m, code = rne((w + dmin m) / (d s)) in 0..31
//
// s and m come from a search over 16 steps (with importance weights 37, and a fit of d and dmin).
// Storage: 176 bytes | d f16 | dmin f16 | 12 bytes: eight s, eight m | 32 bytes: fifth bits | 128 bytes: low nibbles |
// Reference: ggml 0.25.3 (MIT), byte for byte its default build.
#include "core/schemes/gguf_blocks.h"

namespace nibble {

const Scheme& q5_kScheme() {
  static const BlockScheme scheme(
      {"q5_k", "Q5_K", "5-bit codes, 6-bit scales and minima per 32 weights, super-blocks of 256",
       ggufReference, Family::Gguf, Needs::ImportanceWeights},
      kernels::BlockType::Q5_K, {Promise::Deterministic, Promise::NearestLevel});
  return scheme;
}

}  // namespace nibble
