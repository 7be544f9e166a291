// SPDX-License-Identifier: GPL-3.0-or-later
// Scales of four bits each under one float16 maximum per group of inputs (EXL2). To the bit, in half precision:
//
//   unit[g]    = half(maximum[g] / 256)                 often a subnormal half: its loss of precision is part of the format
//   scale[n,g] = half((c[n,g] + 1)^2 * unit[g])         c = 0..15
//
// As a plane: codes c of a table of squares, whose scale plane is the unit, whose own codes are the bits of the maximum.
// Source: exllamav2 0.3.2.
#pragma once
#include "core/quant/quantized_tensor.h"

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace nibble {

float squareScaleUnit(std::uint16_t maximum);  // maximum: bits of a half
float squareScale(float unit, std::uint8_t code);

// Groups are numbered by `index`, one per stored input, and every output has its own code: codes [rows, groups] row-major,
// maxima [groups] as bits of halves. `written` outputs count as bytes, where a file fills them up; at least `rows`.
Plane squareScales(std::uint64_t rows, std::vector<std::uint32_t> index, std::vector<std::uint8_t> codes,
                   const std::vector<std::uint16_t>& maxima, std::uint64_t written = 0);

struct SquareScales {
  std::vector<std::uint8_t> codes;    // [rows, groups]
  std::vector<std::uint16_t> maxima;  // [groups]
};
// The same back from a plane made so; none: it was not.
std::optional<SquareScales> squareScalesOf(const Plane& plane, std::uint64_t groups);
// Plain numbers [rows, groups] said so, where that changes none of them; none: it cannot be.
std::optional<SquareScales> fitSquareScales(std::span<const float> scales, std::uint64_t rows, std::uint64_t groups);

}  // namespace nibble
