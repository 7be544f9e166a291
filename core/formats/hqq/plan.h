// SPDX-License-Identifier: GPL-3.0-or-later
// How an HQQLinear holds a tensor: w = (q - zero) * scale, subtract and multiply each rounded to compute_dtype, over a grouped
// matrix that is packed along its rows. axis 1 groups `group` consecutive weights (grouped matrix [groups, group]), axis 0 puts
// weight k into group k mod groups ([group, groups]). The library widens scale and zero to compute_dtype when it loads them, so
// they are stored as narrow as they are exact. Source: hqq 0.2.8 core/quantize.py, core/bitpack.py.
#pragma once
#include "core/formats/format.h"

#include <string>
#include <vector>

namespace nibble::formats::hqq {

struct Packing {
  std::string name;         // "4bit_u8"
  int bits = 8;             // a slot's width
  std::uint64_t slots = 1;  // a word's slots
  DType type = DType::U8;
};
// Of a code width; none: HQQ has no such width.
std::optional<Packing> packingOf(int bits);

struct Plan {
  int bits = 4, axis = 1;
  std::uint64_t group = 0, groups = 0;
  Packing packing;
  FloatType compute = FloatType::F32;  // of the arithmetic
  FloatType stored = FloatType::F16;   // of scale and zero in the file
  std::vector<float> scale, zero;      // one per group

  [[nodiscard]] std::uint64_t groupedRows() const { return axis == 1 ? groups : group; }
  [[nodiscard]] std::uint64_t groupedColumns() const { return axis == 1 ? group : groups; }
  [[nodiscard]] std::uint64_t packedRows() const { return (groupedRows() + packing.slots - 1) / packing.slots; }
};

// The error is the refusal.
Result<Plan> planFor(const QuantizedTensor& tensor);

std::vector<RuleResult> preflight(std::string_view runtime, const std::vector<ExportLayer>& layers);
Result<std::string> configure(const std::string& config, const std::vector<ExportLayer>& layers,
                              const std::vector<std::string>& leftAlone);
std::vector<PackedLayer> detect(const Checkpoint& checkpoint);
Result<QuantizedTensor> read(const Checkpoint& checkpoint, const PackedLayer& layer);

}  // namespace nibble::formats::hqq
