// SPDX-License-Identifier: GPL-3.0-or-later
#include "core/io/name_index.h"

#include <bit>
#include <functional>
#include <utility>

namespace nibble {
namespace {

std::uint32_t hashOf(std::string_view name) {
  const std::uint64_t hash = std::hash<std::string_view>{}(name);
  return static_cast<std::uint32_t>(hash ^ (hash >> 32));
}

}  // namespace

NameIndex::NameIndex(std::size_t expected) {
  if (expected > 0) grow(std::bit_ceil(expected * 2));
}

const NameIndex::Cell& NameIndex::cellOf(std::string_view name, std::uint32_t hash) const {
  const std::size_t mask = m_cells.size() - 1;
  std::size_t at = hash & mask;
  while (m_cells[at].place != empty && (m_cells[at].hash != hash || m_cells[at].name != name)) at = (at + 1) & mask;
  return m_cells[at];
}

void NameIndex::grow(std::size_t cells) {
  std::vector<Cell> old = std::exchange(m_cells, std::vector<Cell>(cells));
  for (const Cell& cell : old)
    if (cell.place != empty) const_cast<Cell&>(cellOf(cell.name, cell.hash)) = cell;
}

std::optional<std::uint32_t> NameIndex::insert(std::string_view name, std::uint32_t place) {
  if ((m_used + 1) * 2 > m_cells.size()) grow(m_cells.empty() ? 16 : m_cells.size() * 2);
  const std::uint32_t hash = hashOf(name);
  auto& cell = const_cast<Cell&>(cellOf(name, hash));
  if (cell.place != empty) return cell.place;
  cell = {name, hash, place};
  ++m_used;
  return std::nullopt;
}

std::optional<std::uint32_t> NameIndex::find(std::string_view name) const {
  if (m_cells.empty()) return std::nullopt;
  const Cell& cell = cellOf(name, hashOf(name));
  if (cell.place == empty) return std::nullopt;
  return cell.place;
}

}  // namespace nibble
