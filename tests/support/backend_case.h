// SPDX-License-Identifier: GPL-3.0-or-later
// Everything a backend computes from one set of weights, and how it may differ from the host's: not at all, but for error sums,
// 1e-12 of their magnitudes.
#pragma once
#include "kernels/host/host_backend.h"
#include "kernels/math/affine.h"
#include "kernels/math/half_quadratic.h"
#include "tests/support/cuda_cases.h"

#include <cmath>
#include <cstring>
#include <string>
#include <vector>

namespace nibble::test {

template <class T>
bool equalBits(const std::vector<T>& a, const std::vector<T>& b) {
  return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0);
}

struct BackendShape {
  std::size_t groups, size;
  bool columns = false;
  std::size_t gap = 0;  // between groups that are runs
  [[nodiscard]] std::string text() const {
    return std::to_string(groups) + (columns ? " columns of " : " groups of ") + std::to_string(size) + " gap " +
           std::to_string(gap);
  }
};

// Everything a backend computes from one set of weights.
struct BackendResults {
  std::vector<float> low, high, values[3], zeros;
  std::vector<std::uint8_t> affine, thresholds, measured;
  std::vector<double> chunkErrors;
  std::vector<int> rests;
  std::vector<std::uint64_t> bins, histogram, errorHistogram, occupancy;
  kernels::ErrorSums sums, measuredSums;
  std::size_t bad[2] = {};
};

class BackendCase {
 public:
  BackendCase(const BackendShape& shape, unsigned seed) : m_shape(shape) {
    Chance chance(seed);
    m_weights = someWeights(chance, shape.groups * (shape.size + shape.gap));
    m_near = m_weights;
    for (float& value : m_near) value += 0.001f * chance.normal();
    m_spoiled = m_weights;
    if (!m_spoiled.empty()) m_spoiled[chance.below(m_spoiled.size())] = NAN;
    m_view = shape.columns ? kernels::GroupView::strided(m_weights.data(), shape.groups, shape.size)
                           : kernels::GroupView{m_weights.data(), shape.groups, shape.size, shape.size + shape.gap, 1};
    m_low.resize(shape.groups);
    m_high.resize(shape.groups);
    kernels::hostBackend().ranges(m_view, m_low.data(), m_high.data());
    for (std::size_t g = 0; g < shape.groups; ++g) {
      float inverse = 0, zero = 0;
      kernels::halfQuadraticStart(m_low[g], m_high[g], 15, &inverse, &zero);
      m_inverse.push_back(inverse);
      m_scale.push_back(kernels::minmaxScale({m_low[g], m_high[g]}, 15));
      m_firstZero.push_back(zero);
      m_multiplier.push_back(std::fabs(chance.normal()) * 20);
    }
    for (int i = 0; i < 15; ++i) m_thresholds.push_back(0.3f * static_cast<float>(i - 7));
    for (int i = 0; i < 16; ++i) m_ranks.push_back(static_cast<std::uint8_t>(15 - i)), m_table.push_back(chance.normal());
    for (std::size_t i = 0; i < shape.groups * shape.size; ++i) m_codes.push_back(static_cast<std::uint8_t>(chance.below(16)));
  }

