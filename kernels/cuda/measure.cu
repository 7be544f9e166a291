// SPDX-License-Identifier: GPL-3.0-or-later
// Tiling. A block of 256 threads takes 8192 neighbouring elements (32768 where it counts), in pieces of 256 x 4 (or 256 x 1
// where pointers are odd):
//
//     block b   |<- 256 threads x 16 bytes ->| x 8        registers -> warp -> shared memory -> parts[b]
//
// One block then adds the parts, thread t those of blocks t, t + 256, ...: the order depends on nothing but the count. They
// are loaded side by side, through shared memory.
// Bytes: 8 read for each pair (4 for a histogram of values, 1 for codes); 40 written for each 8192 pairs.
// Counts are kept in shared memory and added to global memory once a block. Their bank conflicts depend on the data.
//
// bound sumErrors registers 56 shared 320
// bound addSums registers 40 shared 10240
// bound countValues registers 40 shared 32768
// bound countCodes registers 32 shared 1024
// bound findNonFinite registers 32 shared 0
#include "kernels/cuda/measure.h"

#include "kernels/cuda/reduce.h"

namespace nibble::kernels::NIBBLE_CUDA_SPACE {
namespace {

constexpr std::size_t blockElements = 8192, countedElements = 4 * blockElements;

template <unsigned width, std::size_t elements = blockElements, class Body>
NIBBLE_DEVICE void forBlock(std::size_t count, Body body) {
  const std::size_t begin = std::size_t{blockX()} * elements;
  const std::size_t end = count - begin < elements ? count : begin + elements;
  for (std::size_t i = begin + threadIndex() * width; i < end; i += sumThreads * width) body(i);
}

template <unsigned width>
NIBBLE_KERNEL NIBBLE_THREADS(256)
    sumErrors(const float* weights, const float* reconstructed, std::size_t count, double* parts) {
  ErrorSums sums;
  forBlock<width>(count, [&](std::size_t i) {
    if constexpr (width == 4) {
      const Quad<float> w = loadOnce(reinterpret_cast<const Quad<float>*>(weights + i));
      const Quad<float> r = loadOnce(reinterpret_cast<const Quad<float>*>(reconstructed + i));
      for (unsigned k = 0; k < 4; ++k) include(sums, w.v[k], r.v[k]);
    } else {
      include(sums, loadOnce(weights + i), loadOnce(reconstructed + i));
    }
  });
  storeBlockSums(sums, parts + blockX() * sumFields);
}

NIBBLE_KERNEL NIBBLE_THREADS(256) addSums(const double* parts, std::size_t blocks, double* out) {
  double sums[sumFields] = {};
  const Shared<double> all(0, sumThreads * sumFields);
  for (std::size_t first = 0; first < blocks; first += sumThreads) {
    const std::size_t here = blocks - first < sumThreads ? blocks - first : sumThreads;
    for (std::size_t j = threadIndex(); j < here * sumFields; j += sumThreads) all.set(j, load(parts + first * sumFields + j));
    syncThreads();
    for (std::size_t i = 0; i < sumFields && threadIndex() < here; ++i) {
      const double part = all.get(threadIndex() * sumFields + i);
      if (i + 1 < sumFields)
        sums[i] += part;
      else
        sums[i] = part > sums[i] ? part : sums[i];
    }
    syncThreads();
  }
  for (std::size_t i = 0; i < sumFields; ++i) all.set(i * sumThreads + threadIndex(), sums[i]);
  for (unsigned half = sumThreads / 2; half > 0; half /= 2) {
    syncThreads();
    if (threadIndex() >= half) continue;
    for (std::size_t i = 0; i < sumFields; ++i) {
      const double mine = all.get(i * sumThreads + threadIndex()), other = all.get(i * sumThreads + threadIndex() + half);
      all.set(i * sumThreads + threadIndex(), i + 1 < sumFields ? mine + other : other > mine ? other : mine);
    }
  }
  syncThreads();
  if (threadIndex() < sumFields) store(out + threadIndex(), all.get(threadIndex() * sumThreads));
}

template <unsigned width, bool differences>
NIBBLE_KERNEL NIBBLE_THREADS(256) countValues(const float* values, const float* reconstructed, std::size_t count, Binning bin,
                                              std::size_t bins, std::uint64_t* out) {
  clearBins(0, bins);
  const Shared<std::uint32_t> counts(0, bins);
  forBlock<width, countedElements>(count, [&](std::size_t i) {
    if constexpr (width == 4) {
      const Quad<float> w = loadOnce(reinterpret_cast<const Quad<float>*>(values + i));
      Quad<float> r{};
      if constexpr (differences) r = loadOnce(reinterpret_cast<const Quad<float>*>(reconstructed + i));
      for (unsigned k = 0; k < 4; ++k) counts.add(bin(differences ? w.v[k] - r.v[k] : w.v[k]), 1u);
    } else {
      const float w = loadOnce(values + i);
      counts.add(bin(differences ? w - loadOnce(reconstructed + i) : w), 1u);
    }
  });
  addBins(0, bins, out);
}

template <unsigned width>
NIBBLE_KERNEL NIBBLE_THREADS(256) countCodes(const std::uint8_t* codes, std::size_t count, std::uint64_t* out) {
  clearBins(0, 256);
  const Shared<std::uint32_t> counts(0, 256);
  forBlock<width, countedElements>(count, [&](std::size_t i) {
    if constexpr (width == 4) {
      const std::uint32_t word = loadOnce(reinterpret_cast<const std::uint32_t*>(codes + i));
      for (unsigned k = 0; k < 4; ++k) counts.add(word >> (8 * k) & 0xFFu, 1u);
    } else {
      counts.add(load(codes + i), 1u);
    }
  });
  addBins(0, 256, out);
}

template <unsigned width>
NIBBLE_KERNEL NIBBLE_THREADS(256) findNonFinite(const float* values, std::size_t count, std::uint64_t* first) {
  std::size_t found = count;
  forBlock<width>(count, [&](std::size_t i) {
    if constexpr (width == 4) {
      const Quad<float> w = loadOnce(reinterpret_cast<const Quad<float>*>(values + i));
      for (unsigned k = 4; k-- > 0;)
        if (!isFinite(w.v[k]) && i + k < found) found = i + k;
    } else if (!isFinite(loadOnce(values + i)) && i < found) {
      found = i;
    }
  });
  if (found < count) leastAtomically(first, found);
}

Outcome blocksFor(std::size_t count, unsigned* blocks, std::size_t elements = blockElements) {
  const std::size_t wanted = ceilDiv(count, elements);
  if (wanted > largestGridX) return Outcome::failed(Fault::BadCall, "too many elements at once");
  *blocks = static_cast<unsigned>(wanted);
  return {};
}

}  // namespace

std::size_t sumsScratch(std::size_t count) {
  return ceilDiv(count, blockElements) * sumFields;
}

Outcome launchAddSums(const double* parts, std::size_t blocks, double* sums, Stream stream) {
  return launch(addSums, {1, 1}, sumThreads, sumThreads * sumFields * sizeof(double), stream, parts, blocks, sums);
}

Outcome launchErrorSums(const float* weights, const float* reconstructed, std::size_t count, double* scratch, double* sums,
                        Stream stream) {
  unsigned blocks = 0;
  if (Outcome outcome = blocksFor(count, &blocks); !outcome.ok()) return outcome;
  const bool quads = isAligned(weights, 16) && isAligned(reconstructed, 16) && count % 4 == 0;
  if (blocks > 0) {
    Outcome outcome = launch(quads ? sumErrors<4> : sumErrors<1>, {blocks, 1}, sumThreads, blockSumsBytes, stream, weights,
                             reconstructed, count, scratch);
    if (!outcome.ok()) return outcome;
  }
  if (sums == nullptr) return {};
  return launchAddSums(scratch, blocks, sums, stream);
}

Outcome launchHistogram(const float* values, const float* reconstructed, std::size_t count, const Binning& bin,
                        std::size_t bins, std::uint64_t* counts, Stream stream) {
  unsigned blocks = 0;
  if (bins == 0 || bins > mostBins) return Outcome::failed(Fault::BadCall, "a histogram of too many bins");
  Outcome outcome = blocksFor(count, &blocks, countedElements);
  if (!outcome.ok() || blocks == 0) return outcome;
  const bool quads = isAligned(values, 16) && (reconstructed == nullptr || isAligned(reconstructed, 16)) && count % 4 == 0;
  const auto kernel = reconstructed != nullptr ? (quads ? countValues<4, true> : countValues<1, true>)
                                               : (quads ? countValues<4, false> : countValues<1, false>);
  return launch(kernel, {blocks, 1}, sumThreads, bins * sizeof(std::uint32_t), stream, values, reconstructed, count, bin, bins,
                counts);
}

Outcome launchOccupancy(const std::uint8_t* codes, std::size_t count, std::uint64_t* counts, Stream stream) {
  unsigned blocks = 0;
  Outcome outcome = blocksFor(count, &blocks, countedElements);
  if (!outcome.ok() || blocks == 0) return outcome;
  const bool words = isAligned(codes, 4) && count % 4 == 0;
  return launch(words ? countCodes<4> : countCodes<1>, {blocks, 1}, sumThreads, 256 * sizeof(std::uint32_t), stream, codes,
                count, counts);
}

Outcome launchFirstNonFinite(const float* values, std::size_t count, std::uint64_t* first, Stream stream) {
  unsigned blocks = 0;
  Outcome outcome = blocksFor(count, &blocks);
  if (!outcome.ok() || blocks == 0) return outcome;
  const bool quads = isAligned(values, 16) && count % 4 == 0;
  return launch(quads ? findNonFinite<4> : findNonFinite<1>, {blocks, 1}, sumThreads, 0, stream, values, count, first);
}

}  // namespace nibble::kernels::NIBBLE_CUDA_SPACE
