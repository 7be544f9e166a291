// SPDX-License-Identifier: GPL-3.0-or-later
// Counts over equal bins of [low, high]; values outside fall into the first or last bin. Mergeable when the bins agree.
#pragma once
#include <cstdint>
#include <vector>

namespace nibble {

struct Histogram {
  double low = 0, high = 0;
  std::vector<std::uint64_t> counts;
  [[nodiscard]] double binWidth() const { return counts.empty() ? 0 : (high - low) / static_cast<double>(counts.size()); }
  [[nodiscard]] std::uint64_t total() const;
  bool operator==(const Histogram&) const = default;
};

}  // namespace nibble
