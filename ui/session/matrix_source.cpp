// SPDX-License-Identifier: GPL-3.0-or-later
#include "ui/session/matrix_source.h"

#include "core/quant/decode.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace nibble {

MatrixSource::MatrixSource(Tensor tensor, std::shared_ptr<const QuantizedTensor> quantized)
    : m_tensor(std::move(tensor)), m_quantized(std::move(quantized)) {
  if (!m_quantized || m_quantized->order.empty()) return;
  m_stored.resize(m_quantized->order.size());
  for (std::uint32_t j = 0; j < m_stored.size(); ++j) m_stored[m_quantized->order[j]] = j;
}

bool MatrixSource::has(Quantity quantity) const {
  switch (quantity) {
    case Quantity::Value: return true;
    case Quantity::Scale: return m_quantized && m_quantized->scale.has_value();
    case Quantity::Zero: return m_quantized && m_quantized->zero.has_value();
    default: return m_quantized != nullptr;
  }
}

std::uint64_t MatrixSource::storedIndex(std::uint64_t row, std::uint64_t column) const {
  return row * columns() + (m_stored.empty() ? column : m_stored[column]);
}

std::uint64_t MatrixSource::modelColumn(std::uint64_t storedColumn) const {
  return m_stored.empty() ? storedColumn : m_quantized->order[storedColumn];
}

void MatrixSource::decodeRow(std::uint64_t row, std::uint64_t columnBegin, std::span<float> out) const {
  if (!decodesByRow(*m_quantized)) {
    decode(*m_quantized, row * columns() + columnBegin, out);
    return;
  }
  std::vector<float> whole(columns());
  decode(*m_quantized, row * columns(), whole);
  std::copy_n(whole.begin() + static_cast<std::ptrdiff_t>(columnBegin), out.size(), out.begin());
}

void MatrixSource::readPlane(const Plane& plane, std::uint64_t row, std::uint64_t columnBegin, std::span<float> out) const {
  if (!m_stored.empty()) {
    for (std::size_t i = 0; i < out.size(); ++i) out[i] = plane.values[plane.grouping.groupOf(storedIndex(row, columnBegin + i))];
    return;
  }
  const std::uint64_t begin = row * columns() + columnBegin;
  for (std::size_t i = 0; i < out.size();) {
    const auto run = std::min<std::uint64_t>(out.size() - i, plane.grouping.runLength(begin + i));
    std::fill_n(out.begin() + static_cast<std::ptrdiff_t>(i), run, plane.values[plane.grouping.groupOf(begin + i)]);
    i += run;
  }
}

void MatrixSource::read(Quantity quantity, std::uint64_t row, std::uint64_t columnBegin, std::span<float> out) const {
  const float unknown = std::numeric_limits<float>::quiet_NaN();
  if (!has(quantity)) {
    std::fill(out.begin(), out.end(), unknown);
    return;
  }
  switch (quantity) {
    case Quantity::Scale: return readPlane(*m_quantized->scale, row, columnBegin, out);
    case Quantity::Zero: return readPlane(*m_quantized->zero, row, columnBegin, out);
    case Quantity::Code:
      for (std::size_t i = 0; i < out.size(); ++i)
        out[i] = static_cast<float>(m_quantized->codes.at(storedIndex(row, columnBegin + i) / m_quantized->levels.dimension));
      return;
    case Quantity::Value:
    case Quantity::Error: break;
  }
  if (!m_tensor.read(row * columns() + columnBegin, out)) {
    std::fill(out.begin(), out.end(), unknown);
    return;
  }
  if (quantity == Quantity::Value) return;
  std::vector<float> values(out.size());
  decodeRow(row, columnBegin, values);
  for (std::size_t i = 0; i < out.size(); ++i) out[i] = std::abs(out[i] - values[i]);
}

float MatrixSource::at(Quantity quantity, std::uint64_t row, std::uint64_t column) const {
  float value = 0;
  read(quantity, row, column, std::span(&value, 1));
  return value;
}

float MatrixSource::reconstructed(std::uint64_t row, std::uint64_t column) const {
  float value = std::numeric_limits<float>::quiet_NaN();
  if (m_quantized) decodeRow(row, column, std::span(&value, 1));
  return value;
}

}  // namespace nibble
