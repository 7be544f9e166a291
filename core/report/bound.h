// SPDX-License-Identifier: GPL-3.0-or-later
// What no memoryless code can beat on these very weights: lower bounds on the mean squared error at R bits per weight.
//   density     Shannon's lower bound from the density p of the weights: MSE(R) >= 2^(2 h) 2^(-2 R) / (2 pi e), h = differential
//               entropy in bits. Vector and trellis codes approach it; codes that use structure between weights may pass it.
//   rows known  the same for a code that is told each row's scale (its root mean square s) for nothing: h becomes h(w / s) + E log2 s.
//   gaussian    variance * 2^(-2 R), the 6.02 dB per bit of Gaussian weights of this variance. Above the first for every density.
// h is estimated by nearest neighbours (entropy.h) from all weights, or a stated sample of large tensors. Weights that are exactly
// 0 count as known: they cost no bits, the others share the rate (share q of them: MSE(R) >= q 2^(2 h) 2^(-2 R / q) / (2 pi e)).
// Weights stored in few bits lie on a grid. They are spread evenly over their cell (width d) before the estimate; a code of the
// weights is then a code of the spread ones with d^2 / 12 more error, so the bound for the weights themselves is MSE(R) - E[d^2] / 12.
// `validBits` is the rate at which MSE(R) is ten times that: from there on the grid moves the bound by more than 0.5 dB, above
// about 1.7 bits more a lossless code passes it, and no figure is given. Float16 weights end near 10 bits, bfloat16 near 8.
// Sources: Shannon 1959; Berger, Rate Distortion Theory (1971), 4.3.
#pragma once
#include "core/base/context.h"
#include "core/base/result.h"
#include "core/tensor/tensor.h"
#include "kernels/math/minifloat.h"

#include <cstdint>
#include <optional>
#include <string>

namespace nibble {

struct RateBound {
  double entropyBits = 0;   // differential, per weight that is not 0
  double errorBits = 0;     // two standard deviations of the estimate
  double share = 1;         // of weights that are not 0
  double validBits = 0;     // largest rate for which it holds
  [[nodiscard]] double mse(double bitsPerWeight) const;
  [[nodiscard]] double rate(double mse) const;  // the inverse
};

struct MemorylessBound {
  RateBound density, rowsKnown;
  double meanSquare = 0, variance = 0;       // of all weights
  std::uint64_t weights = 0, sampled = 0;    // equal: all were looked at
  kernels::FloatType grid = kernels::FloatType::F32;  // the coarsest type that holds every weight looked at
  double gridMse = 0;                        // E[d^2] / 12 over all weights
  std::string refusal;                       // why there is no bound ("the weights take few values"); empty: there is one

  [[nodiscard]] bool ok() const { return refusal.empty(); }
  [[nodiscard]] double gaussianMse(double bitsPerWeight) const;
  // 10 log10(mse / density.mse(bitsPerWeight)): how far above the bound. None where it does not hold or nothing was lost.
  [[nodiscard]] std::optional<double> decibels(double mse, double bitsPerWeight) const;
  [[nodiscard]] std::string note() const;    // one line on the estimate: method, sample, error, grid
};

inline constexpr std::uint64_t boundSample = std::uint64_t{1} << 18;

// Weights are finite. Deterministic: the same numbers on every backend and thread count but for the last digits of the row scales.
// Errors: cancelled, a file that shrank.
Result<MemorylessBound> memorylessBound(const Tensor& tensor, const Context& context);

}  // namespace nibble
