// SPDX-License-Identifier: GPL-3.0-or-later
#include "core/report/order_statistics.h"

#include "core/base/contracts.h"
#include "kernels/math/statistics.h"

#include <algorithm>
#include <bit>
#include <numeric>

namespace nibble {
namespace {

constexpr int fineBits = 16;
constexpr std::uint32_t signBit = 0x80000000u;

// Negative numbers turned over, the others above them.
std::uint32_t keyOf(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  return (bits & signBit) != 0 ? ~bits : bits | signBit;
}
float fromKey(std::uint32_t key) { return std::bit_cast<float>((key & signBit) != 0 ? key & ~signBit : ~key) + 0.0f; }

void addCounts(std::vector<std::uint64_t>& counts, const std::vector<std::uint64_t>& more) {
  for (std::size_t i = 0; i < counts.size(); ++i) counts[i] += more[i];
}

}  // namespace

QuantilePlace quantilePlace(double quantile, std::uint64_t count) {
  const double position = quantile * static_cast<double>(count - 1);
  const auto below = static_cast<std::uint64_t>(position);
  return {below, position - static_cast<double>(below)};
}

void CoarseCounts::add(std::span<const float> values) {
  for (const float value : values)
    if (kernels::isFinite(value)) ++m_counts[keyOf(value) >> fineBits];
}

CoarseCounts& CoarseCounts::operator+=(const CoarseCounts& more) {
  addCounts(m_counts, more.m_counts);
  return *this;
}

std::uint64_t CoarseCounts::total() const { return std::accumulate(m_counts.begin(), m_counts.end(), std::uint64_t{0}); }

FineCounts::FineCounts(const CoarseCounts& coarse, std::span<const double> quantiles) : m_slotOf(std::size_t{1} << 16) {
  NIBBLE_EXPECTS(quantiles.size() < 128);
  const std::uint64_t total = coarse.total();
  if (total == 0) return;
  for (const double quantile : quantiles) {
    const QuantilePlace place = quantilePlace(quantile, total);
    m_fractions.push_back(place.fraction);
    m_ranks.push_back({locate(coarse, place.below), locate(coarse, std::min(place.below + 1, total - 1))});
  }
}

FineCounts::Rank FineCounts::locate(const CoarseCounts& coarse, std::uint64_t rank) {
  std::uint32_t bin = 0;
  while (rank >= coarse.m_counts[bin]) rank -= coarse.m_counts[bin++];
  if (m_slotOf[bin] == 0) {
    m_bins.push_back(bin);
    m_counts.emplace_back(std::size_t{1} << fineBits);
    m_slotOf[bin] = static_cast<std::uint8_t>(m_bins.size());
  }
  return {static_cast<std::uint8_t>(m_slotOf[bin] - 1), rank};
}

void FineCounts::add(std::span<const float> values) {
  if (m_bins.empty()) return;
  for (const float value : values) {
    const std::uint32_t key = keyOf(value);
    const std::uint8_t slot = m_slotOf[key >> fineBits];
    if (slot != 0) ++m_counts[slot - 1u][key & ((1u << fineBits) - 1)];
  }
}

FineCounts& FineCounts::operator+=(const FineCounts& more) {
  for (std::size_t slot = 0; slot < m_counts.size(); ++slot) addCounts(m_counts[slot], more.m_counts[slot]);
  return *this;
}

float FineCounts::valueOf(const Rank& rank) const {
  const std::vector<std::uint64_t>& counts = m_counts[rank.slot];
  std::uint32_t low = 0;
  for (std::uint64_t left = rank.within; left >= counts[low]; ++low) left -= counts[low];
  return fromKey(m_bins[rank.slot] << fineBits | low);
}

double FineCounts::quantile(std::size_t index) const {
  if (m_ranks.empty()) return 0;
  const double below = valueOf(m_ranks[index][0]), above = valueOf(m_ranks[index][1]);
  return below + m_fractions[index] * (above - below);
}

}  // namespace nibble
