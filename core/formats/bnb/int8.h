// SPDX-License-Identifier: GPL-3.0-or-later
// LLM.int8 layers, which are read but not written; read_int8.cpp has the arithmetic.
#pragma once
#include "core/formats/format.h"

namespace nibble::formats::bnb {

std::vector<PackedLayer> detectInt8(const Checkpoint& checkpoint);
// Whether the layer is one of those, not a 4-bit one.
bool isInt8(const Checkpoint& checkpoint, const PackedLayer& layer);
Result<QuantizedTensor> readInt8(const Checkpoint& checkpoint, const PackedLayer& layer);

}  // namespace nibble::formats::bnb
