// SPDX-License-Identifier: GPL-3.0-or-later
// How an EXL2 checkpoint holds a linear layer of N outputs and K inputs, the outputs padded to a multiple of 32:
//   q_weight I32 [packed rows, N]  codes of each output as one stream of bits down the stored inputs
//   (core/quant/stream_layout.h) q_scale I32 [G, N / 8]         4-bit scale codes, output n in word n / 8 from bit 4 (n % 8)
//   q_scale_max F16 [G]            core/quant/square_scales.h
//   q_groups I16 [2 G]             core/quant/width_groups.h
//   q_invperm I32 [K]              stored place of each input
//   bias F16 [N]
// w = half(half(q - 2^(b-1)) * scale). Padded outputs have scale code 0 and codes 2^(b-1), so they are 0.
// Source: exllamav2 0.3.2, exl2 converter and loader.
#pragma once
#include "core/formats/format.h"
#include "core/quant/square_scales.h"
#include "core/quant/width_groups.h"

#include <cstdint>
#include <string>
#include <vector>

namespace nibble::formats::exl2 {

struct Plan {
  std::uint64_t rows = 0, outputs = 0, columns = 0;  // N, N padded, K
  std::vector<WidthGroup> groups;
  SquareScales scales;               // codes [rows, groups]
  std::vector<std::uint32_t> order;  // stored input k is input order[k]; all K of them
};

// The error is the refusal.
Result<Plan> planFor(const QuantizedTensor& tensor);

std::vector<RuleResult> preflight(std::string_view runtime, const std::vector<ExportLayer>& layers);
// The quantization_config object as text.
Result<std::string> configText(const std::vector<ExportLayer>& layers);

std::vector<PackedLayer> detect(const Checkpoint& checkpoint);
Result<QuantizedTensor> read(const Checkpoint& checkpoint, const PackedLayer& layer);

}  // namespace nibble::formats::exl2
