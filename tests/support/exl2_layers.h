// SPDX-License-Identifier: GPL-3.0-or-later
// EXL2 and MBWQ layers written by hand from the published layout, bit by bit, without the program's packers; and the arrays of
// a file as a list that a test can spoil before it writes them.
#pragma once
#include "core/formats/format.h"
#include "core/io/safetensors_writer.h"

#include <cstdint>
#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace nibble::test {

struct HandGroup {
  unsigned bits;
  std::uint64_t inputs;
};

// One layer of `outputs` and the groups' inputs.
struct HandLayer {
  std::uint64_t outputs = 0;
  std::vector<HandGroup> groups;
  std::function<unsigned(std::uint64_t input, std::uint64_t output)> code;  // stored input; cut to its width
  std::function<unsigned(std::uint64_t group, std::uint64_t output)> nibble;
  std::function<std::uint16_t(std::uint64_t group)> maximum;  // bits of a half
  std::function<std::uint64_t(std::uint64_t stored)> order;   // input that a stored place holds

  [[nodiscard]] std::uint64_t inputs() const;
  [[nodiscard]] std::vector<std::uint32_t> words() const;  // [rows, outputs]
  [[nodiscard]] std::vector<std::uint16_t> table() const;  // [2 x groups]
  [[nodiscard]] std::vector<RawTensor> exl2(const std::string& module) const;
  // The same weights: zeros = scale x 2^(b-1).
  [[nodiscard]] std::vector<RawTensor> mbwq(const std::string& module) const;
};

// The whole-layer golden of the specification: K = 256, N = 32, all six widths, permuted.
HandLayer goldenLayer();

std::uint64_t fnv(std::span<const std::byte> bytes);
template <class T>
std::uint64_t fnvOf(const std::vector<T>& values) {
  return fnv(std::as_bytes(std::span(values)));
}

template <class T>
RawTensor arrayOf(std::string name, DType type, Shape shape, const std::vector<T>& values) {
  RawTensor array;
  array.name = std::move(name);
  array.type = type;
  array.shape = std::move(shape);
  const auto bytes = std::as_bytes(std::span(values));
  array.owned.assign(bytes.begin(), bytes.end());
  return array;
}
RawTensor& arrayNamed(std::vector<RawTensor>& arrays, const std::string& ending);
void writeArrays(const std::filesystem::path& file, const std::vector<RawTensor>& arrays);

}  // namespace nibble::test
