// SPDX-License-Identifier: GPL-3.0-or-later
// What the weights of one tensor are like. NaN and infinity are counted and left out of everything else.
// mean, std (of the population: divided by n) and kurtosis = m4 / m2^2 (not excess: 3 for a normal distribution; 0 where all
// weights are equal) are of deviations from the mean, in double. Percentiles are exact order statistics of the float32 values,
// linear in between (numpy's default). Integer tensors are read as float32 too. Two passes in strips, parallel, never a copy of
// the tensor; results do not depend on backend or thread count. Errors: cancelled, a file that shrank.
#pragma once
#include "core/base/context.h"
#include "core/base/result.h"
#include "core/tensor/tensor.h"

#include <cstdint>
#include <vector>

namespace nibble {

struct TensorStatistics {
  std::uint64_t count = 0;  // of finite weights; where it is 0 all numbers below are 0
  float min = 0, max = 0, absMax = 0;
  double mean = 0, std = 0;
  std::uint64_t zeros = 0, nonFinite = 0, denormals = 0;
  std::uint64_t firstNonFinite = 0;  // flat index, where nonFinite > 0
  double p01 = 0, p99 = 0;
  double kurtosis = 0;
};
Result<TensorStatistics> tensorStatistics(const Tensor& tensor, const Context& context);

// One row (output channel): minimum, 1 %, median, 99 %, maximum of its finite weights; all 0 where it has none.
struct RowSpread {
  float min = 0, p01 = 0, median = 0, p99 = 0, max = 0;
};
Result<std::vector<RowSpread>> rowSpreads(const Tensor& tensor, const Context& context);

}  // namespace nibble
