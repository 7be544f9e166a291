// SPDX-License-Identifier: GPL-3.0-or-later
// A tensor as EXL2 and MBWQ lay it out: inputs in stored order, in groups of consecutive ones with a code width each, one scale
// and one zero per output and group.
#pragma once
#include "core/quant/quantized_tensor.h"
#include "core/quant/width_groups.h"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace nibble::formats {

struct InputGroups {
  std::vector<WidthGroup> groups;
  std::vector<float> scale, zero;  // [rows, groups] row-major; zero empty where the tensor has none
};

// The error says what does not fit: other levels, groups that are no runs of inputs, widths that change inside a group.
Result<InputGroups> inputGroupsOf(const QuantizedTensor& tensor);

bool isIdentity(const std::vector<std::uint32_t>& order);  // or empty
bool isPermutation(const std::vector<std::uint32_t>& order);
bool isOne(const std::vector<float>& channelScale);  // all 1, or empty
std::vector<std::uint32_t> identityOrder(std::uint64_t columns);
std::vector<std::uint32_t> inverseOf(const std::vector<std::uint32_t>& permutation);

}  // namespace nibble::formats
