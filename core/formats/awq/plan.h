// SPDX-License-Identifier: GPL-3.0-or-later
// How an AWQ checkpoint (AutoAWQ, version "gemm") holds a linear layer of N outputs and K inputs: w = scale * (q - zero), 4
// bits, groups along the input. qweight I32 [K, N / 8]: word c of row k has columns 8c .. 8c + 7 in its nibbles, in the order
// 0 2 4 6 1 3 5 7; qzeros I32 [G, N / 8] likewise, the zero points as they are; scales F16 [G, N].
// Source: AutoAWQ 0.2.9 modules/linear/gemm.py, utils/packing_utils.py.
#pragma once
#include "core/formats/format.h"

#include <span>
#include <string>
#include <vector>

namespace nibble::formats::awq {

struct Plan {
  std::uint64_t rows = 0, columns = 0;  // N, K
  std::uint64_t groups = 0;             // G
  std::vector<float> scale, zero;       // [N, G] row-major

  [[nodiscard]] std::uint64_t groupLength() const { return columns / groups; }
};

// The error is the refusal.
Result<Plan> planFor(const QuantizedTensor& tensor);

std::shared_ptr<const Layout> weightLayout(std::uint64_t rows, std::uint64_t columns);
// [G, N] zero points into words and back; `zeros` row-major [N, G].
std::vector<std::byte> packZeros(const std::vector<float>& zeros, std::uint64_t rows, std::uint64_t groups);
std::vector<float> unpackZeros(std::span<const std::byte> words, std::uint64_t rows, std::uint64_t groups);

std::vector<RuleResult> preflight(std::string_view runtime, const std::vector<ExportLayer>& layers);
// The quantization_config object as text.
Result<std::string> configText(const std::vector<ExportLayer>& layers, const std::vector<std::string>& leftAlone);
std::vector<PackedLayer> detect(const Checkpoint& checkpoint);
Result<QuantizedTensor> read(const Checkpoint& checkpoint, const PackedLayer& layer);

}  // namespace nibble::formats::awq
