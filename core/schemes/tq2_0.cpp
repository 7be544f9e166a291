// SPDX-License-Identifier: GPL-3.0-or-later
// TQ2_0 (GGUF): 256 weights share one scale and are -d, 0 or d.
//
//   d = max |w|, code = w / d rounded half away from zero + 1, w ~ d (code - 1)
//
// Importance weights are ignored. Storage: 66 bytes | 64 bytes: four codes each, 32 weights apart | d f16 |
// Reference: ggml 0.25.3 (MIT), byte for byte its default build.
#include "core/schemes/gguf_blocks.h"

namespace nibble {

const Scheme& tq2_0Scheme() {
  static const BlockScheme scheme(
      {"tq2_0", "TQ2_0", "trits in two bits each, a float16 scale per 256 weights",
       ggufReference, Family::Gguf},
      kernels::BlockType::TQ2_0, {Promise::Deterministic, Promise::ZeroStaysZero, Promise::Idempotent});
  return scheme;
}

}  // namespace nibble
