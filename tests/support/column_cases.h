// SPDX-License-Identifier: GPL-3.0-or-later
// Random layers packed down their columns for tests of products on them, with a literal packer, and exact sums with the bound
// that products are held to.
#pragma once
#include "kernels/cuda/columns.h"
#include "kernels/math/minifloat.h"
#include "tests/support/cuda_cases.h"

#include <cmath>
#include <numeric>

namespace nibble::test {

namespace em = nibble::kernels::emulated;
using kernels::floatToHalf;
using kernels::halfToFloat;

using Floats = std::vector<float>;
using Halves = std::vector<std::uint16_t>;

// A layer in host memory, and packed where kernels may read it.
struct Layer {
  std::size_t inputs = 0, outputs = 0;
  std::vector<em::ColumnGroup> groups;
  std::vector<unsigned> groupOf;    // stored row -> group
  std::vector<std::uint8_t> codes;  // [stored row, output]
  Halves scales, zeros;             // [group, output]
  std::vector<std::uint32_t> words, order;
  em::TileList list;

  [[nodiscard]] float weight(std::size_t stored, std::size_t n) const {
    const std::size_t at = groupOf[stored] * outputs + n;
    return halfToFloat(em::fusedHalf(scales[at], codes[stored * outputs + n], zeros[at]));
  }
  void pack(std::size_t runs) {
    inputs = 0;
    for (std::size_t g = 0; g < groups.size(); ++g) {
      groupOf.insert(groupOf.end(), groups[g].rows, static_cast<unsigned>(g));
      inputs += groups[g].rows;
    }
    const kernels::Outcome outcome = em::tileList(groups, runs, &list);
    if (!outcome.ok()) std::abort();
    words.assign(list.wordRows * outputs, 0);
  }
  // One bit after another, from the format's definition: the stream of a group begins at its first word row.
  void fill() {
    std::size_t row = 0, firstWord = 0;
    for (const em::ColumnGroup& group : groups) {
      for (unsigned k = 0; k < group.rows; ++k)
        for (std::size_t n = 0; n < outputs; ++n)
          for (unsigned b = 0; b < group.bits; ++b) {
            const std::size_t bit = std::size_t{k} * group.bits + b;
            const std::uint32_t value = codes[(row + k) * outputs + n] >> b & 1u;
            words[(firstWord + bit / 32) * outputs + n] |= value << (bit % 32);
          }
      row += group.rows;
      firstWord += group.rows / 32 * group.bits;
    }
  }
};

inline Layer someLayer(Chance& chance, std::size_t mostTiles) {
  Layer layer;
  layer.outputs = chance.one(2) ? 4 * chance.between(1, 70) : chance.between(1, 200);
  for (std::size_t left = chance.between(1, mostTiles); left > 0;) {
    const auto tiles = std::min<std::size_t>(left, chance.of<std::size_t>({1, 1, 2, 4, 5}));
    layer.groups.push_back({chance.of({2u, 3u, 4u, 5u, 6u, 8u}), static_cast<unsigned>(tiles * 32)});
    left -= tiles;
  }
  if (chance.one(2))
    for (auto& group : layer.groups) group.bits = layer.groups[0].bits;
  layer.pack(chance.between(1, 9));
  layer.codes.resize(layer.inputs * layer.outputs);
  for (std::size_t i = 0; i < layer.codes.size(); ++i)
    layer.codes[i] = static_cast<std::uint8_t>(chance.below(1u << layer.groups[layer.groupOf[i / layer.outputs]].bits));
  for (std::size_t i = 0; i < layer.groups.size() * layer.outputs; ++i) {
    const float scale = std::fabs(chance.normal()) * 0.01f;
    layer.scales.push_back(floatToHalf(scale));
    layer.zeros.push_back(floatToHalf(scale * static_cast<float>(chance.below(9))));
  }
  if (chance.one(2)) {
    layer.order.resize(layer.inputs);
    std::iota(layer.order.begin(), layer.order.end(), 0u);
    std::shuffle(layer.order.begin(), layer.order.end(), chance.engine());
  }
  layer.fill();
  return layer;
}

inline std::string textOf(const Layer& layer, std::size_t rows, int i) {
  return std::to_string(rows) + " rows, " + std::to_string(layer.inputs) + " x " + std::to_string(layer.outputs) + ", " +
         std::to_string(layer.groups.size()) + " groups, first of " + std::to_string(layer.groups[0].bits) + " bits, case " +
         std::to_string(i);
}

inline float asHalf(float value) {
  return halfToFloat(floatToHalf(value));
}

// Sum and sum of magnitudes in double.
struct Exact {
  double sum = 0, magnitude = 0;
  void add(double product) {
    sum += product;
    magnitude += std::fabs(product);
  }
  [[nodiscard]] bool near(float value, std::size_t terms) const {
    const double bound = std::ldexp(static_cast<double>(terms) / 2 + 8, -23);
    return std::fabs(static_cast<double>(value) - sum) <= bound * magnitude + 1e-30;
  }
};

// y = x W + bias, with x as it is or rounded to halves.
inline bool forwardHolds(const Layer& layer, const Floats& x, std::size_t rows, const Floats& bias, bool halves,
                         const Floats& y) {
  for (std::size_t m = 0; m < rows; ++m)
    for (std::size_t n = 0; n < layer.outputs; ++n) {
      Exact exact;
      if (!bias.empty()) exact.add(static_cast<double>(bias[n]));
      for (std::size_t k = 0; k < layer.inputs; ++k) {
        const float input = x[m * layer.inputs + (layer.order.empty() ? k : layer.order[k])];
        exact.add(static_cast<double>(halves ? asHalf(input) : input) * static_cast<double>(layer.weight(k, n)));
      }
      if (!exact.near(y[m * layer.outputs + n], layer.inputs)) return false;
    }
  return true;
}

// dx = dy W^T, with dy rounded to halves.
inline bool backwardHolds(const Layer& layer, const Floats& dy, std::size_t rows, const Floats& dx) {
  for (std::size_t m = 0; m < rows; ++m)
    for (std::size_t k = 0; k < layer.inputs; ++k) {
      Exact exact;
      for (std::size_t n = 0; n < layer.outputs; ++n)
        exact.add(static_cast<double>(asHalf(dy[m * layer.outputs + n])) * static_cast<double>(layer.weight(k, n)));
      if (!exact.near(dx[m * layer.inputs + (layer.order.empty() ? k : layer.order[k])], layer.outputs)) return false;
    }
  return true;
}

}  // namespace nibble::test
