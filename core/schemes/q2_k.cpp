// SPDX-License-Identifier: GPL-3.0-or-later
// Q2_K (GGUF): super-blocks of 256 weights, runs of 16 with 4-bit scale s and minimum m.
//
//   w ~ d s code - dmin m, code = rne((w + dmin m) / (d s)) in 0..3
//
// s and m come from a search for the least sum of |w| |error| (with importance weights: of weight * error^2).
// Storage: 84 bytes | 16 bytes: s low nibble, m high | 64 bytes: four codes each, 32 weights apart | d f16 | dmin f16 |
// Reference: ggml 0.25.3 (MIT), byte for byte its default build.
#include "core/schemes/gguf_blocks.h"

namespace nibble {

const Scheme& q2_kScheme() {
  static const BlockScheme scheme(
      {"q2_k", "Q2_K", "2-bit codes, 4-bit scales and minima per 16 weights, super-blocks of 256",
       ggufReference, Family::Gguf, Needs::ImportanceWeights},
      kernels::BlockType::Q2_K, {Promise::Deterministic, Promise::NearestLevel});
  return scheme;
}

}  // namespace nibble
