// SPDX-License-Identifier: GPL-3.0-or-later
// Differential entropy of a sample, in nats, by the distance to the K-th nearest other value (Kozachenko and Leonenko 1987, one
// dimension): psi(N) - psi(K) + ln 2 + mean of ln(distance). No bins, so heavy tails and any shape of density are fine.
// Values that lie on a grid have distances of 0, which the formula cannot hold: they are left out of the mean and counted, and
// beyond a few per cent the number means nothing (spread such values over their grid cell first).
#pragma once
#include <cstdint>
#include <span>

namespace nibble {

struct EntropyEstimate {
  double nats = 0;
  double deviation = 0;         // standard deviation of `nats` over samples of this size, from the spread of ln(distance)
  std::uint64_t count = 0;      // of values
  std::uint64_t repeated = 0;   // of them with a distance of 0
  [[nodiscard]] double bits() const;
  [[nodiscard]] double repeatedShare() const { return count == 0 ? 1 : static_cast<double>(repeated) / static_cast<double>(count); }
};

inline constexpr int entropyNeighbours = 3;

// `sorted` is ascending and has more than `neighbours` values; else all is 0 and every value counts as repeated.
EntropyEstimate nearestNeighbourEntropy(std::span<const double> sorted, int neighbours = entropyNeighbours);

}  // namespace nibble
