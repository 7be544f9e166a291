// SPDX-License-Identifier: GPL-3.0-or-later
// HQQ's proximal iterations, as Backend::halfQuadratic: zeros, errors and rests equal the host's to the bit, for the sums have
// math/half_quadratic.h's order (a device's power function excepted: see powerOf there). All pointers are the device's.
#pragma once
#include "kernels/backend.h"
#include "kernels/cuda/device.h"

namespace nibble::kernels::NIBBLE_CUDA_SPACE {

// Doubles of scratch: the error of each group in each iteration.
std::size_t halfQuadraticScratch(const GroupView& view, int iterations);
Outcome launchHalfQuadratic(const GroupView& view, const HalfQuadraticSettings& settings, const float* inverseScale,
                            float* zero, double* chunkErrors, int* restAfter, double* scratch, Stream stream);

}  // namespace nibble::kernels::NIBBLE_CUDA_SPACE
