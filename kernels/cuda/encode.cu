// SPDX-License-Identifier: GPL-3.0-or-later
// Tiling. Elements side by side: a warp takes one group (quantize: all of it in registers, at most 1024 elements) or 1024
// elements of one (encode), lane l the elements 4 l .. 4 l + 3 of each 128:
//
//     group g   |w w w w|w w w w| ... 32 lanes x 16 bytes |-> range by halving -> scale, zero -> codes  |c c c c| ... 32 x 4
//     bytes
//                                                             \-> error sums, error histogram of the block
//
// Groups side by side: a thread takes one group, neighbours read neighbours.
// Parameters of the eight groups go through shared memory, so that they are loaded and stored as one sector. A block that
// counts a histogram takes eight times as many groups, one eight after another, before it adds its counts to memory.
// Bytes: 4 read and 1 written for each weight; 8 read or written for each group; 40 written for each 8 warps' sums.
// Quantize with its statistics reads its input once. Counts of the histogram conflict in shared memory as the data have it.
// Few registers hold short groups: 4 weights a lane up to 128, 32 up to 1024.
//
// bound quantizeRuns registers 96 shared 33184
// bound encodeRuns registers 64 shared 33184
// bound encodeColumns registers 40 shared 0
// bound encodeLevels registers 40 shared 1376
#include "kernels/cuda/encode.h"

#include "kernels/cuda/measure.h"
#include "kernels/cuda/reduce.h"

#include <type_traits>

