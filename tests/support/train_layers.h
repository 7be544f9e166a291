// SPDX-License-Identifier: GPL-3.0-or-later
// Layers with data for tests of training, made in memory.
#pragma once
#include "core/train/adapter.h"
#include "core/train/layer_data.h"
#include "core/train/random.h"
#include "core/train/stepper.h"

#include <cstring>
#include <memory>

namespace nibble::test {

inline Tensor doubleTensor(std::string name, Shape shape, const std::vector<double>& values) {
  auto owner = std::make_shared<const std::vector<double>>(values);
  return {std::move(name), DType::F64, std::move(shape), std::as_bytes(std::span<const double>(*owner)), owner};
}

// Normal numbers.
inline std::vector<double> drawn(std::size_t count, std::uint64_t stream, double deviation = 1) {
  const train::Random random(12345, 100 + stream);
  std::vector<double> values(count);
  for (std::size_t i = 0; i < count; ++i) values[i] = deviation * random.gauss(i);
  return values;
}

inline train::LayerData layerOf(std::uint64_t rows, std::uint64_t columns, std::uint64_t tokens, bool bias = true) {
  return {"block.dense.weight",
          rows,
          columns,
          tokens,
          doubleTensor("block.dense.weight", {rows, columns}, drawn(rows * columns, 1, 0.3)),
          bias ? drawn(rows, 2, 0.1) : std::vector<double>{},
          drawn(tokens * columns, 3),
          drawn(tokens * rows, 4)};
}

inline train::LayerData namedLayer(const std::string& name, std::uint64_t rows, std::uint64_t columns, std::uint64_t tokens,
                                   std::uint64_t stream, bool bias) {
  train::LayerData layer = layerOf(rows, columns, tokens, bias);
  layer.name = name;
  layer.weight = doubleTensor(name, {rows, columns}, drawn(rows * columns, 40 + stream, 0.3));
  layer.inputs = drawn(tokens * columns, 50 + stream);
  layer.targets = drawn(tokens * rows, 60 + stream);
  return layer;
}

// 6 x 10 with a bias and 4 x 5 without: groups of 4 run over the ends of rows.
inline std::vector<train::LayerData> twoLayers() {
  return {namedLayer("a.weight", 6, 10, 7, 1, true), namedLayer("b.weight", 4, 5, 3, 2, false)};
}

}  // namespace nibble::test
