// SPDX-License-Identifier: GPL-3.0-or-later
// The decoder: the only place where codes become values. A scalar path follows the description literally; fast paths for
// frequent patterns (float32 rule, identity levels or a small table, one-byte codes) are tested equal to it to the bit.
#pragma once
#include "core/base/context.h"
#include "core/base/result.h"
#include "core/quant/quantized_tensor.h"

#include <span>

namespace nibble {

// Values of weights [begin, begin + out.size()), row-major in the model's own column order. With a permutation, channel scale
// or rotation the unit of decoding is a row: begin and size must then be multiples of the column count.
void decode(const QuantizedTensor& tensor, std::uint64_t begin, std::span<float> out);
std::vector<float> decodeAll(const QuantizedTensor& tensor);
// The same through the literal scalar path alone: the reference the fast paths are tested against.
void decodeLiterally(const QuantizedTensor& tensor, std::uint64_t begin, std::span<float> out);

// The value rule alone, with the rounding of each step as the description says. Without a scale plane the level is not multiplied.
float applyRule(ValueRule rule, const Arithmetic& arithmetic, bool hasScale, float level, float scale, float zero);
// What the code of one stored weight stands for, before channel scale, rotation and order are undone.
float storedValue(const QuantizedTensor& tensor, std::uint64_t storedIndex);

// Whether single weights can be decoded, or only whole rows.
bool decodesByRow(const QuantizedTensor& tensor);

// How many codes a weight at `flatIndex` can have, counted from 0; widths above 16 count as 16.
std::uint64_t codeCountAt(const QuantizedTensor& tensor, std::uint64_t flatIndex);

// The values a weight at `flatIndex` could take (its group's levels), by ascending code; at most 256, thinned evenly
// beyond. Codes that stand for no number (NaN, infinity of 8-bit floats) are left out.
std::vector<float> levelsAt(const QuantizedTensor& tensor, std::uint64_t flatIndex);

}  // namespace nibble
