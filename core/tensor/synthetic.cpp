// SPDX-License-Identifier: GPL-3.0-or-later
#include "core/tensor/synthetic.h"

#include <array>
#include <cmath>
#include <utility>

namespace nibble {
namespace {

// The finalizer of SplitMix64 (Steele, Lea, Flood 2014) over a counter: any element by itself.
std::uint64_t mixed(std::uint64_t counter) {
  std::uint64_t z = counter * 0x9E3779B97F4A7C15u + 0x9E3779B97F4A7C15u;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
  return z ^ (z >> 31);
}

// The numbers one weight is made of.
class Draws {
 public:
  Draws(std::uint64_t seed, std::uint64_t index) : m_counter(mixed(seed) + index * 64) {}
  std::uint64_t bits() { return mixed(m_counter++); }
  double uniform() { return static_cast<double>(bits() >> 11) * 0x1p-53; }  // [0, 1)
  // The sum of twelve uniform numbers has variance 1; it needs no logarithm, whose last bit differs between libraries.
  double gauss() {
    double sum = -6;
    for (int i = 0; i < 12; ++i) sum += uniform();
    return sum;
  }

 private:
  std::uint64_t m_counter;
};

constexpr double deviation = 0.02;

double heavyTail(Draws& draws) {
  double squares = 0;
  for (int i = 0; i < 3; ++i) {
    const double g = draws.gauss();
    squares += g * g;
  }
  return draws.gauss() / std::sqrt(squares / 3 + 1e-9);
}

double valueAt(Distribution distribution, std::uint64_t index, std::uint64_t count, std::uint64_t seed) {
  Draws draws(seed, index);
  switch (distribution) {
    case Distribution::Gauss:
      return deviation * draws.gauss();
    case Distribution::HeavyTail:
      return deviation * heavyTail(draws);
    case Distribution::Uniform:
      return 0.1 * draws.uniform() - 0.05;
    case Distribution::Ramp:
      return count < 2 ? -1 : 2 * static_cast<double>(index) / static_cast<double>(count - 1) - 1;
    case Distribution::Constant:
      return 0.03125;
    case Distribution::Zeros:
      return 0;
    case Distribution::OneOutlier:
      return index == mixed(seed) % count ? 8 : deviation * draws.gauss();
    case Distribution::SignOnly:
      return (draws.bits() & 1) != 0 ? 0.05 : -0.05;
    case Distribution::Denormals:
      return (static_cast<double>(draws.bits() >> 41) - 0x1p22) * 0x1p-149;
  }
  return 0;
}

constexpr std::array<std::pair<Distribution, std::string_view>, 9> names = {{
    {Distribution::Gauss, "gauss"},
    {Distribution::HeavyTail, "heavy-tail"},
    {Distribution::Uniform, "uniform"},
    {Distribution::Ramp, "ramp"},
    {Distribution::Constant, "constant"},
    {Distribution::Zeros, "zeros"},
    {Distribution::OneOutlier, "one-outlier"},
    {Distribution::SignOnly, "sign-only"},
    {Distribution::Denormals, "denormals"},
}};

}  // namespace

std::string_view name(Distribution distribution) {
  return names[static_cast<std::size_t>(distribution)].second;
}

std::span<const Distribution> allDistributions() {
  static const auto all = [] {
    std::array<Distribution, names.size()> list{};
    for (std::size_t i = 0; i < list.size(); ++i) list[i] = names[i].first;
    return list;
  }();
  return all;
}

Tensor syntheticTensor(Distribution distribution, Shape shape, std::uint64_t seed) {
  std::vector<float> values(elementCount(shape));
  for (std::uint64_t i = 0; i < values.size(); ++i)
    values[i] = static_cast<float>(valueAt(distribution, i, values.size(), seed));
  return Tensor::fromFloats(std::string(name(distribution)), std::move(shape), std::move(values));
}

}  // namespace nibble
