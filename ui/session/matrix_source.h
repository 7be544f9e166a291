// SPDX-License-Identifier: GPL-3.0-or-later
// One number per weight for the heat map, made row by row on demand from the stored tensor and its quantized form, so that no second
// copy of a large matrix is ever held. Model column order, whatever order the scheme stores. Safe to use from many threads.
#pragma once
#include "core/quant/quantized_tensor.h"
#include "core/tensor/tensor.h"

#include <memory>
#include <optional>
#include <span>
#include <string>

namespace nibble {

enum class Quantity : std::uint8_t { Value, Error, Scale, Code, Zero };

class MatrixSource {
 public:
  MatrixSource(Tensor tensor, std::shared_ptr<const QuantizedTensor> quantized);  // quantized may be null: values only
  [[nodiscard]] std::uint64_t rows() const { return m_tensor.rows(); }
  [[nodiscard]] std::uint64_t columns() const { return m_tensor.columns(); }
  [[nodiscard]] bool has(Quantity quantity) const;
  // Cells (row, columnBegin ...); NaN where the file can no longer be read.
  void read(Quantity quantity, std::uint64_t row, std::uint64_t columnBegin, std::span<float> out) const;
  [[nodiscard]] float at(Quantity quantity, std::uint64_t row, std::uint64_t column) const;
  [[nodiscard]] float reconstructed(std::uint64_t row, std::uint64_t column) const;
  // Place of a weight in the stored order, as groupings and layouts count it, and back.
  [[nodiscard]] std::uint64_t storedIndex(std::uint64_t row, std::uint64_t column) const;
  [[nodiscard]] std::uint64_t modelColumn(std::uint64_t storedColumn) const;

 private:
  void decodeRow(std::uint64_t row, std::uint64_t columnBegin, std::span<float> out) const;
  void readPlane(const Plane& plane, std::uint64_t row, std::uint64_t columnBegin, std::span<float> out) const;

  Tensor m_tensor;
  std::shared_ptr<const QuantizedTensor> m_quantized;
  std::vector<std::uint32_t> m_stored;  // by model column; empty: the same
};

}  // namespace nibble
