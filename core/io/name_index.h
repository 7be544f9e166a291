// SPDX-License-Identifier: GPL-3.0-or-later
// From names to places in a list. Holds views: whoever owns the names keeps them where they are.
// Open addressing; a few tens of nanoseconds a name, so that a header of 100,000 tensors is not slowed by it.
#pragma once
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

namespace nibble {

class NameIndex {
 public:
  explicit NameIndex(std::size_t expected = 0);
  // The place already known under the name; else nothing, and the name now leads to `place`.
  std::optional<std::uint32_t> insert(std::string_view name, std::uint32_t place);
  [[nodiscard]] std::optional<std::uint32_t> find(std::string_view name) const;

 private:
  struct Cell {
    std::string_view name;
    std::uint32_t hash = 0;
    std::uint32_t place = empty;
  };
  static constexpr std::uint32_t empty = 0xFFFFFFFFu;
  [[nodiscard]] const Cell& cellOf(std::string_view name, std::uint32_t hash) const;
  void grow(std::size_t cells);
  std::vector<Cell> m_cells;  // a power of two, at most half full
  std::size_t m_used = 0;
};

}  // namespace nibble
