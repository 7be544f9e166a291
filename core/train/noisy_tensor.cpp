// SPDX-License-Identifier: GPL-3.0-or-later
#include "core/train/noisy_tensor.h"

#include "core/base/contracts.h"
#include "kernels/backend.h"

#include <algorithm>
#include <cmath>

namespace nibble::train {
namespace {

constexpr std::uint64_t strip = 32768;  // weights a thread takes at once

}  // namespace

template <class T>
NoisyTensor<T>::NoisyTensor(const BitScale& scale, std::uint64_t size, std::uint64_t group)
    : m_scale(scale),
      m_size(size),
      m_length(group == 0 ? size : group),
      m_groups(size / m_length),
      m_piece(std::min(m_length, strip)),
      m_pieces((m_length + m_piece - 1) / m_piece),
      m_noiseScale(m_groups),
      m_noiseSlope(m_groups),
      m_noise(size) {
  NIBBLE_EXPECTS(size > 0 && m_groups * m_length == size);
}

template <class T>
template <class Body>
void NoisyTensor<T>::eachPiece(const Context& context, const Body& body) const {
  const auto some = [&](std::size_t first, std::size_t last) {
    for (std::size_t piece = first; piece < last; ++piece) {
      const std::uint64_t group = piece / m_pieces, begin = group * m_length + piece % m_pieces * m_piece;
      body(piece, group, begin, std::min(begin + m_piece, (group + 1) * m_length));
    }
  };
  context.backend->parallelFor(m_groups * m_pieces, std::max<std::uint64_t>(1, strip / m_piece), some);
}

template <class T>
void NoisyTensor<T>::findRange(std::span<const double> weights, const Context& context) {
  const std::size_t strips = (m_size + strip - 1) / strip;
  std::vector<double> lows(strips), highs(strips);
  const auto body = [&](std::size_t begin, std::size_t end) {
    const auto [low, high] = std::minmax_element(weights.begin() + static_cast<std::ptrdiff_t>(begin),
                                                 weights.begin() + static_cast<std::ptrdiff_t>(end));
    lows[begin / strip] = *low;
    highs[begin / strip] = *high;
  };
  context.backend->parallelFor(m_size, strip, body);
  const double low = *std::min_element(lows.begin(), lows.end()), high = *std::max_element(highs.begin(), highs.end());
  m_range = high - low;
  m_lowest.clear();
  m_highest.clear();
  // Most strips hold neither.
  for (std::size_t s = 0; s < strips; ++s) {
    if (lows[s] != low && highs[s] != high) continue;
    for (std::uint64_t i = s * strip; i < std::min((s + 1) * strip, m_size); ++i) {
      if (weights[i] == low) m_lowest.push_back(i);
      if (weights[i] == high) m_highest.push_back(i);
    }
  }
}

template <class T>
void NoisyTensor<T>::forward(std::span<const double> weights, std::span<const double> logits, std::span<T> noisy,
                             const Context& context) {
  NIBBLE_EXPECTS(weights.size() == m_size && noisy.size() == m_size && logits.size() == m_groups);
  findRange(weights, context);
  eachPiece(context, [&](std::uint64_t, std::uint64_t group, std::uint64_t begin, std::uint64_t end) {
    const double scale = m_scale.noise(logits[group]);
    if (begin == group * m_length) {
      m_noiseScale[group] = scale;
      m_noiseSlope[group] = m_scale.noiseSlope(logits[group]);
    }
    const auto step = static_cast<T>(m_range * scale);
    for (std::uint64_t i = begin; i < end; ++i) noisy[i] = static_cast<T>(weights[i]) + step * m_noise[i];
  });
}

template <class T>
void NoisyTensor<T>::backward(std::span<const T> gradient, double factor, std::span<double> ofWeights,
                              std::span<double> ofLogits, const Context& context) const {
  NIBBLE_EXPECTS(gradient.size() == m_size && ofWeights.size() == m_size && ofLogits.size() == m_groups);
  std::vector<double> sums(m_groups * m_pieces);
  eachPiece(context, [&](std::uint64_t piece, std::uint64_t, std::uint64_t begin, std::uint64_t end) {
    double sum = 0;
    for (std::uint64_t i = begin; i < end; ++i) {
      const auto q = static_cast<double>(gradient[i]);
      ofWeights[i] += factor * q;
      sum += q * static_cast<double>(m_noise[i]);
    }
    sums[piece] = sum;
  });
  double share = 0;
  for (std::uint64_t group = 0; group < m_groups; ++group) {
    double sum = 0;
    for (std::uint64_t piece = group * m_pieces; piece < (group + 1) * m_pieces; ++piece) sum += sums[piece];
    share += m_noiseScale[group] * sum;
    ofLogits[group] += factor * sum * m_range * m_noiseSlope[group];
  }
  for (const std::uint64_t i : m_highest) ofWeights[i] += factor * share / static_cast<double>(m_highest.size());
  for (const std::uint64_t i : m_lowest) ofWeights[i] -= factor * share / static_cast<double>(m_lowest.size());
}

template class NoisyTensor<float>;
template class NoisyTensor<double>;

}  // namespace nibble::train
