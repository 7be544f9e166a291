// SPDX-License-Identifier: GPL-3.0-or-later
// Which weights of a [rows, columns] matrix share a parameter. Groups are numbered from 0; the number of a weight's group is a
// pure function of its place. Four kinds cover every format in the specifications:
//   Blocks   tiles of r x c weights with ragged edges, numbered row-major: per tensor, channel (row), column, group along the
//            input, 128 x 128 tiles, super-blocks
//   Flat     runs of n weights in row-major order that ignore row boundaries, with a shorter tail (document 000, bitsandbytes, DiffQ)
//   Modulo   weight k belongs to group k mod g (HQQ axis 0)
//   Columns  one index per input column and one set of groups per row: unequal, unordered groups (GPTQ's g_idx, EXL2, MBWQ)
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace nibble {

class Grouping {
 public:
  enum class Kind { Blocks, Flat, Modulo, Columns };

  // A tile of 0 rows or columns spans the whole side.
  static Grouping blocks(std::uint64_t rows, std::uint64_t columns, std::uint64_t tileRows, std::uint64_t tileColumns);
  static Grouping tensor(std::uint64_t rows, std::uint64_t columns) { return blocks(rows, columns, 0, 0); }
  static Grouping flat(std::uint64_t rows, std::uint64_t columns, std::uint64_t length);
  static Grouping modulo(std::uint64_t rows, std::uint64_t columns, std::uint64_t groups);
  // Group of weight (r, c) is r * indexCount + index[c]; indexCount = 1 + largest index.
  static Grouping columnMap(std::uint64_t rows, std::vector<std::uint32_t> index);

  [[nodiscard]] Kind kind() const { return m_kind; }
  [[nodiscard]] std::uint64_t rows() const { return m_rows; }
  [[nodiscard]] std::uint64_t columns() const { return m_columns; }
  [[nodiscard]] std::uint64_t groupCount() const { return m_groupCount; }
  [[nodiscard]] std::uint64_t tileRows() const { return m_tileRows; }        // Blocks
  [[nodiscard]] std::uint64_t tileColumns() const { return m_tileColumns; }  // Blocks
  [[nodiscard]] std::uint64_t length() const { return m_length; }            // Flat: run length; Modulo: group count
  [[nodiscard]] const std::vector<std::uint32_t>& index() const { return *m_index; }  // Columns

  [[nodiscard]] std::uint64_t groupOf(std::uint64_t flatIndex) const;
  // How many consecutive weights from `flatIndex` on (in row-major order) share its group; at least 1.
  [[nodiscard]] std::uint64_t runLength(std::uint64_t flatIndex) const;
  // Flat indices of a group's members in ascending order.
  [[nodiscard]] std::vector<std::uint64_t> members(std::uint64_t group) const;
  // The same one by one, for groups as large as a tensor: how many there are, and the flat index of member `rank`.
  [[nodiscard]] std::uint64_t memberCount(std::uint64_t group) const;
  [[nodiscard]] std::uint64_t member(std::uint64_t group, std::uint64_t rank) const;
  // Shape parameters are naturally written in: [out, groups per row] for Blocks, [groups, 1] for Flat, [1, groups] for Modulo,
  // [out, index count] for Columns.
  [[nodiscard]] std::vector<std::uint64_t> naturalShape() const;
  [[nodiscard]] std::string describe() const;  // "64 along the input", "per row", "flat 64"

  bool operator==(const Grouping& other) const;

 private:
  Grouping() = default;
  Kind m_kind = Kind::Blocks;
  std::uint64_t m_rows = 0, m_columns = 0, m_tileRows = 0, m_tileColumns = 0, m_length = 0, m_groupCount = 0;
  std::shared_ptr<const std::vector<std::uint32_t>> m_index;
};

}  // namespace nibble
