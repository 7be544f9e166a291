// SPDX-License-Identifier: GPL-3.0-or-later
#include "app/text_table.h"

#include "app/program.h"
#include "core/base/text.h"
#include "core/run/choice.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>

namespace nibble::cli {
namespace {

std::size_t width(const std::string& text) {
  return static_cast<std::size_t>(
      std::count_if(text.begin(), text.end(), [](unsigned char byte) { return (byte & 0xC0) != 0x80; }));
}

void appendRow(std::string& out, const std::vector<TableColumn>& columns, const std::vector<std::size_t>& widths,
               const std::vector<std::string>& cells) {
  std::string line;
  for (std::size_t i = 0; i < columns.size(); ++i) {
    const std::string padding(widths[i] - width(cells[i]), ' ');
    line += (i == 0 ? "" : "  ") + (columns[i].right ? padding + cells[i] : cells[i] + padding);
  }
  line.erase(line.find_last_not_of(' ') + 1);
  out += line + "\n";
}

}  // namespace

std::string TextTable::text() const {
  std::vector<std::vector<std::string>> rows{{}};
  for (const TableColumn& column : m_columns) rows.front().push_back(column.title);
  for (const auto& row : m_rows) {
    rows.emplace_back();
    for (const std::string& cell : row) rows.back().push_back(oneLine(cell));
  }
  std::vector<std::size_t> widths(m_columns.size(), 0);
  for (const auto& row : rows)
    for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], width(row[i]));
  std::string out;
  for (const auto& row : rows) appendRow(out, m_columns, widths, row);
  return out;
}

std::string figure(double value, int significant) {
  return text::digits(value, significant);
}

std::string decimals(double value, int digits) {
  if (!std::isfinite(value)) return text::number(value);
  std::array<char, 512> buffer{};
  const auto end = std::to_chars(buffer.data(), buffer.data() + buffer.size(), value, std::chars_format::fixed, digits).ptr;
  return {buffer.data(), end};
}

std::string shortScheme(const std::string& scheme) {
  const auto choice = Choice::parse(scheme);
  return choice ? choice->shortText() : scheme;
}

}  // namespace nibble::cli
