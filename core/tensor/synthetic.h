// SPDX-License-Identifier: GPL-3.0-or-later
// Made-up weights with known properties, for tests, samples and empty states. A value is a function of seed and flat index
// alone (a 64-bit mixing function, no state), by float64 arithmetic without library transcendentals whose last bit may differ:
// the same numbers on every machine. Always finite; about the scale of real weights (standard deviation 0.02) where it makes
// sense.
#pragma once
#include "core/tensor/tensor.h"

#include <cstdint>
#include <span>
#include <string_view>

namespace nibble {

enum class Distribution : std::uint8_t {
  Gauss,      // sum of twelve uniform numbers, standard deviation 0.02
  HeavyTail,  // the same over the root of a mean of three squares: close to Student's t with 3 degrees of freedom
  Uniform,    // [-0.05, 0.05)
  Ramp,       // -1 to 1 in equal steps over the tensor
  Constant,   // 0.03125 everywhere
  Zeros,
  OneOutlier,  // Gauss, with one weight of 8
  SignOnly,    // +-0.05
  Denormals,   // multiples of 2^-149 below 2^-126, both signs
};

std::string_view name(Distribution distribution);  // "gauss", "heavy-tail", ...
std::span<const Distribution> allDistributions();

Tensor syntheticTensor(Distribution distribution, Shape shape, std::uint64_t seed = 0);

}  // namespace nibble
