// SPDX-License-Identifier: GPL-3.0-or-later
// Q8_0 (GGUF): 32 weights share one scale.
//
//   d = max |w| / 127, code = w / d rounded half away from zero, w ~ d code
//
// Importance weights are ignored. Storage: 34 bytes | d f16 | 32 signed bytes |
// Reference: ggml 0.25.3 (MIT), byte for byte its default build.
#include "core/schemes/gguf_blocks.h"

namespace nibble {

const Scheme& q8_0Scheme() {
  static const BlockScheme scheme(
      {"q8_0", "Q8_0", "signed bytes, a float16 scale per 32 weights",
       ggufReference, Family::Gguf},
      kernels::BlockType::Q8_0, {Promise::Deterministic, Promise::ZeroStaysZero, Promise::Idempotent});
  return scheme;
}

}  // namespace nibble
