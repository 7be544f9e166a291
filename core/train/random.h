// SPDX-License-Identifier: GPL-3.0-or-later
// Random numbers as a function of where they are used: (seed, stream, index), no state. Any element can be drawn by itself, so
// a run is the same to the bit whatever the number of threads, and a step that is done again draws the same numbers.
// The mixing is SplitMix64's finalizer (Steele, Lea, Flood 2014).
#pragma once
#include <cmath>
#include <cstdint>
#include <numbers>

namespace nibble::train {

class Random {
 public:
  // Streams with other numbers are independent: one for each thing that is drawn.
  Random(std::uint64_t seed, std::uint64_t stream) : m_key(mixed(mixed(seed) ^ (stream * 0xD1342543DE82EF95u + 1))) {}
  [[nodiscard]] std::uint64_t bits(std::uint64_t index) const { return mixed(m_key + index); }
  // [0, 1), in steps of 2^-53.
  [[nodiscard]] double uniform(std::uint64_t index) const { return static_cast<double>(bits(index) >> 11) * 0x1p-53; }
  // Mean 0, standard deviation 1 (Box and Muller 1958).
  [[nodiscard]] double gauss(std::uint64_t index) const {
    const double u = 1 - uniform(2 * index), v = uniform(2 * index + 1);
    return std::sqrt(-2 * std::log(u)) * std::cos(2 * std::numbers::pi * v);
  }

 private:
  static std::uint64_t mixed(std::uint64_t counter) {
    std::uint64_t z = counter * 0x9E3779B97F4A7C15u + 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
  }
  std::uint64_t m_key;
};

// Which stream draws what. A new use takes a new number.
enum Stream : std::uint64_t { inputStream = 1, outlierStream, startStream, sketchStream, noiseStream = 1000 };

}  // namespace nibble::train
