// SPDX-License-Identifier: GPL-3.0-or-later
// Weights beside what comes back: w as it was, r its reconstruction, e = w - r in float32, as the error report has it. Where the
// pairs (w, r) lie is counted in bins x bins squares over [-reach, reach]^2 with reach = max(|w|, |r|), but at most five times
// their root mean square, so that a few outliers do not press the rest into one square: what lies beyond counts in the outermost
// squares. So a matrix of any size becomes a picture without leaving a weight out; the few largest errors are listed with their
// places. Two sweeps in strips, the same whatever the number of threads. A pair that is not finite is left out of both.
#pragma once
#include "core/base/context.h"
#include "core/base/result.h"
#include "core/quant/quantized_tensor.h"

#include <cstdint>
#include <vector>

namespace nibble {

struct LargeError {
  std::uint64_t row = 0, column = 0;  // in the model's order
  float weight = 0, value = 0, error = 0;
  std::int64_t code = 0;  // of the stored weight; of its vector where a code stands for several
  bool operator==(const LargeError&) const = default;
};

struct Reconstruction {
  int bins = 0;
  double reach = 0;
  std::vector<std::uint64_t> counts;  // [bins, bins]: row by r from -reach up, column by w
  std::vector<LargeError> largest;    // |e| falling; of equals the first in row-major order first

  [[nodiscard]] std::uint64_t at(int weightBin, int valueBin) const {
    return counts[static_cast<std::size_t>(valueBin) * static_cast<std::size_t>(bins) + static_cast<std::size_t>(weightBin)];
  }
  [[nodiscard]] double binWidth() const { return bins > 0 ? 2 * reach / bins : 0; }
};

// Errors: cancelled, a file that shrank, a tensor of another shape. `most`: how many errors are listed.
Result<Reconstruction> reconstruction(const Tensor& tensor, const QuantizedTensor& quantized, int bins, std::size_t most,
                                      const Context& context);

}  // namespace nibble
