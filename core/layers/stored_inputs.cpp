// SPDX-License-Identifier: GPL-3.0-or-later
#include "core/layers/stored_inputs.h"

#include "core/quant/decode.h"
#include "core/quant/hadamard.h"

namespace nibble {
namespace {

void rotate(const Rotation& rotation, std::span<float> row) {
  for (std::size_t begin = 0; begin < row.size(); begin += rotation.block) walshHadamard(row.subspan(begin, rotation.block));
}

void scale(const QuantizedTensor& tensor, std::span<float> row) {
  for (std::size_t j = 0; j < tensor.channelScale.size(); ++j)
    row[j] = tensor.channelScaleMultiplies ? row[j] * tensor.channelScale[j] : row[j] / tensor.channelScale[j];
}

}  // namespace

std::vector<float> storedInputs(const QuantizedTensor& tensor, std::span<const float> x, std::uint64_t tokens) {
  std::vector<float> stored(x.begin(), x.end());
  if (!decodesByRow(tensor)) return stored;
  const std::size_t columns = tensor.columns;
  for (std::uint64_t token = 0; token < tokens; ++token) {
    const std::span<const float> from = x.subspan(token * columns, columns);
    const std::span<float> row(stored.data() + token * columns, columns);
    if (!tensor.order.empty())
      for (std::size_t j = 0; j < columns; ++j) row[j] = from[tensor.order[j]];
    scale(tensor, row);
    if (!tensor.rotation) continue;
    for (std::size_t j = 0; j < columns; ++j) row[j] *= tensor.rotation->signs[j];
    rotate(*tensor.rotation, row);
  }
  return stored;
}

std::vector<float> gradientsOfInputs(const QuantizedTensor& tensor, std::span<const float> stored, std::uint64_t tokens) {
  std::vector<float> gradients(stored.begin(), stored.end());
  if (!decodesByRow(tensor)) return gradients;
  const std::size_t columns = tensor.columns;
  std::vector<float> row(columns);
  for (std::uint64_t token = 0; token < tokens; ++token) {
    const std::span<float> to(gradients.data() + token * columns, columns);
    row.assign(to.begin(), to.end());
    if (tensor.rotation) {
      rotate(*tensor.rotation, row);
      for (std::size_t j = 0; j < columns; ++j) row[j] *= tensor.rotation->signs[j];
    }
    scale(tensor, row);
    for (std::size_t j = 0; j < columns; ++j) to[tensor.order.empty() ? j : tensor.order[j]] = row[j];
  }
  return gradients;
}

QuantizedTensor storedWeights(QuantizedTensor tensor) {
  tensor.order.clear();
  tensor.channelScale.clear();
  tensor.rotation.reset();
  return tensor;
}

}  // namespace nibble