  [[nodiscard]] BackendResults of(const kernels::Backend& backend) const {
    BackendResults r;
    const std::size_t groups = m_shape.groups, size = m_shape.size, count = m_weights.size();
    r.low.resize(groups), r.high.resize(groups);
    backend.ranges(m_view, r.low.data(), r.high.data());
    r.affine.assign(count, 77), r.thresholds.assign(count, 77), r.measured.assign(count, 77);
    backend.encodeAffine(m_view, kernels::CodeRule::SubtractDivideRound, m_scale.data(), m_low.data(), 15, r.affine.data());
    backend.encodeThresholds(m_view, m_multiplier.data(), m_thresholds, m_ranks, r.thresholds.data());
    kernels::HalfQuadraticSettings settings;
    settings.iterations = 3;
    r.zeros = m_firstZero;
    r.rests.resize(groups);
    r.chunkErrors.resize((groups + kernels::halfQuadraticChunk - 1) / kernels::halfQuadraticChunk * 3);
    backend.halfQuadratic(m_view, settings, m_inverse.data(), r.zeros.data(), r.chunkErrors.data(), r.rests.data());
    for (std::vector<float>& values : r.values) values.resize(groups * size);
    backend.decodeScaleMinusZero(m_codes.data(), groups, size, m_scale.data(), m_low.data(), r.values[0].data());
    backend.decodeScalePlusBias(m_codes.data(), groups, size, m_scale.data(), m_low.data(), r.values[1].data());
    backend.decodeTable(m_codes.data(), groups, size, m_scale.data(), m_table, r.values[2].data());
    r.sums = backend.errorSums(m_weights.data(), m_near.data(), count);
    r.bins.resize(33), r.histogram.resize(64), r.errorHistogram.resize(64), r.occupancy.resize(256);
    if (!m_shape.columns)
      r.measuredSums = backend.encodeAffineMeasured(m_view, kernels::CodeRule::SubtractDivideRound, kernels::AffineValue::ScalePlusBias,
                                                    m_scale.data(), m_low.data(), 15, m_scale.data(), r.measured.data(),
                                                    {-0.01f, 0.01f, r.bins});
    backend.histogram(m_weights.data(), count, -0.1f, 0.1f, r.histogram);
    backend.errorHistogram(m_weights.data(), m_near.data(), count, -0.002f, 0.002f, r.errorHistogram);
    backend.occupancy(m_codes.data(), m_codes.size(), r.occupancy);
    r.bad[0] = backend.firstNonFinite(m_weights.data(), count);
    r.bad[1] = backend.firstNonFinite(m_spoiled.data(), count);
    return r;
  }

  // Empty, or what differs.
  [[nodiscard]] std::string differs(const BackendResults& a, const BackendResults& b) const {
    if (!equalBits(a.low, b.low) || !equalBits(a.high, b.high)) return "ranges";
    if (!equalBits(a.affine, b.affine)) return "affine codes";
    if (!equalBits(a.thresholds, b.thresholds)) return "threshold codes";
    if (!equalBits(a.zeros, b.zeros) || !equalBits(a.chunkErrors, b.chunkErrors)) return "half-quadratic";
    for (int i = 0; i < 3; ++i)
      if (!equalBits(a.values[i], b.values[i])) return "values " + std::to_string(i);
    if (!equalBits(a.measured, b.measured) || a.bins != b.bins) return "measured codes or bins";
    if (a.histogram != b.histogram || a.errorHistogram != b.errorHistogram || a.occupancy != b.occupancy) return "counts";
    if (a.bad[0] != b.bad[0] || a.bad[1] != b.bad[1]) return "first non-finite";
    const std::string sums = sumsDiffer(a.sums, b.sums);
    return sums.empty() ? sumsDiffer(a.measuredSums, b.measuredSums) : sums;
  }

 private:
  static std::string sumsDiffer(const kernels::ErrorSums& a, const kernels::ErrorSums& b) {
    const double errors = std::sqrt(static_cast<double>(a.count) * a.errorSquared);
    const double products = std::sqrt(a.weightSquared * a.errorSquared);
    const auto far = [](double x, double y, double bound) { return !(std::fabs(x - y) <= 1e-12 * bound); };
    if (a.count != b.count || a.maxError != b.maxError) return "count or largest error";
    if (far(a.error, b.error, errors) || far(a.weightError, b.weightError, products)) return "sums of errors";
    return far(a.errorSquared, b.errorSquared, a.errorSquared) || far(a.weightSquared, b.weightSquared, a.weightSquared)
               ? "sums of squares"
               : std::string();
  }

  BackendShape m_shape;
  std::vector<float> m_weights, m_near, m_spoiled, m_low, m_high, m_inverse, m_scale, m_firstZero, m_multiplier, m_thresholds, m_table;
  std::vector<std::uint8_t> m_ranks, m_codes;
  kernels::GroupView m_view;
};

}  // namespace nibble::test
