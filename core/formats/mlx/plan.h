// SPDX-License-Identifier: GPL-3.0-or-later
// How MLX holds a linear or embedding layer P of [out, in]: P.weight U32 [out, in * bits / 32], each row one little-endian
// stream of codes, and by mode
//   affine  P.scales and P.biases [out, in / group] of one float type T     w = fl_T(fl_T(scale * code) + bias)
//   mxfp4   P.scales U8 [out, in / 32] (E8M0), E2M1 codes                   w = q * 2^(s - 127)
//   mxfp8   the same with E4M3 codes
//   nvfp4   P.scales U8 [out, in / 16] (E4M3), E2M1 codes                   w = q * scale
// config.json's "quantization" has group_size, bits and mode, and an object of the same keys for each module that differs.
// Sources: mlx 0.32 python/mlx/nn/layers/quantized.py, mlx/backend/cpu/quantized.cpp; mlx-lm 0.32 utils.py.
#pragma once
#include "core/formats/format.h"

#include <string>
#include <vector>

namespace nibble::formats::mlx {

enum class Mode { Affine, Mxfp4, Mxfp8, Nvfp4 };
std::string_view modeName(Mode mode);

struct Plan {
  Mode mode = Mode::Affine;
  int bits = 4;
  std::uint64_t rows = 0, columns = 0, group = 64;
  FloatType type = FloatType::F32;       // Affine: of scales and biases
  std::vector<float> scale, bias;        // Affine: [out, in / group]
  std::vector<std::uint8_t> scaleCodes;  // the other modes

  [[nodiscard]] std::uint64_t perRow() const { return columns / group; }
};

// The error is the refusal.
Result<Plan> planFor(const QuantizedTensor& tensor);

std::vector<RuleResult> preflight(std::string_view runtime, const std::vector<ExportLayer>& layers);
Result<std::string> configure(const std::string& config, const std::vector<ExportLayer>& layers);
std::vector<PackedLayer> detect(const Checkpoint& checkpoint);
Result<QuantizedTensor> read(const Checkpoint& checkpoint, const PackedLayer& layer);

}  // namespace nibble::formats::mlx
