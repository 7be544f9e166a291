// SPDX-License-Identifier: GPL-3.0-or-later
// How a GPTQ checkpoint holds a linear layer of N outputs and K inputs: w = scale * (q - zero) with integer zero points, groups
// along the input. qweight I32 [K * b / 32, N] packs 32 inputs into b words, qzeros I32 [G, N * b / 32] packs the outputs
// alike, scales F16 [G, N], g_idx I32 [K] (auto-round leaves it out: groups in order). Versions 1 and 2 have one little-endian
// bit stream over the b words; version 1 stores zero - 1, version 2 zero itself. The planar form (gptq_p, 3 5 6 7 bits) stores
// zero itself and splits every code into planes of 4, 2 and 1 bits, the low plane's words first. Source: AutoGPTQ 0.7
// qlinear_cuda.py, GPTQModel.
#pragma once
#include "core/formats/format.h"

#include <span>
#include <string>
#include <vector>

namespace nibble::formats::gptq {

enum class Version { V1, V2, Planar };

constexpr std::uint64_t lanes = 32;  // inputs (or outputs) that fill `bits` whole words

struct Plan {
  int bits = 4;
  std::uint64_t rows = 0, columns = 0;  // N, K
  std::uint64_t groups = 0;             // G
  std::vector<std::uint32_t> index;     // group of each input, K of them
  std::vector<float> scale, zero;       // [N, G] row-major

  [[nodiscard]] bool sorted() const;               // groups are runs of one length in order; the last may be shorter
  [[nodiscard]] std::int64_t configGroup() const;  // the config's group_size: -1 for one group
};

// The error is the refusal.
Result<Plan> planFor(const QuantizedTensor& tensor, Version version);
bool isSymmetric(const Plan& plan);  // every zero point is 2^(bits - 1)
bool storesBits(int bits, Version version);

std::shared_ptr<const Layout> weightLayout(std::uint64_t rows, std::uint64_t columns, int bits, Version version);
// [G, N] zero points into words and back; `zeros` row-major [N, G].
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
