// SPDX-License-Identifier: GPL-3.0-or-later
// Q3_K (GGUF): super-blocks of 256 weights, runs of 16 with a signed 6-bit scale s.
//
//   w ~ d s (code - 4), code = rne(w / (d s)) + 4 in 0..7
//
// The scale of a run is fitted by moving single codes (with importance weights: by a search over 19 steps).
// Storage: 110 bytes | 32 bytes: third bits | 64 bytes: low bits, four codes each | 12 bytes: sixteen s | d f16 |
// Reference: ggml 0.25.3 (MIT), byte for byte its default build.
#include "core/schemes/gguf_blocks.h"

namespace nibble {

const Scheme& q3_kScheme() {
  static const BlockScheme scheme(
      {"q3_k", "Q3_K", "3-bit codes, 6-bit scales per 16 weights, super-blocks of 256",
       ggufReference, Family::Gguf, Needs::ImportanceWeights},
      kernels::BlockType::Q3_K, {Promise::Deterministic, Promise::ZeroStaysZero, Promise::NearestLevel});
  return scheme;
}

}  // namespace nibble
