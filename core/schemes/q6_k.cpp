// SPDX-License-Identifier: GPL-3.0-or-later
// Q6_K (GGUF): super-blocks of 256 weights, runs of 16 with a signed 8-bit scale s.
//
//   w ~ d s (code - 32), code = rne(w / (d s)) + 32 in 0..63
//
// s comes from a search over 19 steps, weighted by w^2 or by the importance weights themselves.
// Storage: 210 bytes | 128 bytes: low nibbles | 64 bytes: high pairs, four codes each | 16 signed bytes: s | d f16 |
// Reference: ggml 0.25.3 (MIT), byte for byte its default build.
#include "core/schemes/gguf_blocks.h"

namespace nibble {

const Scheme& q6_kScheme() {
  static const BlockScheme scheme(
      {"q6_k", "Q6_K", "6-bit codes, 8-bit scales per 16 weights, super-blocks of 256",
       ggufReference, Family::Gguf, Needs::ImportanceWeights},
      kernels::BlockType::Q6_K, {Promise::Deterministic, Promise::ZeroStaysZero, Promise::NearestLevel});
  return scheme;
}

}  // namespace nibble
