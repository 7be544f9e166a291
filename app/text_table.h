// SPDX-License-Identifier: GPL-3.0-or-later
// A table for people: columns as wide as their widest cell, numbers to the right. Widths count code points.
#pragma once
#include <string>
#include <vector>

namespace nibble::cli {

struct TableColumn {
  std::string title;
  bool right = false;
};

class TextTable {
 public:
  explicit TextTable(std::vector<TableColumn> columns) : m_columns(std::move(columns)) {}
  void add(std::vector<std::string> cells) { m_rows.push_back(std::move(cells)); }
  [[nodiscard]] std::string text() const;

 private:
  std::vector<TableColumn> m_columns;
  std::vector<std::vector<std::string>> m_rows;
};

// "0.000123" with so many significant digits, "inf", "nan".
std::string figure(double value, int significant = 4);
// "4.503" with so many digits after the point.
std::string decimals(double value, int digits);
// A scheme's canonical text without the keys that are as they are by default: behind a dozen of them nobody finds the figures.
// JSON and CSV have all. What is no scheme stays as it is.
std::string shortScheme(const std::string& scheme);

}  // namespace nibble::cli
