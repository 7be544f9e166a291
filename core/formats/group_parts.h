// SPDX-License-Identifier: GPL-3.0-or-later
// Parameters as GPTQ and AWQ files both keep them: scales [groups, out] in a float type, zero points as small integers.
#pragma once
#include "core/formats/format.h"

#include <string>
#include <vector>

namespace nibble::formats {

// Array `name` [groups, rows], checked to be finite, turned to [rows, groups].
Result<std::vector<float>> groupScales(const Checkpoint& checkpoint, const std::string& name, std::uint64_t groups,
                                       std::uint64_t rows);
// [rows, groups] turned to [groups, rows], as files have it.
std::vector<float> byGroup(const std::vector<float>& values, std::uint64_t rows, std::uint64_t groups);
// Zero points that the file keeps in `bits` each.
Plane packedIntegers(Grouping grouping, const std::vector<float>& values, int bits);
// How a plane of numbers of this array's type is stored.
Stored storedLike(DType type);
// "model.qweight is I32 [4, 32]", to be followed by what was expected.
std::string typeAndShape(const TensorEntry& entry);

}  // namespace nibble::formats
