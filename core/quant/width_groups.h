// SPDX-License-Identifier: GPL-3.0-or-later
// Groups of consecutive stored inputs with a code width each, as EXL2 and MBWQ write them: a table of 16-bit pairs (bits, first
// 32-bit row of codes), one per group. A group of n inputs of b bits takes n * b / 32 rows.
// Source: exllamav2 0.3.2, bitorch-engine 0.2.6.
#pragma once
#include "core/base/result.h"
#include "core/quant/quantized_tensor.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace nibble {

struct WidthGroup {
  std::uint8_t bits = 4;     // 8 6 5 4 3 2
  std::uint64_t inputs = 0;  // a multiple of 32
  bool operator==(const WidthGroup&) const = default;
};

inline constexpr std::array<std::uint8_t, 6> groupWidths{8, 6, 5, 4, 3, 2};  // the order groups must stand in

// Why no file can hold these groups (an unknown width, not a multiple of 32 inputs, not by descending width, a table that
// overflows); none: it can.
std::optional<std::string> refusalOf(std::span<const WidthGroup> groups);

std::uint64_t inputCount(std::span<const WidthGroup> groups);
std::uint64_t packedRows(std::span<const WidthGroup> groups);
std::vector<std::uint8_t> widthsOf(std::span<const WidthGroup> groups);         // of each stored input
std::vector<std::uint32_t> indexOf(std::span<const WidthGroup> groups);         // group of each stored input
WidthPlane widthPlane(std::uint64_t rows, std::span<const WidthGroup> groups);  // with its table
// Half the codes of each input's width (2^(bits-1)), implied: what symmetric codes count from.
Plane middles(std::uint64_t rows, std::span<const WidthGroup> groups);

std::vector<std::byte> groupTable(std::span<const WidthGroup> groups);
// Checks what `refusalOf` does (with unsigned row numbers), and that the rows of the codes are filled exactly.
Result<std::vector<WidthGroup>> parseGroupTable(std::span<const std::byte> table, std::uint64_t codeRows);

// Where each width ends, counted in stored inputs, in the order of groupWidths; then the mask of the widths there are
// (bit b - 1 for width b). What MBWQ calls `rows`.
std::array<std::uint64_t, 7> widthRows(std::span<const WidthGroup> groups);
// For each stored input its group and how many inputs of the group are left with it, as 16-bit pairs: MBWQ's `q_group_map`.
std::vector<std::uint16_t> groupMap(std::span<const WidthGroup> groups);

}  // namespace nibble
