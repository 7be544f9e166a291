// SPDX-License-Identifier: GPL-3.0-or-later
#include "core/quant/grouping.h"

#include "core/base/contracts.h"
#include "core/base/text.h"

#include <algorithm>

namespace nibble {
namespace {

std::uint64_t tilesOver(std::uint64_t side, std::uint64_t tile) { return (side + tile - 1) / tile; }

}  // namespace

Grouping Grouping::blocks(std::uint64_t rows, std::uint64_t columns, std::uint64_t tileRows, std::uint64_t tileColumns) {
  Grouping grouping;
  grouping.m_kind = Kind::Blocks;
  grouping.m_rows = rows;
  grouping.m_columns = columns;
  grouping.m_tileRows = tileRows == 0 ? std::max<std::uint64_t>(rows, 1) : tileRows;
  grouping.m_tileColumns = tileColumns == 0 ? std::max<std::uint64_t>(columns, 1) : tileColumns;
  grouping.m_groupCount = tilesOver(rows, grouping.m_tileRows) * tilesOver(columns, grouping.m_tileColumns);
  return grouping;
}

Grouping Grouping::flat(std::uint64_t rows, std::uint64_t columns, std::uint64_t length) {
  NIBBLE_EXPECTS(length > 0);
  Grouping grouping;
  grouping.m_kind = Kind::Flat;
  grouping.m_rows = rows;
  grouping.m_columns = columns;
  grouping.m_length = length;
  grouping.m_groupCount = tilesOver(rows * columns, length);
  return grouping;
}

Grouping Grouping::modulo(std::uint64_t rows, std::uint64_t columns, std::uint64_t groups) {
  NIBBLE_EXPECTS(groups > 0);
  Grouping grouping;
  grouping.m_kind = Kind::Modulo;
  grouping.m_rows = rows;
  grouping.m_columns = columns;
  grouping.m_length = groups;
  grouping.m_groupCount = groups;
  return grouping;
}

Grouping Grouping::columnMap(std::uint64_t rows, std::vector<std::uint32_t> index) {
  Grouping grouping;
  grouping.m_kind = Kind::Columns;
  grouping.m_rows = rows;
  grouping.m_columns = index.size();
  grouping.m_length = index.empty() ? 0 : 1 + static_cast<std::uint64_t>(*std::max_element(index.begin(), index.end()));
  grouping.m_groupCount = rows * grouping.m_length;
  grouping.m_index = std::make_shared<const std::vector<std::uint32_t>>(std::move(index));
  return grouping;
}

std::uint64_t Grouping::groupOf(std::uint64_t flatIndex) const {
  switch (m_kind) {
    case Kind::Blocks: {
      const std::uint64_t row = flatIndex / m_columns, column = flatIndex % m_columns;
      return row / m_tileRows * tilesOver(m_columns, m_tileColumns) + column / m_tileColumns;
    }
    case Kind::Flat: return flatIndex / m_length;
    case Kind::Modulo: return flatIndex % m_length;
    case Kind::Columns: return flatIndex / m_columns * m_length + (*m_index)[flatIndex % m_columns];
  }
  return 0;
}

std::uint64_t Grouping::runLength(std::uint64_t flatIndex) const {
  switch (m_kind) {
    case Kind::Blocks: {
      const std::uint64_t row = flatIndex / m_columns, column = flatIndex % m_columns;
      if (m_tileColumns >= m_columns) {  // the run goes on into the tile's next rows
        const std::uint64_t lastRow = std::min(m_rows, (row / m_tileRows + 1) * m_tileRows);
        return lastRow * m_columns - flatIndex;
      }
      return std::min(m_columns, (column / m_tileColumns + 1) * m_tileColumns) - column;
    }
    case Kind::Flat: return std::min(m_rows * m_columns, (flatIndex / m_length + 1) * m_length) - flatIndex;
    case Kind::Modulo: return m_length == 1 ? m_rows * m_columns - flatIndex : 1;
    case Kind::Columns: {
      const std::uint64_t column = flatIndex % m_columns;
      std::uint64_t end = column + 1;
      while (end < m_columns && (*m_index)[end] == (*m_index)[column]) ++end;
      return end - column;
    }
  }
  return 1;
}

std::vector<std::uint64_t> Grouping::members(std::uint64_t group) const {
  std::vector<std::uint64_t> members;
  const auto addBlock = [&](std::uint64_t firstRow, std::uint64_t endRow, std::uint64_t firstColumn, std::uint64_t endColumn) {
    for (std::uint64_t row = firstRow; row < endRow; ++row)
      for (std::uint64_t column = firstColumn; column < endColumn; ++column) members.push_back(row * m_columns + column);
  };
  switch (m_kind) {
    case Kind::Blocks: {
      const std::uint64_t across = tilesOver(m_columns, m_tileColumns);
      const std::uint64_t row = group / across * m_tileRows, column = group % across * m_tileColumns;
      addBlock(row, std::min(m_rows, row + m_tileRows), column, std::min(m_columns, column + m_tileColumns));
      break;
    }
    case Kind::Flat:
      for (std::uint64_t i = group * m_length; i < std::min(m_rows * m_columns, (group + 1) * m_length); ++i)
        members.push_back(i);
      break;
    case Kind::Modulo:
      for (std::uint64_t i = group; i < m_rows * m_columns; i += m_length) members.push_back(i);
      break;
    case Kind::Columns:
      for (std::uint64_t column = 0; column < m_columns; ++column)
        if ((*m_index)[column] == group % m_length) members.push_back(group / m_length * m_columns + column);
      break;
  }
  return members;
}

std::uint64_t Grouping::memberCount(std::uint64_t group) const {
  const std::uint64_t weights = m_rows * m_columns;
  switch (m_kind) {
    case Kind::Blocks: {
      const std::uint64_t across = tilesOver(m_columns, m_tileColumns);
      return std::min(m_tileRows, m_rows - group / across * m_tileRows) *
             std::min(m_tileColumns, m_columns - group % across * m_tileColumns);
    }
    case Kind::Flat: return std::min(m_length, weights - group * m_length);
    case Kind::Modulo: return group < weights ? (weights - group + m_length - 1) / m_length : 0;
    case Kind::Columns: return static_cast<std::uint64_t>(std::count(m_index->begin(), m_index->end(), group % m_length));
  }
  return 0;
}

std::uint64_t Grouping::member(std::uint64_t group, std::uint64_t rank) const {
  NIBBLE_EXPECTS(rank < memberCount(group));
  switch (m_kind) {
    case Kind::Blocks: {
      const std::uint64_t across = tilesOver(m_columns, m_tileColumns), column = group % across * m_tileColumns;
      const std::uint64_t width = std::min(m_tileColumns, m_columns - column);
      return (group / across * m_tileRows + rank / width) * m_columns + column + rank % width;
    }
    case Kind::Flat: return group * m_length + rank;
    case Kind::Modulo: return group + rank * m_length;
    case Kind::Columns: return members(group)[rank];
  }
  return 0;
}

std::vector<std::uint64_t> Grouping::naturalShape() const {
  switch (m_kind) {
    case Kind::Blocks: return {tilesOver(m_rows, m_tileRows), tilesOver(m_columns, m_tileColumns)};
    case Kind::Flat: return {m_groupCount, 1};
    case Kind::Modulo: return {1, m_groupCount};
    case Kind::Columns: return {m_rows, m_length};
  }
  return {};
}

std::string Grouping::describe() const {
  switch (m_kind) {
    case Kind::Blocks:
      if (m_tileRows >= m_rows && m_tileColumns >= m_columns) return "one for the tensor";
      if (m_tileRows == 1 && m_tileColumns >= m_columns) return "one per row";
      if (m_tileRows >= m_rows && m_tileColumns == 1) return "one per column";
      if (m_tileRows == 1) return text::number(m_tileColumns) + " along the row";
      return "tiles of " + text::number(m_tileRows) + " x " + text::number(m_tileColumns);
    case Kind::Flat: return text::number(m_length) + " in flat order";
    case Kind::Modulo: return "every " + text::number(m_length) + "th in flat order";
    case Kind::Columns: return text::number(m_length) + " sets of columns per row";
  }
  return {};
}

bool Grouping::operator==(const Grouping& other) const {
  if (m_kind != other.m_kind || m_rows != other.m_rows || m_columns != other.m_columns) return false;
  if (m_kind == Kind::Columns) return *m_index == *other.m_index;
  return m_tileRows == other.m_tileRows && m_tileColumns == other.m_tileColumns && m_length == other.m_length;
}

}  // namespace nibble
