// SPDX-License-Identifier: GPL-3.0-or-later
// Tiling. Elements side by side: a warp takes one group (quantize: all of it in registers, at most 1024 elements) or 1024
// elements of one (encode), lane l the elements 4 l .. 4 l + 3 of each 128:
//
//     group g   |w w w w|w w w w| ... 32 lanes x 16 bytes |-> range by halving -> scale, zero -> codes  |c c c c| ... 32 x 4
//     bytes
//                                                             \-> error sums, error histogram of the block
//
// Groups side by side: a thread takes one group, neighbours read neighbours.
// Bytes: 4 read and 1 written for each weight; 8 read or written for each group; 40 written for each block of 8 warps' sums.
// Quantize with its statistics reads its input once. Counts of the histogram conflict in shared memory as the data have it.
// Few registers hold short groups: 4 weights a lane up to 128, 32 up to 1024.
//
// bound quantizeRuns registers 96 shared 33088
// bound encodeRuns registers 64 shared 33088
// bound encodeColumns registers 40 shared 0
// bound encodeLevels registers 40 shared 1280
#include "kernels/cuda/encode.h"

#include "kernels/cuda/measure.h"
#include "kernels/cuda/reduce.h"

namespace nibble::kernels::NIBBLE_CUDA_SPACE {
namespace {

constexpr std::size_t partSize = longestQuantizeGroup;
constexpr std::size_t binsOffset = blockSumsBytes;

NIBBLE_DEVICE float valueOf(AffineValue spelling, float scale, float zero, float code) {
  return spelling == AffineValue::ScaleMinusZero ? scale * (code - zero) : scale * code + zero;
}

// Scale and zero of one group, and what its weights add to the sums and the histogram.
struct GroupCoder {
  AffineCodes how;
  float scale, zero, valueScale;
  const Measure& measure;
  const Binning& bin;
  NIBBLE_DEVICE std::uint8_t operator()(float w, ErrorSums& sums) const {
    const float code = clampedCode(how.rule, w, scale, zero, how.maxCode);
    if (measure.parts == nullptr) return static_cast<std::uint8_t>(code);
    const float value = valueOf(how.spelling, valueScale, zero, code);
    include(sums, w, value);
    if (measure.counts != nullptr) Shared<std::uint32_t>(binsOffset, measure.bins).add(bin(w - value), 1u);
    return static_cast<std::uint8_t>(code);
  }
};

NIBBLE_DEVICE void finishMeasure(const Measure& measure, const ErrorSums& sums) {
  if (measure.parts == nullptr) return;
  storeBlockSums(sums, measure.parts + blockX() * sumFields);
  if (measure.counts != nullptr) addBins(binsOffset, measure.bins, measure.counts);
}

// Codes of four weights at once, or of one.
template <unsigned width>
NIBBLE_DEVICE void codeAt(const GroupCoder& coder, const float (&w)[width], std::uint8_t* to, ErrorSums& sums) {
  if constexpr (width == 4) {
    Quad<std::uint8_t> codes;
    for (unsigned k = 0; k < 4; ++k) codes.v[k] = coder(w[k], sums);
    store(reinterpret_cast<Quad<std::uint8_t>*>(to), codes);
  } else {
    store(to, coder(w[0], sums));
  }
}
template <unsigned width>
NIBBLE_DEVICE void weightsAt(const float* from, float (&w)[width]) {
  if constexpr (width == 4) {
    const Quad<float> quad = loadOnce(reinterpret_cast<const Quad<float>*>(from));
    for (unsigned k = 0; k < 4; ++k) w[k] = quad.v[k];
  } else {
    w[0] = loadOnce(from);
  }
}

// steps x width weights a lane hold the whole group.
template <unsigned width, unsigned steps>
NIBBLE_KERNEL NIBBLE_THREADS(256) quantizeRuns(GroupView view, AffineCodes how, float* scales, float* zeros,
                                               std::uint8_t* codes, Measure measure, Binning bin) {
  if (measure.counts != nullptr) clearBins(binsOffset, measure.bins);
  const std::size_t group = std::size_t{blockX()} * sumWarps + threadIndex() / 32, lane = threadIndex() % 32;
  ErrorSums sums;
  if (group < view.groups) {
    const std::size_t start = group * view.groupStride;
    float w[steps][width];
    Range range;
#pragma unroll
    for (unsigned s = 0; s < steps; ++s) {
      const std::size_t i = (s * 32 + lane) * width;
      if (i >= view.size) continue;
      weightsAt<width>(view.data + start + i, w[s]);
      for (unsigned k = 0; k < width; ++k) include(range, w[s][k]);
    }
    range = finished(warpRange(range));
    const bool subtracts = how.rule == CodeRule::SubtractDivideRound;
    const float scale = subtracts ? minmaxScale(range, how.maxCode) : affineScale(range, how.maxCode);
    const float zero = subtracts ? range.low : -std::nearbyint(range.low / scale);
    if (lane == 0) {
      store(scales + group, scale);
      store(zeros + group, zero);
    }
    const GroupCoder coder{how, scale, zero, scale, measure, bin};
#pragma unroll
    for (unsigned s = 0; s < steps; ++s) {
      const std::size_t i = (s * 32 + lane) * width;
      if (i < view.size) codeAt<width>(coder, w[s], codes + start + i, sums);
    }
  }
  finishMeasure(measure, sums);
}

template <unsigned width>
NIBBLE_KERNEL NIBBLE_THREADS(256)
    encodeRuns(GroupView view, AffineCodes how, const float* scales, const float* zeros, const float* valueScales,
               std::size_t parts, std::uint8_t* codes, Measure measure, Binning bin) {
  if (measure.counts != nullptr) clearBins(binsOffset, measure.bins);
  const std::size_t item = std::size_t{blockX()} * sumWarps + threadIndex() / 32, lane = threadIndex() % 32;
  ErrorSums sums;
  if (item < view.groups * parts) {
    const std::size_t group = item / parts, begin = item % parts * partSize;
    const std::size_t start = group * view.groupStride + begin;
    const std::size_t count = view.size - begin < partSize ? view.size - begin : partSize;
    const GroupCoder coder{
        how, load(scales + group), load(zeros + group), measure.parts != nullptr ? load(valueScales + group) : 0.0f, measure,
        bin};
    for (std::size_t i = lane * width; i < count; i += 32 * width) {
      float w[width];
      weightsAt<width>(view.data + start + i, w);
      codeAt<width>(coder, w, codes + start + i, sums);
    }
  }
  finishMeasure(measure, sums);
}

NIBBLE_KERNEL NIBBLE_THREADS(256)
    encodeColumns(GroupView view, AffineCodes how, const float* scales, const float* zeros, std::uint8_t* codes) {
  const std::size_t group = std::size_t{blockX()} * sumThreads + threadIndex();
  if (group >= view.groups) return;
  const std::size_t begin = blockY() * partSize;
  const std::size_t end = view.size - begin < partSize ? view.size : begin + partSize;
  const float scale = load(scales + group), zero = load(zeros + group);
  for (std::size_t k = begin; k < end; ++k) {
    const std::size_t i = group * view.groupStride + k * view.elementStride;
    store(codes + i, static_cast<std::uint8_t>(clampedCode(how.rule, loadOnce(view.data + i), scale, zero, how.maxCode)));
  }
}

// The thresholds below x: up to 32 are compared one by one, which all lanes do with the same one at once; more by halving.
NIBBLE_DEVICE std::size_t rankAmong(float x, const Shared<float>& thresholds, std::size_t count) {
  if (count <= 32) {
    std::size_t rank = 0;
    for (std::size_t i = 0; i < count; ++i) rank += thresholds.get(i) < x ? 1 : 0;
    return rank;
  }
  std::size_t first = 0;
  while (count > 0) {
    const std::size_t half = count / 2;
    const bool above = thresholds.get(first + half) < x;
    first = above ? first + half + 1 : first;
    count = above ? count - half - 1 : half;
  }
  return first;
}

template <bool runs>
NIBBLE_KERNEL NIBBLE_THREADS(256) encodeLevels(GroupView view, const float* multipliers, const float* levels, std::size_t count,
                                               const std::uint8_t* codeOfRank, std::size_t parts, std::uint8_t* codes) {
  const Shared<float> thresholds(0, 256);
  const Shared<std::uint8_t> ranks(1024, 256);
  if (threadIndex() < count) thresholds.set(threadIndex(), load(levels + threadIndex()));
  if (threadIndex() <= count) ranks.set(threadIndex(), load(codeOfRank + threadIndex()));
  syncThreads();
  const auto encode = [&](std::size_t i, float multiplier) {
    store(codes + i, ranks.get(rankAmong(loadOnce(view.data + i) * multiplier, thresholds, count)));
  };
  if constexpr (runs) {
    const std::size_t item = std::size_t{blockX()} * sumWarps + threadIndex() / 32, lane = threadIndex() % 32;
    if (item >= view.groups * parts) return;
    const std::size_t group = item / parts, begin = item % parts * partSize;
    const std::size_t end = view.size - begin < partSize ? view.size : begin + partSize;
    const float multiplier = load(multipliers + group);
    for (std::size_t k = begin + lane; k < end; k += 32) encode(group * view.groupStride + k, multiplier);
  } else {
    const std::size_t group = std::size_t{blockX()} * sumThreads + threadIndex();
    if (group >= view.groups) return;
    const std::size_t begin = blockY() * partSize;
    const std::size_t end = view.size - begin < partSize ? view.size : begin + partSize;
    const float multiplier = load(multipliers + group);
    for (std::size_t k = begin; k < end; ++k) encode(group * view.groupStride + k * view.elementStride, multiplier);
  }
}

struct Cut {
  GridSize grid;
  std::size_t parts = 1;
  bool runs = true, fits = true;
};
Cut cutOf(const GroupView& view) {
  Cut cut;
  cut.runs = view.elementStride == 1;
  cut.parts = ceilDiv(view.size, partSize);
  const std::size_t blocks = cut.runs ? ceilDiv(view.groups * cut.parts, sumWarps) : ceilDiv(view.groups, sumThreads);
  cut.fits = blocks <= largestGridX && (cut.runs || cut.parts <= largestGridY);
  cut.grid = {static_cast<unsigned>(blocks), cut.runs ? 1u : static_cast<unsigned>(cut.parts)};
  return cut;
}

bool takesQuads(const GroupView& view, const std::uint8_t* codes) {
  return isAligned(view.data, 16) && isAligned(codes, 4) && view.size % 4 == 0 && view.groupStride % 4 == 0;
}

std::size_t sharedFor(const Measure& measure) {
  if (measure.parts == nullptr) return 0;
  return binsOffset + (measure.counts != nullptr ? measure.bins * sizeof(std::uint32_t) : 0);
}

Outcome tooMany() {
  return Outcome::failed(Fault::BadCall, "too many groups or bins at once");
}

}  // namespace

std::size_t encodeScratch(const GroupView& view) {
  return ceilDiv(view.groups * ceilDiv(view.size, partSize), sumWarps) * sumFields;
}

Outcome launchEncode(const GroupView& view, const AffineCodes& how, const float* scale, const float* zero,
                     const float* valueScale, std::uint8_t* codes, const Measure* measure, Stream stream) {
  if (view.groups == 0 || view.size == 0) return {};
  const Cut cut = cutOf(view);
  const Measure wanted = measure != nullptr ? *measure : Measure{};
  if (!cut.fits || wanted.bins > mostBins || (measure != nullptr && !cut.runs)) return tooMany();
  if (!cut.runs) return launch(encodeColumns, cut.grid, sumThreads, 0, stream, view, how, scale, zero, codes);
  const Binning bin(wanted.low, wanted.high, wanted.bins);
  Outcome outcome = launch(takesQuads(view, codes) ? encodeRuns<4> : encodeRuns<1>, cut.grid, sumThreads, sharedFor(wanted),
                           stream, view, how, scale, zero, valueScale, cut.parts, codes, wanted, bin);
  if (!outcome.ok() || measure == nullptr || measure->sums == nullptr) return outcome;
  return launchAddSums(wanted.parts, cut.grid.x, wanted.sums, stream);
}

Outcome launchQuantize(const GroupView& view, const AffineCodes& how, float* scale, float* zero, std::uint8_t* codes,
                       const Measure& measure, Stream stream) {
  if (view.groups == 0 || view.size == 0) return {};
  const Cut cut = cutOf(view);
  if (!cut.fits || !cut.runs || cut.parts > 1 || measure.bins > mostBins) return tooMany();
  const Binning bin(measure.low, measure.high, measure.bins);
  const bool quads = takesQuads(view, codes), few = view.size <= 128;
  const auto kernel =
      quads ? (few ? quantizeRuns<4, 1> : quantizeRuns<4, 8>) : (few ? quantizeRuns<1, 4> : quantizeRuns<1, 32>);
  Outcome outcome =
      launch(kernel, cut.grid, sumThreads, sharedFor(measure), stream, view, how, scale, zero, codes, measure, bin);
  if (!outcome.ok() || measure.parts == nullptr || measure.sums == nullptr) return outcome;
  return launchAddSums(measure.parts, cut.grid.x, measure.sums, stream);
}

Outcome launchEncodeThresholds(const GroupView& view, const float* multiplier, const float* thresholds, std::size_t count,
                               const std::uint8_t* codeOfRank, std::uint8_t* codes, Stream stream) {
  if (view.groups == 0 || view.size == 0) return {};
  const Cut cut = cutOf(view);
  if (!cut.fits || count > 255) return tooMany();
  return launch(cut.runs ? encodeLevels<true> : encodeLevels<false>, cut.grid, sumThreads, 1280, stream, view, multiplier,
                thresholds, count, codeOfRank, cut.parts, codes);
}

}  // namespace nibble::kernels::NIBBLE_CUDA_SPACE
