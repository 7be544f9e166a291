// SPDX-License-Identifier: GPL-3.0-or-later
// How blocks of threads leave their parts of error sums and counts: what host code has to know of reduce.h.
#pragma once
#include "kernels/cuda/device.h"

namespace nibble::kernels::NIBBLE_CUDA_SPACE {

inline constexpr unsigned sumThreads = 256, sumWarps = sumThreads / 32;
// Error sums of a block as they lie in memory: error, its square, the weight's square, weight times error, and the largest
// magnitude of an error.
inline constexpr std::size_t sumFields = 5;
// Shared memory the block's sums take, from its start on.
inline constexpr std::size_t blockSumsBytes = sumWarps * sumFields * sizeof(double);
// Of a histogram in shared memory.
inline constexpr std::size_t mostBins = 8192;

}  // namespace nibble::kernels::NIBBLE_CUDA_SPACE
