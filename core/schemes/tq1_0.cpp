// SPDX-License-Identifier: GPL-3.0-or-later
// TQ1_0 (GGUF): 256 weights share one scale and are -d, 0 or d.
//
//   d = max |w|, code = w / d rounded half away from zero + 1, w ~ d (code - 1)
//
// Importance weights are ignored. Storage: 54 bytes | 48 bytes of five trits | 4 bytes of four | d f16 |; a byte is
// ceil(256/243 * (81 c0 + 27 c1 + 9 c2 + 3 c3 + c4)).
// Reference: ggml 0.25.3 (MIT), byte for byte its default build.
#include "core/schemes/gguf_blocks.h"

namespace nibble {

const Scheme& tq1_0Scheme() {
  static const BlockScheme scheme(
      {"tq1_0", "TQ1_0", "trits, five a byte, a float16 scale per 256 weights",
       ggufReference, Family::Gguf},
      kernels::BlockType::TQ1_0, {Promise::Deterministic, Promise::ZeroStaysZero, Promise::Idempotent});
  return scheme;
}

}  // namespace nibble
