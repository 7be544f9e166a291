// SPDX-License-Identifier: GPL-3.0-or-later
// Exact order statistics of float32 values that are seen twice in strips and never held: the first look counts by the upper 16
// bits of a key that is ordered as the numbers are, the second by the lower 16 bits inside the few bins that are asked for.
// Values that are not finite are left out; -0 stands below +0. Counts merge in any order. One object belongs to one thread.
#pragma once
#include <array>
#include <cstdint>
#include <span>
#include <vector>

namespace nibble {

// Where a quantile lies among `count` ascending values (count > 0): value[below] + fraction * (value[below + 1] - value[below]),
// numpy's default.
struct QuantilePlace {
  std::uint64_t below = 0;
  double fraction = 0;
};
QuantilePlace quantilePlace(double quantile, std::uint64_t count);

class CoarseCounts {
 public:
  CoarseCounts() : m_counts(std::size_t{1} << 16) {}
  void add(std::span<const float> values);
  CoarseCounts& operator+=(const CoarseCounts& more);
  [[nodiscard]] std::uint64_t total() const;

 private:
  friend class FineCounts;
  std::vector<std::uint64_t> m_counts;
};

// The second look: for up to 255 quantiles of the values that `coarse` has counted.
class FineCounts {
 public:
  FineCounts(const CoarseCounts& coarse, std::span<const double> quantiles);
  void add(std::span<const float> values);
  FineCounts& operator+=(const FineCounts& more);  // of the same coarse counts and quantiles
  // Quantile `index` of those asked for, once all values have been added; 0 where there are none.
  [[nodiscard]] double quantile(std::size_t index) const;

 private:
  struct Rank {
    std::uint8_t slot = 0;
    std::uint64_t within = 0;  // of the bin
  };
  Rank locate(const CoarseCounts& coarse, std::uint64_t rank);
  [[nodiscard]] float valueOf(const Rank& rank) const;
  std::vector<std::uint8_t> m_slotOf;  // by upper half: 1 + index into m_bins, 0 for none
  std::vector<std::uint32_t> m_bins;
  std::vector<std::vector<std::uint64_t>> m_counts;
  std::vector<std::array<Rank, 2>> m_ranks;
  std::vector<double> m_fractions;
};

}  // namespace nibble
