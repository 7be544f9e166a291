// SPDX-License-Identifier: GPL-3.0-or-later
// Random cases for emulated kernels: how many, by what seed, of which kind the numbers are. NIBBLE_CUDA_CASES sets how many
// cases each kernel gets (the quick subset is the default; ctest's label `stress` runs 2000).
#pragma once
#include "kernels/emulator/emulator.h"

#include <algorithm>
#include <bit>
#include <cstdlib>
#include <random>
#include <string>
#include <vector>

namespace nibble::test {

using namespace emulator;

#ifdef __SANITIZE_THREAD__
inline constexpr int quickCases = 4;  // each switch of a fiber is slow under it
#else
inline constexpr int quickCases = 40;
#endif

inline int caseCount() {
  const char* text = std::getenv("NIBBLE_CUDA_CASES");
  return text != nullptr ? std::max(1, std::atoi(text)) : quickCases;
}

class Chance {
 public:
  explicit Chance(unsigned seed) : m_random(seed * 2654435761u + 12345u) {}
  std::size_t below(std::size_t count) { return m_random() % count; }
  std::size_t between(std::size_t low, std::size_t high) { return low + below(high - low + 1); }
  bool one(unsigned in) { return m_random() % in == 0; }
  float normal() { return m_normal(m_random); }
  template <class T>
  T of(std::initializer_list<T> choices) {
    return choices.begin()[below(choices.size())];
  }
  std::mt19937& engine() { return m_random; }

 private:
  std::mt19937 m_random;
  std::normal_distribution<float> m_normal{0.0f, 1.0f};
};

// Weights as they come: bell-shaped, ties between codes, constant, signed zeros, denormals, one outlier.
inline std::vector<float> someWeights(Chance& chance, std::size_t count) {
  const std::size_t kind = chance.below(8);
  std::vector<float> values(count);
  for (float& value : values) switch (kind) {
      case 0:
        value = static_cast<float>(static_cast<int>(chance.below(41)) - 20) * 0.5f;
        break;
      case 1:
        value = -0.3f;
        break;
      case 2:
        value = chance.one(2) ? 0.0f : -0.0f;
        break;
      case 3:
        value = std::bit_cast<float>(static_cast<std::uint32_t>(chance.engine()()) & 0x80000FFFu);
        break;
      default:
        value = 0.05f * chance.normal();
        break;
    }
  if (kind == 4 && count > 0) values[chance.below(count)] = 1e4f;
  return values;
}

// Sizes that meet whole warps and blocks, tails and single elements alike.
inline std::size_t someSize(Chance& chance, std::size_t most) {
  const std::size_t size =
      chance.of<std::size_t>({1, 3, 8, 31, 32, 33, 64, 65, 100, 128, 129, 256, 257, 512, 777, 1000, 1024, 1025});
  return std::min(most, chance.one(3) ? chance.between(1, most) : size);
}

}  // namespace nibble::test
