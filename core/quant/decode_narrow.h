// SPDX-License-Identifier: GPL-3.0-or-later
// Fast paths of the decoder (decode.h) for two patterns, without a branch per weight so that the compiler vectorizes them.
// Equal to the literal path to the bit.
//   narrow    the value rule or its result in float16 or bfloat16 (GPTQ, AWQ, EXL2, MBWQ, MLX, FP8 checkpoints), any grouping:
//             parameters are laid out beside the weights first
//   patterns  codes that are the bits of a float32, float16 or bfloat16, with neither scale nor rounding
#pragma once
#include "core/quant/quantized_tensor.h"

#include <span>

namespace nibble {

bool decodesNarrow(const QuantizedTensor& tensor);
// Weights [begin, begin + out.size()) in stored order. Expects decodesNarrow().
void decodeNarrow(const QuantizedTensor& tensor, std::uint64_t begin, std::span<float> out);

bool decodesPatterns(const QuantizedTensor& tensor);
// The same; expects decodesPatterns().
void decodePatterns(const QuantizedTensor& tensor, std::uint64_t begin, std::span<float> out);

}  // namespace nibble
