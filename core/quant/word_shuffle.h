// SPDX-License-Identifier: GPL-3.0-or-later
// The order of bits that exllamav2's kernels like: within each unit of 16 or 32 codes of a column, even codes in the low half
// of a word and odd ones in the high half, so that one shift and mask yields two codes. It is never in a file (those hold plain
// streams, core/quant/stream_layout.h), so the words say which order they are in and a change is asked for by name.
// Bitorch-engine's kernels do not shuffle. Source: exllamav2 0.3.2, checked by words of its own kernels.
#pragma once
#include "core/base/result.h"
#include "core/quant/width_groups.h"

#include <cstdint>
#include <span>
#include <vector>

namespace nibble {

enum class WordOrder : std::uint8_t { Sequential, Shuffled };

struct InputWords {
  std::vector<std::uint32_t> words;  // [packed rows, outputs]
  std::uint64_t outputs = 0;
  std::vector<WidthGroup> groups;
  WordOrder order = WordOrder::Sequential;
};

// Errors: the words do not fit the groups, or are in the wanted order already.
Status reorder(InputWords& words, WordOrder wanted);

}  // namespace nibble
