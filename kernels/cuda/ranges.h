// SPDX-License-Identifier: GPL-3.0-or-later
// Smallest and largest element of each group, as Backend::ranges: equal to the host's to the bit. All pointers are the
// device's.
#pragma once
#include "kernels/backend.h"
#include "kernels/cuda/device.h"

namespace nibble::kernels::NIBBLE_CUDA_SPACE {

// Floats of scratch a launch wants: two for each part of a long group.
std::size_t rangesScratch(const GroupView& view);
Outcome launchRanges(const GroupView& view, float* low, float* high, float* scratch, Stream stream);

}  // namespace nibble::kernels::NIBBLE_CUDA_SPACE
