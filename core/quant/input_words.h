// SPDX-License-Identifier: GPL-3.0-or-later
// Codes in 32-bit words that run down the input dimension, as GPTQ's qweight has them: for each output channel, 32 consecutive
// inputs fill `bits` words as one little-endian bit string; word w of all outputs stands before word w + 1 of any.
//   word (k / 32 * bits + i) of output n lies at [k / 32 * bits + i, n] of an array [words, out]
// Inputs that do not fill the last words leave zeros there. For 2, 4 and 8 bits a code never crosses a word.
#pragma once
#include "core/quant/layout.h"

namespace nibble {

std::shared_ptr<const Layout> inputWordLayout(std::uint64_t rows, std::uint64_t columns, int bits);

}  // namespace nibble
