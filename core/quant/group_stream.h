// SPDX-License-Identifier: GPL-3.0-or-later
// Bits that differ from group to group under one range for the whole tensor: DiffQ's learned bits (reference document 003).
//
//   w ~ range / (2^b - 1) * code + low,  b the bits of the weight's group of `length` consecutive weights
//
// Codes stand one after another, low bits first: weight i of group g = i / length begins at bit
//   length * (sum of the widths before g) + (i % length) * width[g]
// The bits are written once, less the smallest that may be (2, or 1 where a group has it), each in as many bits as the largest
// needs; they are the codes of the scale plane, whose levels are 1 / (2^b - 1).
#pragma once
#include "core/quant/layout.h"

#include <cstdint>
#include <memory>
#include <vector>

namespace nibble {

// `widths`: bits (1..16) of each group of `length` consecutive codes.
std::shared_ptr<const Layout> groupStreamLayout(std::uint64_t length, std::vector<std::uint8_t> widths);

inline constexpr int mostGroupBits = 15;

int smallestGroupBits(const std::vector<std::uint8_t>& bits);  // what the written bits count from
float stepOfBits(int bits);                                    // 1 / (2^bits - 1)

// Everything but shape and codes. `bits`: 1..15 for each group of `length` weights, which divides their count.
void describeGroupBits(QuantizedTensor& tensor, std::uint64_t length, std::vector<std::uint8_t> bits, float low, float range);

}  // namespace nibble
