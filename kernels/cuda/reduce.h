// SPDX-License-Identifier: GPL-3.0-or-later
// Sums and extremes over a warp and a block, in one order whatever the device: lanes by halving distances, warps by number,
// blocks by the kernel that adds what each wrote. So results are the same on every device and in every run.
#pragma once
#include "kernels/backend.h"
#include "kernels/cuda/device.h"
#include "kernels/cuda/sum_parts.h"
#include "kernels/math/affine.h"
#include "kernels/math/statistics.h"

namespace nibble::kernels::NIBBLE_CUDA_SPACE {

NIBBLE_DEVICE Range warpRange(Range range) {
  for (unsigned distance = 16; distance > 0; distance /= 2) {
    // Each end by itself: a lane without elements has its ends the wrong way round.
    const float low = shuffleXor(range.low, distance), high = shuffleXor(range.high, distance);
    range.low = low < range.low ? low : range.low;
    range.high = high > range.high ? high : range.high;
  }
  return range;
}

NIBBLE_DEVICE double warpSum(double value) {
  for (unsigned distance = 16; distance > 0; distance /= 2) value += shuffleXor(value, distance);
  return value;
}

NIBBLE_DEVICE float warpMax(float value) {
  for (unsigned distance = 16; distance > 0; distance /= 2) {
    const float other = shuffleXor(value, distance);
    value = other > value ? other : value;
  }
  return value;
}

// Adds the sums of a block of sumThreads threads and stores them to out[sumFields]. All threads call it.
NIBBLE_DEVICE void storeBlockSums(const ErrorSums& mine, double* out) {
  const unsigned lane = threadIndex() % 32, warp = threadIndex() / 32;
  const double sums[sumFields] = {warpSum(mine.error), warpSum(mine.errorSquared), warpSum(mine.weightSquared),
                                  warpSum(mine.weightError), static_cast<double>(warpMax(mine.maxError))};
  const Shared<double> parts(0, sumWarps * sumFields);
  if (lane == 0)
    for (std::size_t i = 0; i < sumFields; ++i) parts.set(warp * sumFields + i, sums[i]);
  syncThreads();
  if (threadIndex() >= sumFields) return;
  double total = 0;
  for (unsigned w = 0; w < sumWarps; ++w) {
    const double part = parts.get(w * sumFields + threadIndex());
    if (threadIndex() + 1 < sumFields)
      total += part;
    else
      total = part > total ? part : total;
  }
  store(out + threadIndex(), total);
}

// A histogram of the block in shared memory behind the sums, added to the counts in global memory: whole numbers, so the order
// does not matter.
NIBBLE_DEVICE void clearBins(std::size_t offset, std::size_t bins) {
  const Shared<std::uint32_t> counts(offset, bins);
  for (std::size_t i = threadIndex(); i < bins; i += blockSize()) counts.set(i, 0u);
  syncThreads();
}
NIBBLE_DEVICE void addBins(std::size_t offset, std::size_t bins, std::uint64_t* to) {
  const Shared<std::uint32_t> counts(offset, bins);
  syncThreads();
  for (std::size_t i = threadIndex(); i < bins; i += blockSize()) {
    const std::uint32_t count = counts.get(i);
    if (count != 0) addAtomically(to + i, std::uint64_t{count});
  }
}

}  // namespace nibble::kernels::NIBBLE_CUDA_SPACE
