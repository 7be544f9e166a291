// SPDX-License-Identifier: GPL-3.0-or-later
// Q4_K (GGUF): super-blocks of 256 weights, runs of 32 with 6-bit scale s and minimum m.
//
//   w ~ d s code - dmin m, code = rne((w + dmin m) / (d s)) in 0..15
//
// s and m come from a search over 21 steps (with importance weights 37, and a fit of d and dmin).
// Storage: 144 bytes | d f16 | dmin f16 | 12 bytes: eight s, eight m | 128 bytes: of every 64 codes j low nibble, j + 32 high |
// Reference: ggml 0.25.3 (MIT), byte for byte its default build.
#include "core/schemes/gguf_blocks.h"

namespace nibble {

const Scheme& q4_kScheme() {
  static const BlockScheme scheme(
      {"q4_k", "Q4_K", "4-bit codes, 6-bit scales and minima per 32 weights, super-blocks of 256",
       ggufReference, Family::Gguf, Needs::ImportanceWeights},
      kernels::BlockType::Q4_K, {Promise::Deterministic, Promise::NearestLevel});
  return scheme;
}

}  // namespace nibble
