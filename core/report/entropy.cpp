// SPDX-License-Identifier: GPL-3.0-or-later
#include "core/report/entropy.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace nibble {
namespace {

// Logarithmic derivative of the gamma function for x >= 1: recurrence up to 12, then the asymptotic series (error below 1e-13).
double digamma(double x) {
  double sum = 0;
  for (; x < 12; ++x) sum -= 1 / x;
  const double square = 1 / (x * x);
  return sum + std::log(x) - 0.5 / x - square * (1.0 / 12 - square * (1.0 / 120 - square * (1.0 / 252 - square * (1.0 / 240 - square / 132))));
}

// Distance from value i to its K-th nearest other one: the nearest K lie in a window of K + 1 sorted values around it.
double distance(std::span<const double> sorted, std::size_t i, std::size_t neighbours) {
  const std::size_t first = i > neighbours ? i - neighbours : 0;
  const std::size_t last = std::min(i, sorted.size() - 1 - neighbours);
  double least = HUGE_VAL;
  for (std::size_t begin = first; begin <= last; ++begin)
    least = std::min(least, std::max(sorted[i] - sorted[begin], sorted[begin + neighbours] - sorted[i]));
  return least;
}

}  // namespace

double EntropyEstimate::bits() const { return nats / std::numbers::ln2; }

EntropyEstimate nearestNeighbourEntropy(std::span<const double> sorted, int neighbours) {
  EntropyEstimate estimate;
  estimate.count = sorted.size();
  estimate.repeated = sorted.size();
  const auto k = static_cast<std::size_t>(neighbours);
  if (sorted.size() <= k) return estimate;
  double sum = 0, squares = 0;
  std::uint64_t counted = 0;
  for (std::size_t i = 0; i < sorted.size(); ++i) {
    const double away = distance(sorted, i, k);
    if (away <= 0) continue;
    const double log = std::log(away);
    sum += log;
    squares += log * log;
    ++counted;
  }
  estimate.repeated = estimate.count - counted;
  if (counted == 0) return estimate;
  const double used = static_cast<double>(counted), mean = sum / used;
  estimate.nats = digamma(static_cast<double>(sorted.size())) - digamma(neighbours) + std::numbers::ln2 + mean;
  // Distances of neighbours share values; measured over densities this makes the variance about 1.5 times that of independent ones.
  estimate.deviation = std::sqrt(1.5 * std::max(0.0, squares / used - mean * mean) / used);
  return estimate;
}

}  // namespace nibble
