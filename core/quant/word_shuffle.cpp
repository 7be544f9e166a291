// SPDX-License-Identifier: GPL-3.0-or-later
#include "core/quant/word_shuffle.h"

#include "core/base/text.h"

#include <array>

namespace nibble {
namespace {

struct Unit {
  unsigned codes, words;
};

constexpr Unit unitOf(unsigned bits) {
  switch (bits) {
    case 2:
      return {16, 1};
    case 3:
      return {32, 3};
    case 4:
      return {8, 1};
    case 5:
      return {32, 5};
    case 6:
      return {16, 3};
    default:
      return {4, 1};
  }
}

// Code i of a row of fields of `bits`, the even ones from bit 0 and the odd ones from bit 16.
constexpr unsigned inLanes(unsigned bits, unsigned i) {
  return bits * (i / 2) + 16 * (i % 2);
}

// Where bit t of code e of a unit stands when shuffled, counted over the unit's words.
constexpr unsigned shuffledBit(unsigned bits, unsigned e, unsigned t) {
  switch (bits) {
    case 2:
    case 4:
      return inLanes(bits, e) + t;
    case 3:
    case 5: {
      const unsigned each = bits == 3 ? 10 : 6;  // the last two codes lie across the words, a bit at the end of each half
      return e < 30 ? 32 * (e / each) + inLanes(bits, e % each) + t : 32 * t + (e == 30 ? 15 : 31);
    }
    case 6: {
      if (e < 12) return 32 * (e / 4) + inLanes(bits, e % 4) + t;
      const unsigned half = e % 2 == 0 ? 12 : 28, word = e < 14 ? 0 : 1;
      return t < 4 ? 32 * word + half + t : 64 + half + 2 * word + t - 4;
    }
    default:
      return 8 * e + t;
  }
}

void reorderUnit(unsigned bits, bool shuffle, std::uint32_t* words, std::uint64_t step) {
  const Unit unit = unitOf(bits);
  std::array<std::uint32_t, 5> moved{};
  for (unsigned e = 0; e < unit.codes; ++e) {
    for (unsigned t = 0; t < bits; ++t) {
      const unsigned plain = e * bits + t, other = shuffledBit(bits, e, t);
      const unsigned from = shuffle ? plain : other, to = shuffle ? other : plain;
      moved[to / 32] |= (words[from / 32 * step] >> from % 32 & 1u) << to % 32;
    }
  }
  for (unsigned word = 0; word < unit.words; ++word) words[word * step] = moved[word];
}

}  // namespace

Status reorder(InputWords& words, WordOrder wanted) {
  if (const auto reason = refusalOf(words.groups)) return fail(*reason);
  if (words.words.size() != packedRows(words.groups) * words.outputs)
    return fail(text::number(std::uint64_t{words.words.size()}) + " words for " + text::number(packedRows(words.groups)) +
                " rows of " + text::number(words.outputs) + " outputs");
  if (words.order == wanted)
    return fail(wanted == WordOrder::Shuffled ? "the words are shuffled already" : "the words are not shuffled");
  std::uint64_t row = 0;
  for (const WidthGroup& group : words.groups) {
    const Unit unit = unitOf(group.bits);
    for (std::uint64_t end = row + group.inputs * group.bits / 32; row < end; row += unit.words)
      for (std::uint64_t n = 0; n < words.outputs; ++n)
        reorderUnit(group.bits, wanted == WordOrder::Shuffled, words.words.data() + row * words.outputs + n, words.outputs);
  }
  words.order = wanted;
  return {};
}

}  // namespace nibble
