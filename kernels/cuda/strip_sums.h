// SPDX-License-Identifier: GPL-3.0-or-later
// Error sums that come strip by strip, in parts as storeBlockSums leaves them, in any order; added in the order of the strips
// and by halves, so that neither the order they came in nor their number costs digits.
#pragma once
#include "kernels/backend.h"
#include "kernels/cuda/sum_parts.h"

#include <algorithm>
#include <span>
#include <vector>

namespace nibble::kernels::NIBBLE_CUDA_SPACE {

class StripSums {
 public:
  explicit StripSums(std::size_t strips) : m_strips(strips) {}
  void setParts(std::size_t strip, const double* parts, std::size_t count) { m_strips[strip].assign(parts, parts + count); }
  void set(std::size_t strip, const ErrorSums& sums) {
    m_strips[strip] = {sums.error, sums.errorSquared, sums.weightSquared, sums.weightError, static_cast<double>(sums.maxError)};
  }
  [[nodiscard]] ErrorSums total(std::size_t count) const {
    std::vector<double> all;
    for (const auto& strip : m_strips) all.insert(all.end(), strip.begin(), strip.end());
    ErrorSums sums = add(all);
    sums.count = count;
    return sums;
  }

 private:
  static ErrorSums add(std::span<const double> parts) {
    ErrorSums sums;
    const std::size_t count = parts.size() / sumFields;
    if (count > 8) {
      const std::size_t half = (count + 1) / 2 * sumFields;
      sums = add(parts.first(half));
      sums += add(parts.subspan(half));
      return sums;
    }
    for (std::size_t i = 0; i < count; ++i, parts = parts.subspan(sumFields)) {
      sums.error += parts[0];
      sums.errorSquared += parts[1];
      sums.weightSquared += parts[2];
      sums.weightError += parts[3];
      sums.maxError = std::max(sums.maxError, static_cast<float>(parts[4]));
    }
    return sums;
  }
  std::vector<std::vector<double>> m_strips;
};

}  // namespace nibble::kernels::NIBBLE_CUDA_SPACE
