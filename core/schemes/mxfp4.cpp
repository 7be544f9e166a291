// SPDX-License-Identifier: GPL-3.0-or-later
// MXFP4: 4-bit floats, one power of two for 32 weights.
//
//   e from the block's largest magnitude by `rule` (micro_blocks.cpp), clamped to -127..127
//   code = E2M1 of w / 2^e (0 0.5 1 1.5 2 3 4 6), ties to even; variant=ggml: ties to the smaller magnitude, as GGUF does
//
// What is beyond the largest value saturates. A block of zeros has the scale byte 0 and codes 0.
// Storage: bytes of two codes, the first in the low nibble (ggml: byte j holds weights j and j + 16), one E8M0 byte a block.
// Reference: OCP Microscaling 1.0, torchao 0.18; ggml 0.25 (mxfp4) (spec uniform 6.2).
#include "core/schemes/micro_blocks.h"

namespace nibble {

const Scheme& mxfp4Scheme() {
  static const MxScheme scheme({{"mxfp4", "MXFP4", "4-bit floats, one power of two for 32 weights",
                                 "OCP Microscaling 1.0, torchao 0.18; ggml 0.25 (mxfp4)", Family::Micro},
                                {"e2m1"},
                                true});
  return scheme;
}

}  // namespace nibble
