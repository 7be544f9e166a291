// SPDX-License-Identifier: GPL-3.0-or-later
// How a tensor is stored in a GGUF file: as one of ggml's block types, or as plain floats. What was quantized to a block type is
// stored as it is; other descriptions with the same values are said as a block type where there is one that holds them exactly:
//   4, 5, 8 bits around the middle, float16 scales      Q4_0 Q5_0 Q8_0    w = d (q - 2^(b-1))
//   4, 5 bits, float16 scale and offset                 Q4_1 Q5_1         w = d q + m
//   E2M1 codes, powers of two for 32 weights            MXFP4
//   E2M1 codes, E4M3 scales for 16 weights              NVFP4
// Groups may be longer than a block as long as blocks do not cross them. Source: ggml 0.25.3, ggml-common.h.
#pragma once
#include "core/formats/format.h"
#include "core/quant/blocks.h"

#include <memory>
#include <optional>
#include <string>

namespace nibble::formats::gguf {

struct Plan {
  std::optional<BlockType> block;                   // none: plain floats of `type`
  DType type = DType::F32;
  std::shared_ptr<const QuantizedTensor> spelled;   // the tensor as the block type says it; null: it already does
};

// The error is the refusal.
Result<Plan> planFor(const QuantizedTensor& tensor);
// The tensor's bytes; shape and type as the container wants them.
Result<RawTensor> stored(const std::string& name, const QuantizedTensor& tensor, const Plan& plan);

}  // namespace nibble::formats::gguf
