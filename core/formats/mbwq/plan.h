// SPDX-License-Identifier: GPL-3.0-or-later
// How bitorch-engine's MBWQ layer of N outputs and K inputs stands in a checkpoint:
//   qweight I32 [packed rows, N]   codes of each output as one stream of bits down the stored inputs
//   (core/quant/stream_layout.h) scales, zeros F16 [G, N]       w = fma(q, scale, -zero) in half precision: the zero is scaled
//   already q_perm I16 [K]                 stored input k is input q_perm[k] (unsigned); all 0 means none channel_scale F16 [1,
//   1, K]    by input: the layer multiplies x with it q_groups I16 [2 G]             mixed mode only
//   (core/quant/width_groups.h) q_group_map I16 [2 K]          mixed mode, where a layer was saved after it was prepared;
//   follows from q_groups bias F16 [N]
// Uniform mode has no q_groups: one width of 2 or 4 bits, groups of one size that divides K.
// Source: bitorch-engine 0.2.6, MBWQLinearCuda.
#pragma once
#include "core/formats/format.h"
#include "core/quant/width_groups.h"

#include <cstdint>
#include <string>
#include <vector>

namespace nibble::formats::mbwq {

struct Plan {
  std::uint64_t rows = 0, columns = 0;  // N, K
  std::vector<WidthGroup> groups;
  std::vector<float> scale, zero;    // [rows, groups]; zero as stored, subtracted
  std::vector<std::uint32_t> order;  // all K of them
  std::vector<float> channelScale;   // by input of the model, all K of them
  bool mixed = false;
};

// The error is the refusal.
Result<Plan> planFor(const QuantizedTensor& tensor);
// One size, where groups are equal and divide the inputs; 0: they are not.
std::uint64_t uniformGroup(const std::vector<WidthGroup>& groups);

std::vector<RuleResult> preflight(std::string_view runtime, const std::vector<ExportLayer>& layers);
Result<std::string> configText(const std::vector<ExportLayer>& layers);    // the quantization_config object
Result<std::string> strategyText(const std::vector<ExportLayer>& layers);  // quant_strategy.json

std::vector<PackedLayer> detect(const Checkpoint& checkpoint);
Result<QuantizedTensor> read(const Checkpoint& checkpoint, const PackedLayer& layer);

}  // namespace nibble::formats::mbwq
