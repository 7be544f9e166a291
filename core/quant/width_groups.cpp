// SPDX-License-Identifier: GPL-3.0-or-later
#include "core/quant/width_groups.h"

#include "core/base/text.h"

#include <algorithm>

namespace nibble {
namespace {

constexpr std::uint64_t inputStep = 32;
constexpr std::uint64_t largestWritten = 32767, largestRead = 65535;  // some readers take the table as signed

std::uint64_t rowsOf(const WidthGroup& group) {
  return group.inputs * group.bits / inputStep;
}

std::uint16_t numberAt(std::span<const std::byte> bytes, std::size_t i) {
  return static_cast<std::uint16_t>(std::to_integer<unsigned>(bytes[2 * i]) | std::to_integer<unsigned>(bytes[2 * i + 1]) << 8);
}

void append(std::vector<std::byte>& bytes, std::uint64_t number) {
  bytes.push_back(static_cast<std::byte>(number & 0xFFu));
  bytes.push_back(static_cast<std::byte>(number >> 8 & 0xFFu));
}

bool isWidth(unsigned bits) {
  return std::find(groupWidths.begin(), groupWidths.end(), bits) != groupWidths.end();
}

std::optional<std::string> refusalWithin(std::span<const WidthGroup> groups, std::uint64_t largestRow) {
  if (groups.empty()) return "it has no groups";
  std::uint64_t row = 0;
  for (std::size_t g = 0; g < groups.size(); ++g) {
    const std::string which = "group " + text::number(std::uint64_t{g});
    if (!isWidth(groups[g].bits)) return which + " has codes of " + text::number(std::int64_t{groups[g].bits}) + " bits";
    if (groups[g].inputs == 0 || groups[g].inputs % inputStep != 0)
      return which + " has " + text::number(groups[g].inputs) + " inputs, not a multiple of 32";
    if (g != 0 && groups[g].bits > groups[g - 1].bits) return which + " is wider than the one before; widths must descend";
    if (row > largestRow) return which + " begins at row " + text::number(row) + ", which 16 bits cannot say";
    row += rowsOf(groups[g]);
  }
  return std::nullopt;
}

}  // namespace

std::optional<std::string> refusalOf(std::span<const WidthGroup> groups) {
  return refusalWithin(groups, largestWritten);
}

std::uint64_t inputCount(std::span<const WidthGroup> groups) {
  std::uint64_t count = 0;
  for (const WidthGroup& group : groups) count += group.inputs;
  return count;
}

std::uint64_t packedRows(std::span<const WidthGroup> groups) {
  std::uint64_t count = 0;
  for (const WidthGroup& group : groups) count += rowsOf(group);
  return count;
}

std::vector<std::uint8_t> widthsOf(std::span<const WidthGroup> groups) {
  std::vector<std::uint8_t> widths;
  for (const WidthGroup& group : groups) widths.insert(widths.end(), group.inputs, group.bits);
  return widths;
}

std::vector<std::uint32_t> indexOf(std::span<const WidthGroup> groups) {
  std::vector<std::uint32_t> index;
  for (std::size_t g = 0; g < groups.size(); ++g) index.insert(index.end(), groups[g].inputs, static_cast<std::uint32_t>(g));
  return index;
}

WidthPlane widthPlane(std::uint64_t rows, std::span<const WidthGroup> groups) {
  WidthPlane plane;
  plane.grouping = Grouping::blocks(rows, inputCount(groups), 0, 1);
  plane.bits = widthsOf(groups);
  plane.table = groupTable(groups);
  return plane;
}

Plane middles(std::uint64_t rows, std::span<const WidthGroup> groups) {
  std::vector<float> values;
  for (const WidthGroup& group : groups) values.insert(values.end(), group.inputs, static_cast<float>(1 << (group.bits - 1)));
  return Plane::numbers(Grouping::blocks(rows, inputCount(groups), 0, 1), std::move(values), Stored::Implied);
}

std::vector<std::byte> groupTable(std::span<const WidthGroup> groups) {
  std::vector<std::byte> table;
  std::uint64_t row = 0;
  for (const WidthGroup& group : groups) {
    append(table, group.bits);
    append(table, row);
    row += rowsOf(group);
  }
  return table;
}

Result<std::vector<WidthGroup>> parseGroupTable(std::span<const std::byte> table, std::uint64_t codeRows) {
  if (table.empty() || table.size() % 4 != 0) return fail("not pairs of 16-bit numbers");
  const std::size_t count = table.size() / 4;
  std::vector<WidthGroup> groups;
  for (std::size_t g = 0; g < count; ++g) {
    const std::string which = "group " + text::number(std::uint64_t{g});
    const unsigned bits = numberAt(table, 2 * g);
    const std::uint64_t first = numberAt(table, 2 * g + 1), end = g + 1 < count ? numberAt(table, 2 * g + 3) : codeRows;
    if (!isWidth(bits)) return fail(which + " has codes of " + text::number(std::uint64_t{bits}) + " bits");
    if (g == 0 && first != 0) return fail("the first group begins at row " + text::number(first) + ", not at 0");
    if (first >= codeRows)
      return fail(which + " begins at row " + text::number(first) + " of " + text::number(codeRows) + " rows of codes");
    if (end <= first) return fail(which + " begins at row " + text::number(first) + ", the next one at " + text::number(end));
    if ((end - first) % bits != 0)
      return fail(which + " has " + text::number(end - first) + " rows, which are no multiple of 32 inputs of " +
                  text::number(std::uint64_t{bits}) + " bits");
    groups.push_back({static_cast<std::uint8_t>(bits), (end - first) * inputStep / bits});
  }
  if (const auto reason = refusalWithin(groups, largestRead)) return fail(*reason);
  return groups;
}

std::array<std::uint64_t, 7> widthRows(std::span<const WidthGroup> groups) {
  std::array<std::uint64_t, 7> rows{};
  for (const WidthGroup& group : groups) {
    for (std::size_t i = 0; i < groupWidths.size(); ++i)
      if (groupWidths[i] <= group.bits) rows[i] += group.inputs;
    rows[6] |= std::uint64_t{1} << (group.bits - 1);
  }
  return rows;
}

std::vector<std::uint16_t> groupMap(std::span<const WidthGroup> groups) {
  std::vector<std::uint16_t> map;
  for (std::size_t g = 0; g < groups.size(); ++g) {
    for (std::uint64_t left = groups[g].inputs; left > 0; --left) {
      map.push_back(static_cast<std::uint16_t>(g));
      map.push_back(static_cast<std::uint16_t>(left));
    }
  }
  return map;
}

}  // namespace nibble
