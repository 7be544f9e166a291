// SPDX-License-Identifier: GPL-3.0-or-later
// One group of weights down to the bits: which weights share the chosen cell's parameters, what code each has, what the codes stand
// for, and where a code lies in the packed bytes of a layout. Groups above `membersMost` show the part around the cell. Parameters
// may be replaced by dragged ones (what if); codes are then the nearest levels. Pure, any thread.
#pragma once
#include "core/quant/layout.h"
#include "ui/session/matrix_source.h"
#include "ui/session/session_state.h"

#include <optional>
#include <string>
#include <vector>

namespace nibble {

inline constexpr std::uint64_t membersMost = 256;

struct MicroscopeGroup {
  std::vector<Cell> cells;            // of the members, in stored order
  std::vector<std::uint64_t> stored;  // their places in the stored order
  std::vector<double> weights;
  std::vector<std::int64_t> codes;    // as stored
  std::vector<int> levelOf;           // by member: index into levels
  std::vector<double> levels;
  int selected = -1;                  // the chosen cell
  std::uint64_t size = 0;             // of the whole group
  double scale = 1, zero = 0;         // zero in codes
  bool hasScale = false, hasZero = false, affine = false;
  double meanSquaredError = 0;        // of the members shown
  double ownMeanSquaredError = 0;     // under the scheme's own parameters

  [[nodiscard]] double value(int member) const { return levels.empty() ? 0 : levels[static_cast<std::size_t>(levelOf[static_cast<std::size_t>(member)])]; }
};

MicroscopeGroup microscopeGroup(const QuantizedTensor& quantized, const MatrixSource& source, const Cell& cell,
                                const std::optional<WhatIf>& whatIf);

// Bits and printed word of one code. `packed` are the layout's bytes of all codes.
struct CodePlace {
  std::vector<bool> bits;             // of the code, highest first
  std::string hex;                    // the word that holds the code's highest bit, highest digit first
  std::vector<bool> ours;             // by digit: holds bits of this code
  std::uint64_t word = 0;
  int highBit = 0, lowBit = 0;        // of the code within that word
  int wordBits = 8;
};

CodePlace codePlace(const QuantizedTensor& quantized, const Layout& layout, const std::vector<std::byte>& packed, std::uint64_t stored);

}  // namespace nibble
