// SPDX-License-Identifier: GPL-3.0-or-later
// IQ4_NL (GGUF): 32 weights share one scale, codes name one of 16 fixed levels, none of which is 0.
//
//   w ~ d level[code], levels -127 -104 -83 -65 -49 -35 -22 -10 1 13 25 38 53 69 89 113
//
// d comes from a search over 16 steps, weighted by w^2 or importance. Codes are the nearest levels under the float32 d.
// Storage: 18 bytes | d f16 | 16 bytes: code j low nibble, code j + 16 high |
// Reference: ggml 0.25.3 (MIT), byte for byte its default build.
#include "core/schemes/gguf_blocks.h"

namespace nibble {

const Scheme& iq4_nlScheme() {
  static const BlockScheme scheme(
      {"iq4_nl", "IQ4_NL", "16 levels denser around zero, a float16 scale per 32 weights",
       ggufReference, Family::Gguf, Needs::ImportanceWeights},
      kernels::BlockType::IQ4_NL, {Promise::Deterministic});
  return scheme;
}

}  // namespace nibble
