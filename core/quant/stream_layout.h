// SPDX-License-Identifier: GPL-3.0-or-later
// Codes of one output channel as one little-endian stream of bits down the input, in 32-bit words that stand a row of outputs
// apart: the layout of EXL2 and MBWQ. Widths may change from input to input; a width's whole run must fill whole words.
//
//   word r of output n stands at [r, n] of an I32 matrix with `outputs` columns
//   stored input k of width b begins at bit  p = sum of the widths before it:  word p / 32, bit p % 32; the rest in word + 1
#pragma once
#include "core/quant/layout.h"

#include <cstdint>
#include <memory>
#include <vector>

namespace nibble {

// `widths`: bits of each stored input column, their sum a multiple of 32. `rows` outputs of a matrix that has `outputs` of them
// (padding: outputs beyond `rows` hold 0 here).
std::shared_ptr<const Layout> inputStreamLayout(std::uint64_t rows, std::uint64_t outputs, std::vector<std::uint8_t> widths);

}  // namespace nibble
