// SPDX-License-Identifier: GPL-3.0-or-later
// IQ4_XS (GGUF): super-blocks of 256 weights, runs of 32 with a signed 6-bit scale s, the levels of IQ4_NL.
//
//   w ~ d s level[code]
//
// Every run's scale is searched as IQ4_NL's; codes are the nearest levels under the float32 d, which is stored as float16.
// Storage: 136 bytes | d f16 | 2 bytes: high pairs of s | 4 bytes: low nibbles of s | 128 bytes: nibbles, j and j + 16 of 32 |
// Reference: ggml 0.25.3 (MIT), byte for byte its default build.
#include "core/schemes/gguf_blocks.h"

namespace nibble {

const Scheme& iq4_xsScheme() {
  static const BlockScheme scheme(
      {"iq4_xs", "IQ4_XS", "16 levels denser around zero, 6-bit scales per 32 weights, super-blocks of 256",
       ggufReference, Family::Gguf, Needs::ImportanceWeights},
      kernels::BlockType::IQ4_XS, {Promise::Deterministic});
  return scheme;
}

}  // namespace nibble
