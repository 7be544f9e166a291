// SPDX-License-Identifier: GPL-3.0-or-later
#include "core/tensor/tensor.h"

#include "core/base/contracts.h"
#include "core/base/text.h"

#include <new>
#include <stdexcept>

namespace nibble {

std::uint64_t elementCount(const Shape& shape) {
  std::uint64_t count = 1;
  for (const std::uint64_t side : shape) count *= side;
  return count;
}

std::optional<std::uint64_t> storedBytes(DType type, const Shape& shape) {
  std::uint64_t count = 1;
  for (const std::uint64_t side : shape)
    if (__builtin_mul_overflow(count, side, &count)) return std::nullopt;
  std::uint64_t bits = 0;
  if (__builtin_mul_overflow(count, static_cast<std::uint64_t>(info(type).bits), &bits) || bits % 8 != 0) return std::nullopt;
  return bits / 8;
}

std::string toText(const Shape& shape) {
  if (shape.empty()) return "scalar";
  std::string result;
  for (const std::uint64_t side : shape) {
    if (!result.empty()) result += " x ";
    result += text::number(side);
  }
  return result;
}

Tensor::Tensor(std::string name, DType type, Shape shape, std::span<const std::byte> bytes, std::shared_ptr<const void> owner,
               std::function<Status()> intact)
    : m_name(std::move(name)),
      m_type(type),
      m_shape(std::move(shape)),
      m_size(elementCount(m_shape)),
      m_rows(1),
      m_columns(m_shape.empty() ? 1 : m_shape.back()),
      m_bytes(bytes),
      m_owner(std::move(owner)),
      m_intact(std::move(intact)) {
  // Not size / columns: an empty last dimension still has its rows.
  for (std::size_t d = 0; d + 1 < m_shape.size(); ++d) m_rows *= m_shape[d];
  const auto bits = static_cast<unsigned>(info(type).bits);
  NIBBLE_EXPECTS(bits >= 8 ? m_bytes.size() / (bits / 8) >= m_size
                           : m_bytes.size() >= m_size / 8 * bits + (m_size % 8 * bits + 7) / 8);
}

Tensor Tensor::fromFloats(std::string name, Shape shape, std::vector<float> values) {
  NIBBLE_EXPECTS(values.size() == elementCount(shape));
  auto owner = std::make_shared<const std::vector<float>>(std::move(values));
  const auto bytes = std::as_bytes(std::span<const float>(*owner));
  return {std::move(name), DType::F32, std::move(shape), bytes, std::move(owner)};
}

Status Tensor::read(std::uint64_t begin, std::span<float> out) const {
  if (begin > m_size || out.size() > m_size - begin)
    return fail(m_name + ": elements " + text::number(begin) + " to " + text::number(begin + out.size()) + " asked of " +
                text::number(m_size));
  toFloat(m_type, m_bytes, begin, out);
  return intact();
}

std::optional<std::span<const float>> Tensor::floats() const {
  if (m_type != DType::F32 || reinterpret_cast<std::uintptr_t>(m_bytes.data()) % alignof(float) != 0) return std::nullopt;
  return std::span<const float>(reinterpret_cast<const float*>(m_bytes.data()), m_size);
}

Status Tensor::intact() const {
  if (!m_intact) return {};
  Status status = m_intact();
  if (!status) return fail(status.error().within(m_name));
  return status;
}

Result<std::vector<float>> Tensor::readAll() const {
  try {
    std::vector<float> values(m_size);
    NIBBLE_TRY(read(0, values));
    return values;
  } catch (const std::bad_alloc&) {
  } catch (const std::length_error&) {
  }
  return fail(m_name + ": not enough memory for " + text::number(m_size) + " values");
}

}  // namespace nibble
