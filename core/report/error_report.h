// SPDX-License-Identifier: GPL-3.0-or-later
// What quantization did to one tensor: w the weights, r their reconstruction, e = w - r in float32, sums in double.
// One pass over the weights in strips; the parts of the strips merge. Every metric is defined once in `metrics()`: that text is
// the tooltip, the documentation and the column header.
#pragma once
#include "core/base/context.h"
#include "core/quant/quantized_tensor.h"
#include "core/report/histogram.h"
#include "kernels/backend.h"

#include <span>
#include <string_view>
#include <vector>

namespace nibble {

struct GroupError {
  double errorSquared = 0;  // sum over the group
  float maxError = 0;
  std::uint32_t count = 0;
};

struct ReportOptions {
  int histogramBins = 0;      // error and weight histograms; 0: none (they cost more than everything else)
  bool perGroup = false;      // one GroupError per group of the scale plane
  bool perRow = false;
  bool percentile = true;     // p99: exact, costs a second look at the weights
  std::span<const float> inputWeights{};  // E[x^2] per input column, for weightedMse; empty: none
};

struct ErrorReport {
  kernels::ErrorSums sums;
  double p99Error = 0;                      // 99th percentile of |e|, linear between order statistics
  std::vector<std::uint64_t> occupancy;     // how often each code is used; empty for more than 4096 codes
  double codeEntropy = 0;                   // bits per weight of the codes under a perfect entropy coder (code_entropy.h)
  double weightLow = 0, weightHigh = 0;     // range of w
  Histogram weights, errors;                // errors over +- max |e|
  std::vector<GroupError> groups, rows;
  double weightedMse = -1;                  // negative: not asked for

  [[nodiscard]] double mse() const;
  [[nodiscard]] double rmse() const;
  [[nodiscard]] double sqnrDb() const;      // +infinity for an exact reconstruction
  [[nodiscard]] double relativeFrobenius() const;
  [[nodiscard]] double l2() const;
  [[nodiscard]] double maxError() const { return sums.maxError; }
  [[nodiscard]] double meanError() const;   // mean of e (bias), signed
  [[nodiscard]] double cosine() const;
};

struct Metric {
  std::string_view key;         // as in JSON: "sqnrDb"
  std::string_view label;       // "SQNR"
  std::string_view unit;        // "dB" or empty
  std::string_view definition;  // "10 log10 of the sum of w^2 over the sum of e^2"
  bool lowerIsBetter = true;
  double (*value)(const ErrorReport&) = nullptr;
};
std::span<const Metric> metrics();
const Metric* findMetric(std::string_view key);

class Tensor;
Result<ErrorReport> errorReport(const Tensor& tensor, const QuantizedTensor& quantized, const ReportOptions& options,
                                const Context& context);

}  // namespace nibble
