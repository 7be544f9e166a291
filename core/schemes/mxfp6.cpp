// SPDX-License-Identifier: GPL-3.0-or-later
// MXFP6: 6-bit floats, one power of two for 32 weights.
//
//   e from the block's largest magnitude by `rule` (micro_blocks.cpp), clamped to -127..127
//   code = E2M3 or E3M2 of w / 2^e, ties to even
//
// What is beyond the largest value saturates. A block of zeros has the scale byte 0 and codes 0.
// Storage: a dense string of 6-bit codes, one E8M0 byte a block.
// Reference: OCP Microscaling 1.0, torchao 0.18 (spec uniform 6.2).
#include "core/schemes/micro_blocks.h"

namespace nibble {

const Scheme& mxfp6Scheme() {
  static const MxScheme scheme({{"mxfp6", "MXFP6", "6-bit floats, one power of two for 32 weights",
                                 "OCP Microscaling 1.0, torchao 0.18", Family::Micro},
                                {"e2m3", "e3m2"},
                                false});
  return scheme;
}

}  // namespace nibble
