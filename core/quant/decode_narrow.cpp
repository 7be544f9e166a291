// SPDX-License-Identifier: GPL-3.0-or-later
#include "core/quant/decode_narrow.h"

#include "kernels/narrow_rule.h"

#include <algorithm>
#include <array>
#include <bit>

namespace nibble {
namespace {

// Of parameters laid out at once: they stay in the first-level cache. A multiple of the padding the kernels want.
constexpr std::size_t chunkWeights = 512;
static_assert(chunkWeights % kernels::narrowPadding == 0);
using Chunk = std::array<float, chunkWeights>;

// to[k] = values[set[k]]. Sets are mostly runs: eight alike at once.
void spread(const float* values, std::span<const std::uint32_t> set, float* to) {
  constexpr std::size_t run = 8;
  std::size_t k = 0;
  for (; k + run <= set.size(); k += run) {
    std::uint32_t other = 0;
    for (std::size_t j = 1; j < run; ++j) other |= set[k + j] ^ set[k];
    if (other == 0)
      std::fill_n(to + k, run, values[set[k]]);
    else
      for (std::size_t j = k; j < k + run; ++j) to[j] = values[set[j]];
  }
  for (; k < set.size(); ++k) to[k] = values[set[k]];
}

// Runs of `length` weights, one value each; `skipped` weights of the first run come before.
void fillRuns(const float* values, std::uint64_t length, std::uint64_t skipped, std::span<float> to) {
  if (length == 1) {
    std::copy_n(values, to.size(), to.begin());
    return;
  }
  for (std::size_t i = 0; i < to.size(); ++values, skipped = 0) {
    const std::size_t count = std::min<std::uint64_t>(to.size() - i, length - skipped);
    std::fill_n(to.data() + i, count, *values);
    i += count;
  }
}

// Runs that start anew in every row: tiles, or sets of columns.
void layOutRow(const Plane& plane, std::uint64_t row, std::uint64_t column, std::span<float> to) {
  const Grouping& grouping = plane.grouping;
  if (grouping.kind() == Grouping::Kind::Blocks)
    return fillRuns(plane.values.data() + grouping.groupOf(row * grouping.columns()) + column / grouping.tileColumns(),
                    grouping.tileColumns(), column % grouping.tileColumns(), to);
  spread(plane.values.data() + row * grouping.length(), std::span(grouping.index()).subspan(column, to.size()), to.data());
}

// One parameter beside each of the weights from `begin` on.
void layOut(const Plane& plane, std::uint64_t begin, std::span<float> to) {
  const Grouping& grouping = plane.grouping;
  const bool byRow = grouping.kind() == Grouping::Kind::Blocks || grouping.kind() == Grouping::Kind::Columns;
  if (plane.values.size() == 1) {
    std::fill(to.begin(), to.end(), plane.values[0]);
  } else if (grouping.kind() == Grouping::Kind::Flat) {
    fillRuns(plane.values.data() + begin / grouping.length(), grouping.length(), begin % grouping.length(), to);
  } else {
    const std::uint64_t side = byRow ? grouping.columns() : grouping.length();  // Modulo: all groups, again and again
    for (std::size_t i = 0; i < to.size();) {
      const std::uint64_t first = (begin + i) % side;
      const std::span<float> part = to.subspan(i, std::min<std::uint64_t>(to.size() - i, side - first));
      if (byRow)
        layOutRow(plane, (begin + i) / side, first, part);
      else
        std::copy_n(plane.values.begin() + static_cast<std::ptrdiff_t>(first), part.size(), part.begin());
      i += part.size();
    }
  }
}

// Whether products of scale and level are exact in float32.
bool areHalves(const QuantizedTensor& tensor) {
  static_assert(kernels::mostExactLevel >= 255);  // codes are one byte
  return tensor.levels.kind == Levels::Kind::Identity && tensor.scale->stored == Stored::F16 && tensor.zero->stored == Stored::F16;
}

kernels::NarrowRule ruleOf(const QuantizedTensor& tensor) {
  using enum kernels::NarrowRule;
  switch (tensor.rule) {
    case ValueRule::Scale:
      return tensor.scale ? Scale : Level;
    case ValueRule::ScaleMinusZero:
      return ScaleMinusZero;
    case ValueRule::ScalePlusBias:
      return !tensor.arithmetic.fused ? ScalePlusBias : areHalves(tensor) ? FusedHalves : FusedScalePlusBias;
  }
  return Level;
}

// A choice by masks: compilers move what only one side needs behind a branch, and then do not vectorize.
std::uint32_t choose(bool condition, std::uint32_t yes, std::uint32_t no) {
  const std::uint32_t mask = 0u - static_cast<std::uint32_t>(condition);
  return (yes & mask) | (no & ~mask);
}

float halfPattern(std::uint16_t bits) {
  const std::uint32_t sign = static_cast<std::uint32_t>(bits & 0x8000u) << 16, magnitude = bits & 0x7FFFu,
                      shifted = magnitude << 13;
  const std::uint32_t small = std::bit_cast<std::uint32_t>(static_cast<float>(static_cast<std::int32_t>(magnitude)) * 0x1p-24f);
  std::uint32_t value = shifted + (112u << 23);
  value = choose(magnitude < 0x400u, small, value);
  value = choose(magnitude >= 0x7C00u, shifted + (224u << 23), value);
  return std::bit_cast<float>(sign | value);
}

}  // namespace

bool decodesNarrow(const QuantizedTensor& tensor) {
  const Levels& levels = tensor.levels;
  const bool plain = levels.kind == Levels::Kind::Identity ||
                     (levels.kind == Levels::Kind::Table && levels.dimension == 1 && !levels.grouping);
  const bool complete = tensor.rule == ValueRule::Scale || (tensor.scale && tensor.zero);
  const Arithmetic& arithmetic = tensor.arithmetic;
  return plain && complete && arithmetic.factor == 1 && !arithmetic.divides && tensor.signs.empty() &&
         tensor.codes.as<std::uint8_t>() != nullptr &&
         kernels::hasNarrowRule(ruleOf(tensor), arithmetic.step, arithmetic.result);
}

void decodeNarrow(const QuantizedTensor& tensor, std::uint64_t begin, std::span<float> out) {
  const kernels::NarrowRule rule = ruleOf(tensor);
  const std::uint8_t* codes = tensor.codes.as<std::uint8_t>()->data() + begin;
  const float* table = tensor.levels.kind == Levels::Kind::Table ? tensor.levels.table.data() : nullptr;
  Chunk value{}, scale{}, zero{};
  for (std::size_t done = 0; done < out.size();) {
    const std::size_t count = std::min(chunkWeights, out.size() - done);
    if (table != nullptr)
      for (std::size_t i = 0; i < count; ++i) value[i] = table[codes[done + i]];
    else
      for (std::size_t i = 0; i < count; ++i) value[i] = static_cast<float>(codes[done + i]);
    if (tensor.scale) layOut(*tensor.scale, begin + done, std::span(scale).first(count));
    if (tensor.zero) layOut(*tensor.zero, begin + done, std::span(zero).first(count));
    const bool isWhole = count % kernels::narrowPadding == 0;  // what is written past a part has no place in `out`
    float* to = isWhole ? out.data() + done : value.data();
    kernels::applyNarrowRule(rule, tensor.arithmetic.step, tensor.arithmetic.result, count, value.data(), scale.data(),
                             zero.data(), to);
    if (!isWhole) std::copy_n(to, count, out.data() + done);
    done += count;
  }
}

bool decodesPatterns(const QuantizedTensor& tensor) {
  const bool isWord =
      tensor.levels.type == FloatType::F32 ? tensor.codes.isSigned() : tensor.codes.as<std::uint16_t>() != nullptr;
  const bool isType =
      tensor.levels.type == FloatType::F32 || tensor.levels.type == FloatType::F16 || tensor.levels.type == FloatType::BF16;
  return tensor.levels.kind == Levels::Kind::Float && isType && isWord && tensor.levels.dimension == 1 &&
         tensor.signs.empty() && tensor.rule == ValueRule::Scale && !tensor.scale && tensor.arithmetic == Arithmetic{};
}

void decodePatterns(const QuantizedTensor& tensor, std::uint64_t begin, std::span<float> out) {
  const auto each = [&](const auto* codes, const auto& toValue) {
    for (std::size_t i = 0; i < out.size(); ++i) out[i] = toValue(codes[begin + i]);
  };
  if (tensor.levels.type == FloatType::F32)
    each(tensor.codes.as<std::int32_t>()->data(), [](std::int32_t bits) { return std::bit_cast<float>(bits); });
  else if (tensor.levels.type == FloatType::F16)
    each(tensor.codes.as<std::uint16_t>()->data(), halfPattern);
  else
    each(tensor.codes.as<std::uint16_t>()->data(),
         [](std::uint16_t bits) { return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16); });
}

}  // namespace nibble
