// SPDX-License-Identifier: GPL-3.0-or-later
// Tiling. A lane holds one block of 32 weights in registers through all iterations, and adds its terms in float32 in order:
//
//     warp   | group 0: block 0 | block 1 | group 1: block 0 | block 1 | ...     floor(32 / blocks of a group) groups a warp
//               lane 0              1          2                 3
//
// The blocks' sums are added in double, block after block, by shuffles; every lane of a group knows the new zero. The weights
// come through shared memory, 33 floats for each block, so that both the loads and the lanes' reads are side by side.
// Groups of more than 1024 weights: a warp for each, whose lanes read their blocks again in every iteration.
// Bytes: 4 read for each weight, once; 8 written for each group and iteration (its error), read again by the kernel that adds
// them by chunks of 256 groups.
//
// bound iterateBlocks registers 128 shared 16896
// bound iterateLong registers 64 shared 0
// bound addChunks registers 56 shared 128
#include "kernels/cuda/half_quadratic.h"

#include "kernels/math/half_quadratic.h"

namespace nibble::kernels::NIBBLE_CUDA_SPACE {
namespace {

constexpr unsigned warps = 4, threads = warps * 32;
constexpr unsigned blockSize32 = halfQuadraticBlock, stride = blockSize32 + 1;

// One block of 32 weights: the errors and terms, added in order.
struct BlockSums {
  float error = 0, term = 0;
  NIBBLE_DEVICE void add(float w, const HalfQuadraticGroup& group, float maxCode, const Shrink& shrink) {
    const HalfQuadraticTerm one = halfQuadraticTerm(w, group, maxCode, shrink);
    error += one.error;
    term += one.term;
  }
};

NIBBLE_KERNEL NIBBLE_THREADS(128) iterateBlocks(GroupView view, Shrink shrink, int iterations, float maxCode,
                                                const float* inverseScale, float* zeros, double* errors, int* restAfter) {
  const unsigned lane = threadIndex() % 32, warp = threadIndex() / 32;
  const auto blocks = static_cast<unsigned>((view.size + blockSize32 - 1) / blockSize32), each = 32 / blocks;
  const std::size_t first = (std::size_t{blockX()} * warps + warp) * each;
  const Shared<float> staged(warp * 32 * stride * sizeof(float), 32 * stride);
  const std::size_t groups = first >= view.groups ? 0 : view.groups - first < each ? view.groups - first : each;
  // Block b of group g goes to lane g * blocks + b.
  const auto size = static_cast<unsigned>(view.size);
  const bool runs = view.elementStride == 1;
  for (unsigned i = lane; i < groups * size; i += 32) {
    const unsigned g = runs ? i / size : i % static_cast<unsigned>(groups),
                   k = runs ? i % size : i / static_cast<unsigned>(groups);
    staged.set((g * blocks + k / blockSize32) * stride + k % blockSize32,
               loadOnce(view.data + (first + g) * view.groupStride + k * view.elementStride));
  }
  syncWarp();
  const unsigned mine = lane / blocks, block = lane % blocks;
  const bool active = mine < groups;
  const unsigned count = !active ? 0 : size - block * blockSize32 < blockSize32 ? size - block * blockSize32 : blockSize32;
  float w[blockSize32];
#pragma unroll
  for (unsigned k = 0; k < blockSize32; ++k) w[k] = k < count ? staged.get(lane * stride + k) : 0.0f;
  const std::size_t group = first + mine;
  const float inverse = active ? load(inverseScale + group) : 1.0f;
  float zero = active ? load(zeros + group) : 0.0f;
  int rest = iterations + 1;
  for (int i = 0; i < iterations; ++i) {
    const HalfQuadraticGroup parameters(inverse, zero, shrink);
    BlockSums sums;
#pragma unroll
    for (unsigned k = 0; k < blockSize32; ++k)
      if (k < count) sums.add(w[k], parameters, maxCode, shrink);
    double error = 0, sum = 0;
    for (unsigned b = 0; b < blocks; ++b) {
      error += static_cast<double>(shuffleFrom(sums.error, mine * blocks + b));
      sum += static_cast<double>(shuffleFrom(sums.term, mine * blocks + b));
    }
    const float next = static_cast<float>(sum / static_cast<double>(view.size));
    if (next == zero && i < rest) rest = i;
    zero = next;
    if (active && block == 0)
      store(errors + static_cast<std::size_t>(i) * view.groups + group, error * static_cast<double>(parameters.scale));
  }
  if (!active || block != 0) return;
  store(zeros + group, zero);
  store(restAfter + group, rest);
}

NIBBLE_KERNEL NIBBLE_THREADS(128) iterateLong(GroupView view, Shrink shrink, int iterations, float maxCode,
                                              const float* inverseScale, float* zeros, double* errors, int* restAfter) {
  const unsigned lane = threadIndex() % 32;
  const std::size_t group = std::size_t{blockX()} * warps + threadIndex() / 32;
  if (group >= view.groups) return;
  const float inverse = load(inverseScale + group);
  float zero = load(zeros + group);
  int rest = iterations + 1;
  const float* data = view.data + group * view.groupStride;
  for (int i = 0; i < iterations; ++i) {
    const HalfQuadraticGroup parameters(inverse, zero, shrink);
    double error = 0, sum = 0;
    for (std::size_t begin = 0; begin < view.size; begin += 32 * blockSize32) {
      BlockSums sums;
      const std::size_t start = begin + lane * blockSize32;
      for (std::size_t k = start; k < start + blockSize32 && k < view.size; ++k)
        sums.add(load(data + k * view.elementStride), parameters, maxCode, shrink);
      for (unsigned b = 0; b < 32; ++b) {
        const float blockError = shuffleFrom(sums.error, b), blockTerm = shuffleFrom(sums.term, b);
        if (begin + b * blockSize32 >= view.size) continue;
        error += static_cast<double>(blockError);
        sum += static_cast<double>(blockTerm);
      }
    }
    const float next = static_cast<float>(sum / static_cast<double>(view.size));
    if (next == zero && i < rest) rest = i;
    zero = next;
    if (lane == 0)
      store(errors + static_cast<std::size_t>(i) * view.groups + group, error * static_cast<double>(parameters.scale));
  }
  if (lane != 0) return;
  store(zeros + group, zero);
  store(restAfter + group, rest);
}

// chunkErrors[chunk * iterations + i]: sixteen sums (group number mod 16) in order, then those in order.
NIBBLE_KERNEL NIBBLE_THREADS(32) addChunks(const double* errors, std::size_t groups, int iterations, double* chunkErrors) {
  const std::size_t chunk = blockX(), iteration = blockY();
  const std::size_t begin = chunk * halfQuadraticChunk;
  const std::size_t end = groups - begin < halfQuadraticChunk ? groups : begin + halfQuadraticChunk;
  const Shared<double> lanes(0, halfQuadraticLanes);
  if (threadIndex() < halfQuadraticLanes) {
    double sum = 0;
    for (std::size_t g = begin + threadIndex(); g < end; g += halfQuadraticLanes) sum += load(errors + iteration * groups + g);
    lanes.set(threadIndex(), sum);
  }
  syncThreads();
  if (threadIndex() != 0) return;
  double total = 0;
  for (std::size_t l = 0; l < halfQuadraticLanes; ++l) total += lanes.get(l);
  store(chunkErrors + chunk * static_cast<std::size_t>(iterations) + iteration, total);
}

}  // namespace

std::size_t halfQuadraticScratch(const GroupView& view, int iterations) {
  return view.groups * static_cast<std::size_t>(iterations);
}

Outcome launchHalfQuadratic(const GroupView& view, const HalfQuadraticSettings& settings, const float* inverseScale,
                            float* zero, double* chunkErrors, int* restAfter, double* scratch, Stream stream) {
  if (view.groups == 0 || view.size == 0 || settings.iterations <= 0) return {};
  const std::size_t blocks = ceilDiv(view.size, blockSize32), chunks = ceilDiv(view.groups, halfQuadraticChunk);
  const bool isLong = blocks > 32;
  const std::size_t grid = ceilDiv(view.groups, warps * (isLong ? 1 : 32 / blocks));
  if (grid > largestGridX || chunks > largestGridX || settings.iterations > static_cast<int>(largestGridY))
    return Outcome::failed(Fault::BadCall, "too many groups or iterations at once");
  Outcome outcome = launch(isLong ? iterateLong : iterateBlocks, {static_cast<unsigned>(grid), 1}, threads,
                           isLong ? 0 : warps * 32 * stride * sizeof(float), stream, view, Shrink(settings),
                           settings.iterations, settings.maxCode, inverseScale, zero, scratch, restAfter);
  if (!outcome.ok()) return outcome;
  return launch(addChunks, {static_cast<unsigned>(chunks), static_cast<unsigned>(settings.iterations)}, 32,
                halfQuadraticLanes * sizeof(double), stream, scratch, view.groups, settings.iterations, chunkErrors);
}

}  // namespace nibble::kernels::NIBBLE_CUDA_SPACE
