// SPDX-License-Identifier: GPL-3.0-or-later
// Error sums and counts, as Backend::errorSums, histogram, errorHistogram, occupancy and firstNonFinite. Counts equal the
// host's; sums agree to 1e-12 of their magnitudes, and are the same on every device. All pointers are the device's.
#pragma once
#include "kernels/backend.h"
#include "kernels/cuda/device.h"
#include "kernels/cuda/sum_parts.h"
#include "kernels/math/statistics.h"

namespace nibble::kernels::NIBBLE_CUDA_SPACE {

// Doubles of scratch for the sums of `count` pairs, and of blocks that leave parts.
std::size_t sumsScratch(std::size_t count);
// sums[sumFields]; null: only the blocks' parts are left, in scratch.
Outcome launchErrorSums(const float* weights, const float* reconstructed, std::size_t count, double* scratch, double* sums,
                        Stream stream);
// Adds the parts that `blocks` blocks stored with storeBlockSums.
Outcome launchAddSums(const double* parts, std::size_t blocks, double* sums, Stream stream);
// Adds to `counts`; at most mostBins bins. With `reconstructed` of the differences, without of the values.
Outcome launchHistogram(const float* values, const float* reconstructed, std::size_t count, const Binning& bin,
                        std::size_t bins, std::uint64_t* counts, Stream stream);
// Adds to counts[256].
Outcome launchOccupancy(const std::uint8_t* codes, std::size_t count, std::uint64_t* counts, Stream stream);
// Lowers *first to the index of the first NaN or infinity, if that is below it.
Outcome launchFirstNonFinite(const float* values, std::size_t count, std::uint64_t* first, Stream stream);

}  // namespace nibble::kernels::NIBBLE_CUDA_SPACE
