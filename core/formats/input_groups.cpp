// SPDX-License-Identifier: GPL-3.0-or-later
#include "core/formats/input_groups.h"

#include "core/base/text.h"
#include "core/formats/tools.h"

#include <algorithm>
#include <numeric>

namespace nibble::formats {
namespace {

// First stored column of each group, and the column count at the end; the error: the groups are no runs of inputs.
Result<std::vector<std::uint64_t>> runsOf(const Grouping& grouping) {
  std::vector<std::uint64_t> begins{0};
  const std::uint64_t columns = grouping.columns();
  if (grouping.kind() == Grouping::Kind::Columns) {
    const auto& index = grouping.index();
    for (std::uint64_t column = 0; column < columns; ++column) {
      if (index[column] == begins.size()) begins.push_back(column);
      if (index[column] + 1 != begins.size()) return fail("its groups are not runs of inputs");
    }
  } else {
    const auto length = tileColumnsOf(grouping);
    if (!length || *length == 0) return fail("its groups (" + grouping.describe() + ") do not run along the input");
    for (std::uint64_t column = *length; column < columns; column += *length) begins.push_back(column);
  }
  begins.push_back(columns);
  return begins;
}

// One number per row and run; none: a run would need more than one.
std::optional<std::vector<float>> numbersOver(const Plane& plane, const std::vector<std::uint64_t>& begins) {
  const Grouping& grouping = plane.grouping;
  const std::uint64_t groups = begins.size() - 1, rows = grouping.rows(), columns = grouping.columns();
  const bool sameForRows = grouping.kind() == Grouping::Kind::Blocks && grouping.tileRows() >= rows;
  std::vector<float> numbers(rows * groups);
  for (std::uint64_t row = 0; row < (sameForRows ? std::min<std::uint64_t>(rows, 1) : rows); ++row) {
    for (std::uint64_t g = 0; g < groups; ++g) {
      const float number = plane.values[grouping.groupOf(row * columns + begins[g])];
      for (std::uint64_t column = begins[g]; column < begins[g + 1];) {
        const std::uint64_t at = row * columns + column;
        if (plane.values[grouping.groupOf(at)] != number) return std::nullopt;
        column += grouping.runLength(at);
      }
      numbers[row * groups + g] = number;
    }
  }
  for (std::uint64_t row = 1; sameForRows && row < rows; ++row)
    std::copy_n(numbers.begin(), groups, numbers.begin() + static_cast<std::ptrdiff_t>(row * groups));
  return numbers;
}

Result<std::vector<WidthGroup>> widthsOver(const QuantizedTensor& tensor, const std::vector<std::uint64_t>& begins) {
  std::vector<WidthGroup> groups;
  const bool perRow = !tensor.width.bits.empty() && tensor.width.grouping->tileRows() < tensor.rows;
  for (std::size_t g = 0; g + 1 < begins.size(); ++g) {
    const int bits = tensor.width.at(begins[g]);
    for (std::uint64_t row = 0; row < (perRow ? tensor.rows : 1); ++row)
      for (std::uint64_t column = begins[g]; column < begins[g + 1]; ++column)
        if (tensor.width.at(row * tensor.columns + column) != bits) return fail("its code widths change inside a group");
    groups.push_back({static_cast<std::uint8_t>(bits), begins[g + 1] - begins[g]});
  }
  return groups;
}

}  // namespace

Result<InputGroups> inputGroupsOf(const QuantizedTensor& tensor) {
  if (tensor.shape.size() != 2) return fail("it is no matrix: " + toText(tensor.shape));
  if (tensor.rotation) return fail("its weights are rotated");
  if (!tensor.signs.empty()) return fail("its signs are stored apart from the codes");
  if (tensor.codes.as<std::uint8_t>() == nullptr) return fail("its codes are wider than 8 bits");
  if (tensor.levels.kind != Levels::Kind::Identity) return fail("its levels are not evenly spaced");
  if (!tensor.scale) return fail("it has no scales");
  const auto begins = runsOf(tensor.scale->grouping);
  if (!begins) return fail(begins.error());
  auto groups = widthsOver(tensor, *begins);
  if (!groups) return fail(groups.error());
  if (const auto reason = refusalOf(*groups)) return fail(*reason);
  InputGroups result{std::move(*groups), {}, {}};
  auto scale = numbersOver(*tensor.scale, *begins);
  if (!scale) return fail("its scales change inside a group");
  result.scale = std::move(*scale);
  if (!tensor.zero) return result;
  auto zero = numbersOver(*tensor.zero, *begins);
  if (!zero) return fail("its zero points are grouped otherwise than its scales");
  result.zero = std::move(*zero);
  return result;
}

bool isIdentity(const std::vector<std::uint32_t>& order) {
  for (std::size_t i = 0; i < order.size(); ++i)
    if (order[i] != i) return false;
  return true;
}

bool isPermutation(const std::vector<std::uint32_t>& order) {
  std::vector<bool> seen(order.size());
  for (const std::uint32_t place : order) {
    if (place >= order.size() || seen[place]) return false;
    seen[place] = true;
  }
  return true;
}

bool isOne(const std::vector<float>& channelScale) {
  return std::all_of(channelScale.begin(), channelScale.end(), [](float scale) { return scale == 1; });
}

std::vector<std::uint32_t> identityOrder(std::uint64_t columns) {
  std::vector<std::uint32_t> order(columns);
  std::iota(order.begin(), order.end(), 0u);
  return order;
}

std::vector<std::uint32_t> inverseOf(const std::vector<std::uint32_t>& permutation) {
  std::vector<std::uint32_t> inverse(permutation.size());
  for (std::size_t i = 0; i < permutation.size(); ++i) inverse[permutation[i]] = static_cast<std::uint32_t>(i);
  return inverse;
}

}  // namespace nibble::formats
