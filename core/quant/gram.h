// SPDX-License-Identifier: GPL-3.0-or-later
// Dense linear algebra over the inputs of a layer, in double, in tiles: each looks at the stop token, and its sums have one
// order whatever the number of threads. Sizes are in channels; 4096 need 128 MiB.
#pragma once
#include "core/base/context.h"
#include "core/base/result.h"
#include "core/tensor/activations.h"

#include <cstdint>
#include <span>
#include <vector>

namespace nibble {

// X^T X [channels, channels], given or summed from the samples. Not for inputs that have neither.
Result<std::vector<double>> gramMatrix(const LayerInputs& inputs, const Context& context);

// Of a symmetric positive definite H [n, n] (row-major; the lower triangle is not read) the upper triangular V with positive
// diagonal and H^-1 = V^T V, the upper Cholesky factor of the inverse: V[r, c] stands at [r, c] afterwards, zeros below.
// Found without forming the inverse: H = U U^T with U upper triangular, eliminated from the last column up, and V = U^-1.
// Errors: cancelled; not positive definite.
Status factorOfInverse(std::span<double> matrix, std::uint64_t n, const Context& context);

}  // namespace nibble
