// SPDX-License-Identifier: GPL-3.0-or-later
// Block tensors of a GGUF file as packed layers: one entry each, under its own name. What the rows of bytes hold is the type's
// (core/quant/blocks.h); scales that are no finite numbers are refused with the block.
#pragma once
#include "core/formats/format.h"

#include <vector>

namespace nibble::formats::gguf {

// The weights' shape of a block tensor: the last side counts weights, not bytes.
Shape weightShape(const TensorEntry& entry);

std::vector<PackedLayer> detect(const Checkpoint& checkpoint);
// One matrix of a stack [experts, out, in].
Result<QuantizedTensor> readMatrix(const Checkpoint& checkpoint, const PackedLayer& layer, std::uint64_t index);
Result<QuantizedTensor> read(const Checkpoint& checkpoint, const PackedLayer& layer);

}  // namespace nibble::formats::gguf
