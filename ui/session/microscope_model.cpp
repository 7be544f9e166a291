// SPDX-License-Identifier: GPL-3.0-or-later
#include "ui/session/microscope_model.h"

#include "core/quant/decode.h"

#include <algorithm>
#include <cmath>

namespace nibble {
namespace {

constexpr std::uint64_t enumerateMost = 1 << 16;

// Members of the group around `stored`, in stored order; the whole group where it is small enough.
std::vector<std::uint64_t> membersAround(const QuantizedTensor& quantized, std::uint64_t stored, std::uint64_t& size) {
  const Grouping whole = Grouping::tensor(quantized.rows, quantized.columns);
  const Grouping& grouping = quantized.scale ? quantized.scale->grouping : quantized.zero ? quantized.zero->grouping : whole;
  const std::uint64_t group = grouping.groupOf(stored);
  const std::uint64_t usual = quantized.weightCount() / std::max<std::uint64_t>(1, grouping.groupCount());
  size = usual;
  if (usual <= enumerateMost) {
    auto members = grouping.members(group);
    size = members.size();
    if (members.size() <= membersMost) return members;
    const auto place = std::lower_bound(members.begin(), members.end(), stored) - members.begin();
    const auto begin = std::clamp<std::ptrdiff_t>(place - static_cast<std::ptrdiff_t>(membersMost / 2), 0,
                                                  static_cast<std::ptrdiff_t>(members.size() - membersMost));
    return {members.begin() + begin, members.begin() + begin + static_cast<std::ptrdiff_t>(membersMost)};
  }
  std::vector<std::uint64_t> members;
  const std::uint64_t first = stored - std::min(stored, membersMost / 2);
  for (std::uint64_t i = first; i < std::min(quantized.weightCount(), first + membersMost); ++i)
    if (grouping.groupOf(i) == group) members.push_back(i);
  return members;
}

struct Parameters {
  double scale = 1, zero = 0;
  bool hasScale = false, hasZero = false, affine = false;
};

Parameters parametersAt(const QuantizedTensor& quantized, std::uint64_t stored) {
  Parameters found;
  const auto value = [&](const Plane& plane) { return static_cast<double>(plane.values[plane.grouping.groupOf(stored)]); };
  found.affine = quantized.levels.kind == Levels::Kind::Identity;
  if (quantized.scale) {
    found.scale = value(*quantized.scale);
    found.hasScale = quantized.scale->stored != Stored::Implied;
  }
  if (quantized.zero) {
    found.zero = value(*quantized.zero);
    found.hasZero = found.affine && quantized.zero->stored != Stored::Implied;
    if (quantized.rule == ValueRule::ScalePlusBias) found.zero = found.scale != 0 ? -found.zero / found.scale : 0;
  }
  return found;
}

int nearest(const std::vector<double>& levels, double weight) {
  int best = 0;
  for (int i = 1; i < static_cast<int>(levels.size()); ++i)
    if (std::abs(levels[static_cast<std::size_t>(i)] - weight) < std::abs(levels[static_cast<std::size_t>(best)] - weight)) best = i;
  return best;
}

// Levels under dragged parameters: affine ones anew, others stretched with the scale.
std::vector<double> movedLevels(std::vector<double> levels, const Parameters& own, const WhatIf& wish) {
  for (std::size_t i = 0; i < levels.size(); ++i) {
    const double code = own.scale != 0 ? levels[i] / own.scale + (own.affine ? own.zero : 0) : static_cast<double>(i);
    levels[i] = wish.scale * (code - (own.affine ? wish.zero : 0));
  }
  return levels;
}

double meanSquare(const MicroscopeGroup& group) {
  double sum = 0;
  for (int i = 0; i < static_cast<int>(group.weights.size()); ++i) {
    const double error = group.weights[static_cast<std::size_t>(i)] - group.value(i);
    sum += error * error;
  }
  return group.weights.empty() ? 0 : sum / static_cast<double>(group.weights.size());
}

void readMembers(const QuantizedTensor& quantized, const MatrixSource& source, MicroscopeGroup& group) {
  std::vector<double> own;
  for (const std::uint64_t stored : group.stored) {
    const Cell cell{stored / quantized.columns, source.modelColumn(stored % quantized.columns)};
    group.cells.push_back(cell);
    group.weights.push_back(static_cast<double>(source.at(Quantity::Value, cell.row, cell.column)));
    group.codes.push_back(quantized.codes.at(stored / quantized.levels.dimension));
    own.push_back(static_cast<double>(source.reconstructed(cell.row, cell.column)));
  }
  if (group.levels.empty()) {
    group.levels = own;
    std::sort(group.levels.begin(), group.levels.end());
    group.levels.erase(std::unique(group.levels.begin(), group.levels.end()), group.levels.end());
  }
  for (const double value : own) group.levelOf.push_back(nearest(group.levels, value));
}

}  // namespace

MicroscopeGroup microscopeGroup(const QuantizedTensor& quantized, const MatrixSource& source, const Cell& cell,
                                const std::optional<WhatIf>& whatIf) {
  MicroscopeGroup group;
  const std::uint64_t chosen = source.storedIndex(cell.row, cell.column);
  group.stored = membersAround(quantized, chosen, group.size);
  for (const float level : levelsAt(quantized, chosen)) group.levels.push_back(static_cast<double>(level));
  readMembers(quantized, source, group);
  const Parameters own = parametersAt(quantized, chosen);
  group.scale = own.scale;
  group.zero = own.zero;
  group.hasScale = own.hasScale;
  group.hasZero = own.hasZero;
  group.affine = own.affine;
  group.ownMeanSquaredError = group.meanSquaredError = meanSquare(group);
  const auto place = std::find(group.stored.begin(), group.stored.end(), chosen);
  group.selected = place == group.stored.end() ? -1 : static_cast<int>(place - group.stored.begin());
  if (!whatIf) return group;
  group.scale = whatIf->scale;
  group.zero = whatIf->zero;
  group.levels = movedLevels(std::move(group.levels), own, *whatIf);
  for (std::size_t i = 0; i < group.weights.size(); ++i) group.levelOf[i] = nearest(group.levels, group.weights[i]);
  group.meanSquaredError = meanSquare(group);
  return group;
}

CodePlace codePlace(const QuantizedTensor& quantized, const Layout& layout, const std::vector<std::byte>& packed, std::uint64_t stored) {
  CodePlace place;
  const std::uint64_t index = stored / quantized.levels.dimension;
  const int width = quantized.width.at(stored);
  const auto code = static_cast<std::uint64_t>(quantized.codes.at(index));
  for (int bit = width - 1; bit >= 0; --bit) place.bits.push_back((code >> bit & 1) != 0);
  place.wordBits = layout.wordBits();
  const auto pieces = layout.locate(index);
  if (pieces.size() == 0) return place;
  const auto top = std::max_element(pieces.begin(), pieces.end(), [](const auto& a, const auto& b) { return a.codeShift < b.codeShift; });
  const auto bits = static_cast<std::uint64_t>(place.wordBits);
  place.word = top->bit / bits;
  const int digits = place.wordBits / 4;
  std::vector<bool> used(static_cast<std::size_t>(place.wordBits), false);
  place.lowBit = place.wordBits;
  for (const auto& piece : pieces)
    for (std::uint64_t bit = piece.bit; bit < piece.bit + piece.width; ++bit) {
      if (bit / bits != place.word) continue;
      const int inWord = static_cast<int>(bit % bits);
      used[static_cast<std::size_t>(inWord)] = true;
      place.lowBit = std::min(place.lowBit, inWord);
      place.highBit = std::max(place.highBit, inWord);
    }
  for (int digit = digits - 1; digit >= 0; --digit) {
    const std::uint64_t byte = place.word * bits / 8 + static_cast<std::uint64_t>(digit) / 2;
    const unsigned value = byte < packed.size() ? std::to_integer<unsigned>(packed[byte]) : 0;
    place.hex += "0123456789ABCDEF"[(digit % 2 != 0 ? value >> 4 : value) & 15];
    bool ours = false;
    for (int bit = digit * 4; bit < digit * 4 + 4; ++bit) ours = ours || used[static_cast<std::size_t>(bit)];
    place.ours.push_back(ours);
  }
  return place;
}

}  // namespace nibble