namespace nibble::kernels::NIBBLE_CUDA_SPACE {
namespace {

constexpr std::size_t partSize = longestQuantizeGroup;
// In shared memory: the block's sums, scales, zeros and scales of values of eight groups, then the histogram.
constexpr std::size_t parametersOffset = blockSumsBytes, parametersBytes = 3 * sumWarps * sizeof(float);
constexpr std::size_t binsOffset = parametersOffset + parametersBytes;
constexpr unsigned binnedRounds = 8;

// Parameter `which` of up to eight groups: loaded by warp `which`, read by all after a barrier.
NIBBLE_DEVICE void stageParameters(std::size_t offset, unsigned which, const float* from, std::size_t count) {
  const unsigned lane = threadIndex() % 32;
  if (threadIndex() / 32 == which && lane < count)
    Shared<float>(offset, 3 * sumWarps).set(which * sumWarps + lane, load(from + lane));
}
NIBBLE_DEVICE float parameterAt(std::size_t offset, unsigned which, std::size_t group) {
  return Shared<float>(offset, 3 * sumWarps).get(which * sumWarps + group);
}
// Groups of the items [first, first + 8), which are parts of groups.
struct GroupsOfBlock {
  std::size_t first, count;
  NIBBLE_DEVICE GroupsOfBlock(std::size_t item, std::size_t items, std::size_t parts)
      : first(item / parts), count(((item + sumWarps < items ? item + sumWarps : items) - 1) / parts + 1 - first) {}
};

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

// One group to a warp; steps x width weights a lane hold all of it. Leaves the group's parameters in shared memory.
template <unsigned width, unsigned steps>
NIBBLE_DEVICE ErrorSums quantizeGroup(const GroupView& view, const AffineCodes& how, std::size_t group, std::uint8_t* codes,
                                      const Measure& measure, const Binning& bin) {
  const std::size_t lane = threadIndex() % 32, start = group * view.groupStride;
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
    const Shared<float> parameters(parametersOffset, 3 * sumWarps);
    parameters.set(threadIndex() / 32, scale);
    parameters.set(sumWarps + threadIndex() / 32, zero);
  }
  const GroupCoder coder{how, scale, zero, scale, measure, bin};
  ErrorSums sums;
#pragma unroll
  for (unsigned s = 0; s < steps; ++s) {
    const std::size_t i = (s * 32 + lane) * width;
    if (i < view.size) codeAt<width>(coder, w[s], codes + start + i, sums);
  }
  return sums;
}

template <unsigned width, unsigned steps, bool binned>
NIBBLE_KERNEL NIBBLE_THREADS(256) quantizeRuns(GroupView view, AffineCodes how, float* scales, float* zeros,
                                               std::uint8_t* codes, Measure measure, Binning bin) {
  constexpr unsigned rounds = binned ? binnedRounds : 1;
  if constexpr (binned) clearBins(binsOffset, measure.bins);
#pragma unroll 1
  for (unsigned r = 0; r < rounds; ++r) {
    const std::size_t round = std::size_t{blockX()} * rounds + r, first = round * sumWarps, group = first + threadIndex() / 32;
    if (first >= view.groups) break;
    ErrorSums sums;
    if (group < view.groups) sums = quantizeGroup<width, steps>(view, how, group, codes, measure, bin);
    syncThreads();
    const unsigned which = threadIndex() / sumWarps, at = threadIndex() % sumWarps;
    if (which < 2 && first + at < view.groups)
      store((which == 0 ? scales : zeros) + first + at, parameterAt(parametersOffset, which, at));
    if (measure.parts != nullptr) storeBlockSums(sums, measure.parts + round * sumFields);
  }
  if constexpr (binned) addBins(binsOffset, measure.bins, measure.counts);
}

template <unsigned width>
NIBBLE_KERNEL NIBBLE_THREADS(256)
    encodeRuns(GroupView view, AffineCodes how, const float* scales, const float* zeros, const float* valueScales,
               std::size_t parts, std::size_t rounds, std::uint8_t* codes, Measure measure, Binning bin) {
  if (measure.counts != nullptr) clearBins(binsOffset, measure.bins);
  const std::size_t items = view.groups * parts;
  for (std::size_t round = blockX() * rounds; round < (blockX() + std::size_t{1}) * rounds; ++round) {
    const std::size_t first = round * sumWarps, item = first + threadIndex() / 32, lane = threadIndex() % 32;
    if (first >= items) break;
    const GroupsOfBlock groups(first, items, parts);
    stageParameters(parametersOffset, 0, scales + groups.first, groups.count);
    stageParameters(parametersOffset, 1, zeros + groups.first, groups.count);
    if (measure.parts != nullptr) stageParameters(parametersOffset, 2, valueScales + groups.first, groups.count);
    syncThreads();
    ErrorSums sums;
    if (item < items) {
      const std::size_t group = item / parts, begin = item % parts * partSize, at = group - groups.first;
      const std::size_t start = group * view.groupStride + begin;
      const std::size_t count = view.size - begin < partSize ? view.size - begin : partSize;
      const GroupCoder coder{how,
                             parameterAt(parametersOffset, 0, at),
                             parameterAt(parametersOffset, 1, at),
                             measure.parts != nullptr ? parameterAt(parametersOffset, 2, at) : 0.0f,
                             measure,
                             bin};
      for (std::size_t i = lane * width; i < count; i += 32 * width) {
        float w[width];
        weightsAt<width>(view.data + start + i, w);
        codeAt<width>(coder, w, codes + start + i, sums);
      }
    }
    if (measure.parts != nullptr) storeBlockSums(sums, measure.parts + round * sumFields);
  }
  if (measure.counts != nullptr) addBins(binsOffset, measure.bins, measure.counts);
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
  constexpr std::size_t ranksOffset = 1024, multipliersOffset = 1280;
  const Shared<float> thresholds(0, 256);
  const Shared<std::uint8_t> ranks(ranksOffset, 256);
  const std::size_t first = std::size_t{blockX()} * sumWarps, items = view.groups * parts;
  const GroupsOfBlock groups(first < items ? first : 0, items, parts);
  if constexpr (runs) stageParameters(multipliersOffset, 0, multipliers + groups.first, groups.count);
  if (threadIndex() < count) thresholds.set(threadIndex(), load(levels + threadIndex()));
  if (threadIndex() <= count) ranks.set(threadIndex(), load(codeOfRank + threadIndex()));
  syncThreads();
  const auto encode = [&](std::size_t i, float multiplier) {
    store(codes + i, ranks.get(rankAmong(loadOnce(view.data + i) * multiplier, thresholds, count)));
  };
  if constexpr (runs) {
    const std::size_t item = first + threadIndex() / 32, lane = threadIndex() % 32;
    if (item >= items) return;
    const std::size_t group = item / parts, begin = item % parts * partSize;
    const std::size_t end = view.size - begin < partSize ? view.size : begin + partSize;
    const float multiplier = parameterAt(multipliersOffset, 0, group - groups.first);
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
  return binsOffset + (measure.counts != nullptr ? measure.bins * sizeof(std::uint32_t) : 0);
}

// Eights of groups a block takes, and the grid that takes them all.
std::size_t roundsFor(const Measure& measure) {
  return measure.counts != nullptr ? binnedRounds : 1;
}
GridSize gridFor(const Cut& cut, const Measure& measure) {
  return {static_cast<unsigned>(ceilDiv(cut.grid.x, roundsFor(measure))), 1};
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
  Outcome outcome =
      launch(takesQuads(view, codes) ? encodeRuns<4> : encodeRuns<1>, gridFor(cut, wanted), sumThreads, sharedFor(wanted),
             stream, view, how, scale, zero, valueScale, cut.parts, roundsFor(wanted), codes, wanted, bin);
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
  const auto choose = [&](auto binned) {
    constexpr bool with = decltype(binned)::value;
    return quads ? (few ? quantizeRuns<4, 1, with> : quantizeRuns<4, 8, with>)
                 : (few ? quantizeRuns<1, 4, with> : quantizeRuns<1, 32, with>);
  };
  const auto kernel = measure.counts != nullptr ? choose(std::true_type()) : choose(std::false_type());
  Outcome outcome = launch(kernel, gridFor(cut, measure), sumThreads, sharedFor(measure), stream, view, how, scale, zero, codes,
                           measure, bin);
  if (!outcome.ok() || measure.parts == nullptr || measure.sums == nullptr) return outcome;
  return launchAddSums(measure.parts, cut.grid.x, measure.sums, stream);
}

Outcome launchEncodeThresholds(const GroupView& view, const float* multiplier, const float* thresholds, std::size_t count,
                               const std::uint8_t* codeOfRank, std::uint8_t* codes, Stream stream) {
  if (view.groups == 0 || view.size == 0) return {};
  const Cut cut = cutOf(view);
  if (!cut.fits || count > 255) return tooMany();
  return launch(cut.runs ? encodeLevels<true> : encodeLevels<false>, cut.grid, sumThreads, 1376, stream, view, multiplier,
                thresholds, count, codeOfRank, cut.parts, codes);
}

}  // namespace nibble::kernels::NIBBLE_CUDA_SPACE
