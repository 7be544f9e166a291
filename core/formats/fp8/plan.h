// SPDX-License-Identifier: GPL-3.0-or-later
// How FP8 checkpoints hold a linear layer P of [out, in]: P.weight F8_E4M3 (or F8_E5M2), one float a weight, and its scales:
//   per tile     P.weight_scale_inv F32, BF16 or F8_E8M0 [ceil(out / r), ceil(in / c)]  (in spite of its name it multiplies)
//   per output   P.weight_scale [out, 1]
//   per tensor   P.weight_scale [], [1] or [1, 1]
//   w = float8(code) * scale in float32
// Tiles may be ragged at the edges. The result has the model's type where a loader gives that (transformers; tiles that
// divide the sides), else it is the float32 product: transformers' loader cannot split ragged tiles, its dequantizing function
// multiplies in float32. Scales that are powers of two change no digit, so that their product needs no rounding.
// Sources: DeepSeek-V3 inference/fp8_cast_bf16.py (the layout), transformers integrations/finegrained_fp8.py and
// fbgemm_fp8.py, vLLM quantization/fp8.py; spec uniform 6.4.
#pragma once
#include "core/formats/format.h"

#include <string>
#include <vector>

namespace nibble::formats::fp8 {

enum class Scales { Tensor, Row, Tile };

// What a tensor is written as.
struct Plan {
  FloatType element = FloatType::F8E4M3;
  Scales scales = Scales::Row;
  std::uint64_t rows = 0, columns = 0;
  std::uint64_t tileRows = 0, tileColumns = 0;  // Tile: powers of two where there are several along that side
  Shape scaleShape;
  std::vector<float> scale;
  DType scaleType = DType::F32;  // F32, F16, BF16 or F8_E8M0
};

// The error is the refusal.
Result<Plan> planFor(const QuantizedTensor& tensor);
std::vector<RawTensor> arraysOf(const Plan& plan, const ExportLayer& layer);

std::vector<RuleResult> preflight(std::string_view runtime, const std::vector<ExportLayer>& layers);
Result<std::string> configure(const std::string& config, const std::vector<ExportLayer>& layers,
                              const std::vector<std::string>& leftAlone);
std::vector<PackedLayer> detect(const Checkpoint& checkpoint);
Result<QuantizedTensor> read(const Checkpoint& checkpoint, const PackedLayer& layer);

}  // namespace nibble::formats::fp8
