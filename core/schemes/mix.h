// SPDX-License-Identifier: GPL-3.0-or-later
// Mixed code widths along the input as a text and as groups: `4b:0.9@128+3b:0.1@128` gives nine tenths of the inputs 4 bits in
// groups of 128 and the rest 3 bits. Widths descend, shares add up to 1, groups are multiples of 32; the last group of a width
// may be shorter.
#pragma once
#include "core/base/result.h"
#include "core/quant/width_groups.h"

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace nibble {

inline constexpr std::string_view noMix = "none";

struct MixPart {
  std::uint8_t bits = 4;
  double share = 1;
  std::uint64_t group = 128;
  bool operator==(const MixPart&) const = default;
};

// "4b:0.9@128+3b:0.1@128"; the error says what is expected.
Result<std::vector<MixPart>> parseMix(std::string_view text);
std::string mixText(std::span<const MixPart> parts);

// How many whole groups a share is: exllamav2 rounds up, green-bit-llm down (and to one at least). The last width takes the
// rest.
enum class ShareRounding : std::uint8_t { Up, Down };
// `inputs` is a multiple of 32.
std::vector<WidthGroup> groupsOfMix(std::span<const MixPart> parts, std::uint64_t inputs, ShareRounding rounding);

// Input channels by descending mean square of what comes in, ties in the model's order: the first get the widest codes.
std::vector<std::uint32_t> byImportance(std::span<const float> meanSquares);

}  // namespace nibble
