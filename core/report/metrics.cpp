// SPDX-License-Identifier: GPL-3.0-or-later
// Every metric, once: its formula in code and in words.
#include "core/report/error_report.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace nibble {
namespace {

double safeRatio(double numerator, double denominator) {
  if (denominator != 0) return numerator / denominator;
  return numerator == 0 ? 0 : std::numeric_limits<double>::infinity();
}

}  // namespace

double ErrorReport::mse() const { return safeRatio(sums.errorSquared, static_cast<double>(sums.count)); }
double ErrorReport::rmse() const { return std::sqrt(mse()); }
double ErrorReport::sqnrDb() const {
  if (sums.errorSquared == 0) return std::numeric_limits<double>::infinity();
  return 10 * std::log10(sums.weightSquared / sums.errorSquared);
}
double ErrorReport::relativeFrobenius() const { return safeRatio(std::sqrt(sums.errorSquared), std::sqrt(sums.weightSquared)); }
double ErrorReport::l2() const { return std::sqrt(sums.errorSquared); }
double ErrorReport::meanError() const { return safeRatio(sums.error, static_cast<double>(sums.count)); }
double ErrorReport::cosine() const {
  if (sums.weightSquared == 0 && sums.reconstructedSquared() == 0) return 1;  // zeros kept as zeros point the same way
  const double norms = std::sqrt(sums.weightSquared) * std::sqrt(sums.reconstructedSquared());
  return norms == 0 ? 0 : std::clamp(sums.product() / norms, -1.0, 1.0);  // the sums' rounding may go beyond
}

std::span<const Metric> metrics() {
  static const Metric table[] = {
      {"mse", "MSE", "", "mean of the squared error (w - r)^2 over all weights", true, [](const ErrorReport& r) { return r.mse(); }},
      {"rmse", "RMSE", "", "square root of the mean squared error", true, [](const ErrorReport& r) { return r.rmse(); }},
      {"sqnrDb", "SQNR", "dB", "signal to quantization noise: 10 log10 of the sum of w^2 over the sum of (w - r)^2; infinite when nothing is lost",
       false, [](const ErrorReport& r) { return r.sqnrDb(); }},
      {"relativeFrobenius", "Rel. Frobenius", "", "Frobenius norm of w - r over the Frobenius norm of w", true,
       [](const ErrorReport& r) { return r.relativeFrobenius(); }},
      {"l2", "L2", "", "Frobenius norm of w - r: square root of the summed squared error", true, [](const ErrorReport& r) { return r.l2(); }},
      {"maxError", "Max |error|", "", "largest absolute error |w - r|", true, [](const ErrorReport& r) { return r.maxError(); }},
      {"meanError", "Mean error", "", "mean of w - r with its sign: the bias that quantization adds", true,
       [](const ErrorReport& r) { return r.meanError(); }},
      {"p99Error", "p99 |error|", "", "99th percentile of |w - r|, linear between order statistics", true,
       [](const ErrorReport& r) { return r.p99Error; }},
      {"cosine", "Cosine", "", "cosine similarity of w and r as long vectors", false, [](const ErrorReport& r) { return r.cosine(); }},
      {"codeEntropy", "Code entropy", "bit",
       "bits per weight that a perfect entropy coder would need for the codes alone, without scales and zeros: the entropy of the codes as one memoryless "
       "source (one for each width where widths are mixed; shared where a code stands for several weights). The rest of the codes' bits could still be saved",
       true, [](const ErrorReport& r) { return r.codeEntropy; }},
      {"weightedMse", "Weighted MSE", "", "mean of E[x_j^2] (w_ij - r_ij)^2 with E[x_j^2] the mean squared activation of input channel j", true,
       [](const ErrorReport& r) { return r.weightedMse; }},
  };
  return table;
}

const Metric* findMetric(std::string_view key) {
  const auto all = metrics();
  const auto found = std::find_if(all.begin(), all.end(), [&](const Metric& metric) { return metric.key == key; });
  return found == all.end() ? nullptr : &*found;
}

}  // namespace nibble
