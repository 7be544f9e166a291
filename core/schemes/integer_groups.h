// SPDX-License-Identifier: GPL-3.0-or-later
// What the error-compensated and the activation-aware scheme share: unsigned codes in groups along the input, w ~ s (code - z)
// with whole zero points as GPTQ and AWQ files keep them (`bits` each; 2^(bits-1) where symmetric).
#pragma once
#include "core/quant/quantized_tensor.h"
#include "core/tensor/activations.h"

#include <cstdint>
#include <span>
#include <vector>

namespace nibble {

struct IntegerGroups {
  std::uint64_t rows = 0, columns = 0, group = 0;  // group: columns that share parameters, the last group shorter
  int bits = 4;
  std::vector<std::uint8_t> codes;   // [rows, columns]
  std::vector<float> scale, zero;    // [rows, groups]; scales as they are stored
  Stored stored = Stored::F16;

  IntegerGroups(std::uint64_t rows, std::uint64_t columns, std::uint64_t group, int bits, Stored stored);
  [[nodiscard]] std::uint64_t groups() const { return (columns + group - 1) / group; }
  [[nodiscard]] int maxCode() const { return (1 << bits) - 1; }
};

// The description; `columnGroup` is the group of each column where they are not consecutive (GPTQ's g_idx), else empty.
QuantizedTensor describe(IntegerGroups&& groups, const Shape& shape, std::vector<std::uint32_t> columnGroup = {});

}  // namespace nibble
