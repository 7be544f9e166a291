// SPDX-License-Identifier: GPL-3.0-or-later
// Layouts of codes as little-endian bit streams (low bits first, codes may straddle words) that start anew for each row or each
// column of a matrix, and of rows interleaved within a byte. Used by compressed-tensors, MLX and quanto.
#pragma once
#include "core/quant/layout.h"

namespace nibble {

// One stream along each row, filled up with zero bits to whole 32-bit words.
std::shared_ptr<const Layout> rowStreamLayout(std::uint64_t rows, std::uint64_t columns, int bits);
// One stream down each column: word w of column c is word w * columns + c of the file; filled up to whole 32-bit words.
std::shared_ptr<const Layout> columnStreamLayout(std::uint64_t rows, std::uint64_t columns, int bits);
// Bytes of 8 / bits codes from rows that lie `packedRows` apart: slot k, counted from the low bits, of packed row i holds row
// k * packedRows + i.
std::shared_ptr<const Layout> lowFirstInterleavedLayout(std::uint64_t rows, std::uint64_t columns, int bits);

}  // namespace nibble
