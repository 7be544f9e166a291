// SPDX-License-Identifier: GPL-3.0-or-later
// The block types of GGUF as QuantizedTensor and back. A matrix is stored row by row, every row as whole blocks of some bytes
// (kernels/block_type.h); scales of super-blocks become nested planes, the vectors of the iq types levels with signs. Decoded
// values are exactly ggml's floats, the sign of zero included.
// Source: the block layouts of ggml 0.25.3 (MIT), ggml-common.h and the dequantizers of ggml-quants.c.
#pragma once
#include "core/base/result.h"
#include "core/quant/layout.h"
#include "core/quant/quantized_tensor.h"
#include "kernels/block_type.h"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

namespace nibble {

using kernels::BlockType;

std::span<const BlockType> allBlockTypes();                        // in the order of their numbers
std::string_view blockTypeName(BlockType type);                    // as ggml's files and tools call it, in capitals: "Q4_K"
std::optional<BlockType> blockTypeFromNumber(std::uint32_t type);  // ggml_type in a file
double blockBitsPerWeight(BlockType type);

// `bytes` are rows * columns / weights * bytes of the type's block. Refused: columns that blocks do not divide, another number
// of bytes, scales that are no finite numbers or decode to none; the error names the block.
// A byte of NVFP4's scales that is no positive E4M3 number keeps its byte and decodes as ggml does.
Result<QuantizedTensor> fromBlocks(BlockType type, std::uint64_t rows, std::uint64_t columns, std::span<const std::byte> bytes);

// The blocks a tensor from `fromBlocks` (or put together like one) is stored as: the same bytes, except that TQ1_0 bytes that
// no encoder writes come back in the encoder's spelling. Refused: a tensor whose layout is none of blocks, planes of other
// sizes, numbers that do not fit.
Result<std::vector<std::byte>> toBlocks(const QuantizedTensor& tensor);

// Codes at their places in whole blocks. `sizeBytes` counts everything, `sizeByPurpose` says what it is for.
// The five trits of a TQ1_0 byte share all its bits: `locate` gives the byte.
std::shared_ptr<const Layout> blockLayout(BlockType type, std::uint64_t rows, std::uint64_t columns);
// The type whose layout the tensor has; none: it is stored otherwise.
std::optional<BlockType> blockTypeOf(const QuantizedTensor& tensor);

}  // namespace nibble
