// SPDX-License-Identifier: GPL-3.0-or-later
// How bitsandbytes holds 4-bit weights: the flattened tensor in blocks, w = table[q] * absmax in float32, rounded once to the
// state's dtype. absmax is float32, or (double quantization) 8-bit codes of the signed dynamic map in blocks of 256 around an
// offset. Source: bitsandbytes 0.50 functional.py, QuantState.as_dict.
#pragma once
#include "core/formats/format.h"

#include <array>
#include <optional>
#include <string>
#include <vector>

namespace nibble::formats::bnb {

extern const std::array<float, 16> nf4Table, fp4Table;
const std::array<float, 256>& dynamicMap();  // signed, ascending

struct Nested {
  std::vector<std::uint8_t> codes;  // one per block
  std::vector<float> absmax;        // one per 256 blocks
  float offset = 0;
};

struct Plan {
  bool nf4 = true;
  std::uint64_t block = 64;
  FloatType type = FloatType::F32;  // of the decoded weights
  std::vector<float> absmax;        // one per block, decoded where nested
  std::optional<Nested> nested;

  [[nodiscard]] std::string kind() const { return nf4 ? "nf4" : "fp4"; }
  // The code of 0, which fills the last byte of an odd count.
  [[nodiscard]] int fillCode() const { return nf4 ? 7 : 0; }
};

// The error is the refusal.
Result<Plan> planFor(const QuantizedTensor& tensor);

std::vector<RuleResult> preflight(std::string_view runtime, const std::vector<ExportLayer>& layers);
Result<std::string> configure(const std::string& config, const std::vector<ExportLayer>& layers,
                              const std::vector<std::string>& leftAlone);
std::vector<PackedLayer> detect(const Checkpoint& checkpoint);
Result<QuantizedTensor> read(const Checkpoint& checkpoint, const PackedLayer& layer);

}  // namespace nibble::formats::bnb
