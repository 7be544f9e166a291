// SPDX-License-Identifier: GPL-3.0-or-later
// MXINT8: 8-bit fixed point, one power of two for 32 weights.
//
//   e from the block's largest magnitude by `rule` (micro_blocks.cpp), clamped to -127..127
//   code = clamp(rne(64 w / 2^e), -127, 127), two's complement, w ~ 2^e * code / 64
//
// What is beyond the largest value saturates. A block of zeros has the scale byte 0 and codes 0.
// Storage: one byte a code, one E8M0 byte a block. The code -128 is not used, as the specification allows.
// Reference: OCP Microscaling 1.0 (spec uniform 6.2).
#include "core/schemes/micro_blocks.h"

namespace nibble {

const Scheme& mxint8Scheme() {
  static const MxScheme scheme({{"mxint8", "MXINT8", "8-bit fixed point, one power of two for 32 weights",
                                 "OCP Microscaling 1.0", Family::Micro},
                                {"int8"},
                                false});
  return scheme;
}

}  // namespace nibble
