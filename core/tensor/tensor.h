// SPDX-License-Identifier: GPL-3.0-or-later
// An immutable named tensor: a view of little-endian bytes that somebody keeps alive (a mapped file or a buffer).
// Values are touched only by `read`. Cheap to copy; safe to read from many threads.
// Weights are [out, in], row-major; higher dimensions [..., C] count as [-1, C], one dimension as one row, none as 1 x 1.
#pragma once
#include "core/base/result.h"
#include "core/tensor/dtype.h"

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace nibble {

using Shape = std::vector<std::uint64_t>;

std::uint64_t elementCount(const Shape& shape);  // 1 for no dimensions; the caller has checked for overflow
// Elements x bits / 8, or nothing where a product overflows or the bits do not fill whole bytes.
std::optional<std::uint64_t> storedBytes(DType type, const Shape& shape);
std::string toText(const Shape& shape);  // "384 x 1536", "scalar"

class Tensor {
 public:
  // `owner` keeps `bytes` alive. `intact` says whether the bytes can still be trusted (a mapped file may shrink under us);
  // an empty function means always.
  Tensor(std::string name, DType type, Shape shape, std::span<const std::byte> bytes, std::shared_ptr<const void> owner,
         std::function<Status()> intact = {});
  static Tensor fromFloats(std::string name, Shape shape, std::vector<float> values);

  [[nodiscard]] const std::string& name() const { return m_name; }
  [[nodiscard]] DType type() const { return m_type; }
  [[nodiscard]] const Shape& shape() const { return m_shape; }
  [[nodiscard]] std::uint64_t size() const { return m_size; }  // elements
  [[nodiscard]] std::uint64_t rows() const { return m_rows; }
  [[nodiscard]] std::uint64_t columns() const { return m_columns; }
  [[nodiscard]] std::span<const std::byte> bytes() const { return m_bytes; }

  // Elements [begin, begin + out.size()) in row-major order as float32 (see toFloat). Fails when the file shrank.
  Status read(std::uint64_t begin, std::span<float> out) const;
  // The elements themselves where they are stored as aligned float32: no copy is needed. After use, ask `intact`.
  [[nodiscard]] std::optional<std::span<const float>> floats() const;
  [[nodiscard]] Status intact() const;
  // All elements as float32.
  [[nodiscard]] Result<std::vector<float>> readAll() const;

 private:
  std::string m_name;
  DType m_type;
  Shape m_shape;
  std::uint64_t m_size, m_rows, m_columns;
  std::span<const std::byte> m_bytes;
  std::shared_ptr<const void> m_owner;
  std::function<Status()> m_intact;
};

}  // namespace nibble
