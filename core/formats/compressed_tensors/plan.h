// SPDX-License-Identifier: GPL-3.0-or-later
// How compressed-tensors holds a linear layer P of [out, in]. Weights are rounded to the scale's type at the end (NVFP4: the
// model's), everything before is float32:
//   pack-quantized        P.weight_packed I32, per row a little-endian stream of codes (code = q + 2^(b-1)); P.weight_scale
//                         [out, groups]; P.weight_zero_point I32, the same stream down the rows; P.weight_shape I64 [2]
//                         w = (code - zero) * scale
//   int-quantized         P.weight I8, P.weight_scale [out, 1]                                   w = q * scale
//   float-quantized       P.weight F8_E4M3, P.weight_scale [1], [out, groups] or one per tile    w = q * scale
//   mxfp8-quantized       the same with P.weight_scale U8 (E8M0) [out, in / 32]                  w = q * 2^(s - 127)
//   mxfp4-pack-quantized  P.weight_packed U8, low nibble first, scales as above                  w = q * 2^(s - 127)
//   nvfp4-pack-quantized  P.weight_scale F8_E4M3 [out, in / 16], P.weight_global_scale F32 [1]   w = q * fl(s / global)
// Sources: compressed-tensors 0.19 compressors/*, quantization/lifecycle/forward.py; files written by llm-compressor 0.14.
#pragma once
#include "core/formats/format.h"

#include <string>
#include <vector>

namespace nibble::formats::compressed_tensors {

enum class Kind { Packed, Int8, Float8, Mxfp8, Mxfp4, Nvfp4 };
std::string_view formatName(Kind kind);  // as in config.json
int bitsOf(Kind kind, int packedBits);

enum class Strategy { Tensor, Channel, Group, Block };

// What a tensor is written as.
struct Plan {
  Kind kind = Kind::Packed;
  int bits = 4;
  std::uint64_t rows = 0, columns = 0;
  Strategy strategy = Strategy::Group;
  std::uint64_t group = 0;                        // Group
  std::uint64_t blockRows = 0, blockColumns = 0;  // Block
  Shape scaleShape;
  std::vector<float> scale;  // numbers (Mxfp: powers of two); Nvfp4: unused
  FloatType scaleType = FloatType::F32;
  std::vector<float> zero;           // Packed: codes that stand for 0, [out, groups]
  bool symmetric = true;             // every zero is 2^(bits - 1), which is then not written
  std::vector<std::uint8_t> codes8;  // Nvfp4: E4M3 codes of the scales
  float global = 1;                  // Nvfp4: what the scales are divided by

  [[nodiscard]] std::uint64_t groups() const { return scaleShape.back(); }
};

// The error is the refusal.
Result<Plan> planFor(const QuantizedTensor& tensor);
std::vector<RawTensor> arraysOf(const Plan& plan, const ExportLayer& layer);
std::shared_ptr<const Layout> layoutOf(const Plan& plan);

std::vector<RuleResult> preflight(std::string_view runtime, const std::vector<ExportLayer>& layers);
Result<std::string> configure(const std::string& config, const std::vector<ExportLayer>& layers,
                              const std::vector<std::string>& leftAlone);
std::vector<PackedLayer> detect(const Checkpoint& checkpoint);
Result<QuantizedTensor> read(const Checkpoint& checkpoint, const PackedLayer& layer);

}  // namespace nibble::formats::compressed_tensors
