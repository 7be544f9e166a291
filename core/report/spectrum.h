// SPDX-License-Identifier: GPL-3.0-or-later
// Singular values of a matrix A [rows, columns], falling: of the weights, and of their error E = W - R. The best correction of
// rank r leaves the energy that the first r values do not hold (Eckart, Young 1936), so `share(r)` of the error says what an
// adapter of rank r could buy back, and how much of the squared error it would take away.
//
// Small (smaller side s <= exactSide, at most exactWeights weights): all s values, the square roots of the eigenvalues of the
// Gram matrix of the smaller side, in double; values below about 1e-8 of the largest are not told from 0. About
// s^2 * (larger side) + 4/3 s^3 multiplications and a float copy of the matrix.
// Larger: the first `firstDirections` values by a block Krylov space (Musco, Musco 2015) of up to ten blocks of 32 directions
// from a fixed start, read from the matrix in as many sweeps of 64 multiplications a weight; no copy of the matrix. These are
// never above the true ones; where the spectrum is flat the later ones lie below (plain noise of 1536 x 2048: the 16th by 0.05 %,
// the 64th by 2 %). `energy` is exact in both.
// Above spectrumLargest weights: refused.
#pragma once
#include "core/base/context.h"
#include "core/base/result.h"
#include "core/quant/quantized_tensor.h"

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

namespace nibble {

struct Spectrum {
  std::vector<double> values;  // falling
  double energy = 0;           // the sum of the squares of all values: the squared Frobenius norm
  std::uint64_t directions = 0;  // min(rows, columns): how many there are
  [[nodiscard]] bool complete() const { return values.size() == directions; }
  // Of the energy, what the first `rank` values hold, 0..1; all of no energy. rank <= values.size().
  [[nodiscard]] double share(std::size_t rank) const;
};

inline constexpr std::uint64_t exactSide = 1024, exactWeights = std::uint64_t{1} << 24;
inline constexpr std::uint64_t spectrumLargest = std::uint64_t{1} << 28;
inline constexpr std::uint64_t firstDirections = 64;

// Fills `out` with whole rows from `firstRow` on; called from several threads.
using RowReader = std::function<Status(std::uint64_t firstRow, std::span<float> out)>;

// Errors: cancelled (looked at every few milliseconds), too large, a number that is not finite, the reader's own.
Result<Spectrum> spectrum(std::uint64_t rows, std::uint64_t columns, const RowReader& read, const Context& context);
Result<Spectrum> weightSpectrum(const Tensor& tensor, const Context& context);
Result<Spectrum> errorSpectrum(const Tensor& tensor, const QuantizedTensor& quantized, const Context& context);

}  // namespace nibble
