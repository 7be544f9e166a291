// SPDX-License-Identifier: GPL-3.0-or-later
// How a GPTQ checkpoint holds a linear layer of N outputs and K inputs: w = scale * (q - zero) with integer zero points, groups
// along the input. qweight I32 [K * b / 32, N] packs 32 inputs into b words as a little-endian bit stream, qzeros I32
// [G, N * b / 32] packs the outputs alike, scales F16 [G, N], g_idx I32 [K]. Version 1 stores zero - 1, version 2 zero itself.
// Source: AutoGPTQ 0.7 qlinear_cuda.py, GPTQModel.
#pragma once
#include "core/formats/format.h"

#include <string>
#include <vector>

namespace nibble::formats::gptq {

enum class Version { V1, V2 };

struct Plan {
  int bits = 4;
  std::uint64_t rows = 0, columns = 0;  // N, K
  std::uint64_t groups = 0;             // G
  std::vector<std::uint32_t> index;     // group of each input, K of them
  std::vector<float> scale, zero;       // [N, G] row-major

  [[nodiscard]] bool sorted() const;               // groups are equal runs in order
  [[nodiscard]] std::int64_t configGroup() const;  // the config's group_size: -1 for one group
};

// The error is the refusal.
Result<Plan> planFor(const QuantizedTensor& tensor, Version version);
bool isSymmetric(const Plan& plan);  // every zero point is 2^(bits - 1)

std::shared_ptr<const Layout> weightLayout(std::uint64_t rows, std::uint64_t columns, int bits);
// [G, N] zero points (as stored) into words and back; `zeros` row-major [N, G].
std::vector<std::byte> packZeros(const std::vector<float>& zeros, std::uint64_t rows, std::uint64_t groups, int bits,
                                 Version version);
std::vector<float> unpackZeros(std::span<const std::byte> words, std::uint64_t rows, std::uint64_t groups, int bits,
                               Version version);

std::vector<RuleResult> preflight(std::string_view runtime, const std::vector<ExportLayer>& layers, Version version);
// The quantization_config object as text.
Result<std::string> configText(const std::vector<ExportLayer>& layers, const std::vector<std::string>& leftAlone,
                               Version version);
std::vector<PackedLayer> detect(const Checkpoint& checkpoint, Version version);
Result<QuantizedTensor> read(const Checkpoint& checkpoint, const PackedLayer& layer, Version version);

}  // namespace nibble::formats::gptq
