// SPDX-License-Identifier: GPL-3.0-or-later
#include "core/tensor/synthetic.h"

#include <array>
#include <cmath>
#include <string>
#include <vector>

namespace nibble {
namespace {

constexpr double deviation = 0.02;

// SplitMix64's finalizer (Steele, Lea and Flood 2014).
std::uint64_t mixed(std::uint64_t z) {
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
  return z ^ (z >> 31);
}

// The numbers one weight is made of: SplitMix64 started at a point that seed and index give, so that no two weights share draws.
class Draws {
 public:
  Draws(std::uint64_t seed, std::uint64_t index) : m_state(mixed(mixed(seed + 0x9E3779B97F4A7C15u) ^ index)) {}
  std::uint64_t bits() { return mixed(m_state += 0x9E3779B97F4A7C15u); }
  double uniform() { return static_cast<double>(bits() >> 11) * 0x1p-53; }  // [0, 1)
  double gauss() {
    double sum = -6;
    for (int i = 0; i < 12; ++i) sum += uniform();
    return sum;
  }
  double heavyTail() {
    const double numerator = gauss(), a = gauss(), b = gauss(), c = gauss();
    return numerator / std::sqrt((a * a + b * b + c * c) / 3 + 1e-9);
  }

 private:
  std::uint64_t m_state;
};

double valueAt(Distribution distribution, std::uint64_t index, std::uint64_t count, std::uint64_t seed) {
  Draws draws(seed, index);
  switch (distribution) {
    case Distribution::Gauss: return deviation * draws.gauss();
    case Distribution::HeavyTail: return deviation * draws.heavyTail();
    case Distribution::Uniform: return 0.1 * draws.uniform() - 0.05;
    case Distribution::Ramp: return count == 1 ? -1.0 : 2.0 * static_cast<double>(index) / static_cast<double>(count - 1) - 1.0;
    case Distribution::Constant: return 0.03125;
    case Distribution::Zeros: return 0;
    case Distribution::OneOutlier: return index == count / 2 ? 8.0 : deviation * draws.gauss();
    case Distribution::SignOnly: return (draws.bits() & 1) != 0 ? 0.05 : -0.05;
    case Distribution::Denormals: {
      const double steps = static_cast<double>(draws.bits() >> 41);  // below 2^23
      return ((draws.bits() & 1) != 0 ? steps : -steps) * 0x1p-149;
    }
  }
  return 0;
}

}  // namespace

std::string_view name(Distribution distribution) {
  static constexpr std::string_view names[] = {"gauss", "heavy-tail",  "uniform",   "ramp",     "constant",
                                               "zeros", "one-outlier", "sign-only", "denormals"};
  return names[static_cast<std::size_t>(distribution)];
}

std::span<const Distribution> allDistributions() {
  using enum Distribution;
  static constexpr std::array all{Gauss, HeavyTail, Uniform, Ramp, Constant, Zeros, OneOutlier, SignOnly, Denormals};
  return all;
}

Tensor syntheticTensor(Distribution distribution, Shape shape, std::uint64_t seed) {
  std::vector<float> weights(elementCount(shape));
  for (std::uint64_t i = 0; i < weights.size(); ++i)
    weights[i] = static_cast<float>(valueAt(distribution, i, weights.size(), seed));
  return Tensor::fromFloats(std::string(name(distribution)), std::move(shape), std::move(weights));
}

}  // namespace nibble
