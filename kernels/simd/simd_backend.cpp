// SPDX-License-Identifier: GPL-3.0-or-later
#include "kernels/simd/simd_backend.h"

#include "kernels/host/host_backend.h"
#include "kernels/math/blocks.h"
#include "kernels/math/half_quadratic.h"
#include "kernels/simd/simd_loops.h"
#include "kernels/simd/threads.h"

#include <algorithm>
#include <mutex>
#include <set>
#include <string>
#include <vector>

namespace nibble::kernels {
namespace {

constexpr std::size_t blockPieceWeights = 16 * 1024;  // of a GGUF block quantizer, whose searches take tens of cycles a weight
constexpr std::size_t pieceWeights = 64 * 1024;  // with codes and a reconstruction beside the weights, half of a 1 MiB L2

template <class Body>
void inPieces(std::size_t count, std::size_t grain, const Body& body) {
  runParallel(count, grain, RangeBody(body));
}

// Cuts groups of `size` weights into pieces: several whole groups, or parts of one big group.
// body(firstGroup, groups, firstElement, elements).
template <class Body>
void inGroupPieces(std::size_t groups, std::size_t size, const Body& body) {
  if (size <= pieceWeights) {
    const std::size_t grain = std::max<std::size_t>(1, pieceWeights / std::max<std::size_t>(1, size));
    inPieces(groups, grain, [&](std::size_t begin, std::size_t end) { body(begin, end - begin, std::size_t{0}, size); });
    return;
  }
  const std::size_t parts = (size + pieceWeights - 1) / pieceWeights;
  inPieces(groups * parts, 1, [&](std::size_t i, std::size_t) {
    const std::size_t begin = i % parts * pieceWeights;
    body(i / parts, std::size_t{1}, begin, std::min(size, begin + pieceWeights) - begin);
  });
}

bool contiguous(const GroupView& view) {
  return view.elementStride == 1;
}
bool sideBySide(const GroupView& view) {
  return view.groupStride == 1;
}

// Rows k of a side-by-side view, `groups` weights each, cut into pieces. body(k, firstGroup, groups).
template <class Body>
void inRowPieces(const GroupView& view, const Body& body) {
  const std::size_t rows = std::max<std::size_t>(1, pieceWeights / view.groups);
  const std::size_t parts = (view.groups + pieceWeights - 1) / pieceWeights;
  if (parts == 1) {
    inPieces(view.size, rows, [&](std::size_t begin, std::size_t end) {
      for (std::size_t k = begin; k < end; ++k) body(k, std::size_t{0}, view.groups);
    });
    return;
  }
  inPieces(view.size * parts, 1, [&](std::size_t i, std::size_t) {
    const std::size_t begin = i % parts * pieceWeights;
    body(i / parts, begin, std::min(view.groups, begin + pieceWeights) - begin);
  });
}

void rangesOfBigGroups(const GroupView& view, float* low, float* high) {
  for (std::size_t g = 0; g < view.groups; ++g) {
    const std::size_t parts = (view.size + pieceWeights - 1) / pieceWeights;
    std::vector<float> lows(parts), highs(parts);
    inPieces(view.size, pieceWeights, [&](std::size_t begin, std::size_t end) {
      const std::size_t part = begin / pieceWeights;
      simd::rangesContiguous(view.data + g * view.groupStride + begin, 1, end - begin, 0, &lows[part], &highs[part]);
    });
    low[g] = *std::min_element(lows.begin(), lows.end());
    high[g] = *std::max_element(highs.begin(), highs.end());
  }
}

void rangesSideBySide(const GroupView& view, float* low, float* high) {
  // A cache line of groups at least; few groups with many rows are cut along the rows too.
  constexpr std::size_t columns = 256;
  if (view.groups >= 2 * columns || view.groups * view.size <= pieceWeights) {
    inPieces(view.groups, columns, [&](std::size_t begin, std::size_t end) {
      simd::rangesStrided(view.data + begin, end - begin, view.size, view.elementStride, low + begin, high + begin);
    });
    return;
  }
  const std::size_t rows = std::max<std::size_t>(1, pieceWeights / view.groups);
  const std::size_t parts = (view.size + rows - 1) / rows;
  std::vector<float> lows(parts * view.groups), highs(parts * view.groups);
  inPieces(view.size, rows, [&](std::size_t begin, std::size_t end) {
    const std::size_t part = begin / rows * view.groups;
    simd::rangesStrided(view.data + begin * view.elementStride, view.groups, end - begin, view.elementStride, &lows[part],
                        &highs[part]);
  });
  std::copy(lows.begin(), lows.begin() + static_cast<std::ptrdiff_t>(view.groups), low);
  std::copy(highs.begin(), highs.begin() + static_cast<std::ptrdiff_t>(view.groups), high);
  for (std::size_t i = view.groups; i < lows.size(); ++i) {
    low[i % view.groups] = std::min(low[i % view.groups], lows[i]);
    high[i % view.groups] = std::max(high[i % view.groups], highs[i]);
  }
}

// Sixteen groups side by side, one per SIMD lane: element k of group l at tile[k * 16 + l].
void fillTile(const GroupView& view, std::size_t first, std::size_t groups, float* tile) {
  const float* data = view.data + first * view.groupStride;
  if (contiguous(view)) return simd::transposeTile(data, groups, view.size, view.groupStride, tile);
  for (std::size_t k = 0; k < view.size; ++k)
    for (std::size_t l = 0; l < halfQuadraticLanes; ++l)
      tile[k * halfQuadraticLanes + l] = l < groups ? data[l * view.groupStride + k * view.elementStride] : 0.0f;
}

void halfQuadraticOfChunk(const GroupView& view, const HalfQuadraticSettings& settings, const float* inverseScale, float* zero,
                          std::size_t chunk, double* errors, int* restAfter) {
  const auto iterations = static_cast<std::size_t>(settings.iterations);
  std::vector<double> lanes(iterations * halfQuadraticLanes, 0.0);
  std::vector<float> tile(view.size * halfQuadraticLanes);
  const std::size_t end = std::min(view.groups, (chunk + 1) * halfQuadraticChunk);
  for (std::size_t first = chunk * halfQuadraticChunk; first < end; first += halfQuadraticLanes) {
    const std::size_t groups = std::min(halfQuadraticLanes, end - first);
    fillTile(view, first, groups, tile.data());
    const int rest =
        simd::halfQuadraticTile(tile.data(), groups, view.size, settings, inverseScale + first, zero + first, lanes.data());
    std::fill_n(restAfter + first, groups, rest);
  }
  for (std::size_t i = 0; i < iterations; ++i) {
    errors[i] = 0;
    for (std::size_t l = 0; l < halfQuadraticLanes; ++l) errors[i] += lanes[i * halfQuadraticLanes + l];
  }
}

class SimdBackend final : public Backend {
 public:
  std::string_view name() const override { return "simd"; }
  std::string_view description() const override {
    // One text per target and thread count; a set keeps each where it is, since a view of it is handed out.
    static std::mutex mutex;
    static std::set<std::string> texts;
    const int threads = threadCount();
    const std::lock_guard lock(mutex);
    return *texts
                .insert(std::string(simd::targetName()) + ", " + std::to_string(threads) +
                        (threads == 1 ? " thread" : " threads"))
                .first;
  }

  void parallelFor(std::size_t count, std::size_t grain, const RangeBody& body) const override {
    runParallel(count, grain, body);
  }

  void ranges(const GroupView& view, float* low, float* high) const override {
    if (contiguous(view)) {
      if (view.size > pieceWeights) return rangesOfBigGroups(view, low, high);
      inGroupPieces(view.groups, view.size, [&](std::size_t g, std::size_t groups, std::size_t, std::size_t) {
        simd::rangesContiguous(view.data + g * view.groupStride, groups, view.size, view.groupStride, low + g, high + g);
      });
    } else if (sideBySide(view)) {
      rangesSideBySide(view, low, high);
    } else {
      hostBackend().ranges(view, low, high);
    }
  }

  void encodeAffine(const GroupView& view, CodeRule rule, const float* scale, const float* zero, int maxCode,
                    std::uint8_t* codes) const override {
    const auto top = static_cast<float>(maxCode);
    if (contiguous(view)) {
      inGroupPieces(view.groups, view.size, [&](std::size_t g, std::size_t groups, std::size_t k, std::size_t size) {
        const std::size_t at = g * view.groupStride + k;
        simd::encodeAffineContiguous({view.data + at, groups, size, view.groupStride, 1}, rule, scale + g, zero + g, top,
                                     codes + at);
      });
    } else if (sideBySide(view)) {
      inRowPieces(view, [&](std::size_t k, std::size_t g, std::size_t groups) {
        const std::size_t at = k * view.elementStride + g;
        simd::encodeAffineEach(view.data + at, groups, rule, scale + g, zero + g, top, codes + at);
      });
    } else {
      hostBackend().encodeAffine(view, rule, scale, zero, maxCode, codes);
    }
  }

  void encodeThresholds(const GroupView& view, const float* multiplier, std::span<const float> thresholds,
                        std::span<const std::uint8_t> codeOfRank, std::uint8_t* codes) const override {
    if (contiguous(view)) {
      inGroupPieces(view.groups, view.size, [&](std::size_t g, std::size_t groups, std::size_t k, std::size_t size) {
        const std::size_t at = g * view.groupStride + k;
        simd::encodeThresholdsContiguous({view.data + at, groups, size, view.groupStride, 1}, multiplier + g, thresholds,
                                         codeOfRank, codes + at);
      });
    } else if (sideBySide(view)) {
      inRowPieces(view, [&](std::size_t k, std::size_t g, std::size_t groups) {
        const std::size_t at = k * view.elementStride + g;
        simd::encodeThresholdsEach(view.data + at, groups, multiplier + g, thresholds, codeOfRank, codes + at);
      });
    } else {
      hostBackend().encodeThresholds(view, multiplier, thresholds, codeOfRank, codes);
    }
  }

  void halfQuadratic(const GroupView& view, const HalfQuadraticSettings& settings, const float* inverseScale, float* zero,
                     double* chunkErrors, int* restAfter) const override {
    const std::size_t chunks = (view.groups + halfQuadraticChunk - 1) / halfQuadraticChunk;
    const std::size_t grain =
        std::max<std::size_t>(1, pieceWeights / (halfQuadraticChunk * std::max<std::size_t>(1, view.size)));
    inPieces(chunks, grain, [&](std::size_t begin, std::size_t end) {
      for (std::size_t chunk = begin; chunk < end; ++chunk)
        halfQuadraticOfChunk(view, settings, inverseScale, zero, chunk,
                             chunkErrors + chunk * static_cast<std::size_t>(settings.iterations), restAfter);
    });
  }

  void encodeBlocks(BlockType type, const float* weights, std::size_t rows, std::size_t columns, const float* importance,
                    std::uint8_t* out) const override {
    const BlockMatrix matrix{type, weights, columns, importance};
    inPieces(rows * matrix.blocksPerRow(), blockPieceWeights / matrix.shape().weights, [&](std::size_t begin, std::size_t end) {
      if (!simd::encodeBlockRange(matrix, begin, end, out)) encodeBlockRange(matrix, begin, end, out);
    });
  }

  void decodeScaleMinusZero(const std::uint8_t* codes, std::size_t groups, std::size_t size, const float* scale,
                            const float* zero, float* out) const override {
    inGroupPieces(groups, size, [&](std::size_t g, std::size_t count, std::size_t k, std::size_t length) {
      simd::decodeScaleMinusZero(codes + g * size + k, count, length, scale + g, zero + g, out + g * size + k);
    });
  }
  void decodeScalePlusBias(const std::uint8_t* codes, std::size_t groups, std::size_t size, const float* scale,
                           const float* bias, float* out) const override {
    inGroupPieces(groups, size, [&](std::size_t g, std::size_t count, std::size_t k, std::size_t length) {
      simd::decodeScalePlusBias(codes + g * size + k, count, length, scale + g, bias + g, out + g * size + k);
    });
  }
  void decodeTable(const std::uint8_t* codes, std::size_t groups, std::size_t size, const float* scale,
                   std::span<const float> table, float* out) const override {
    inGroupPieces(groups, size, [&](std::size_t g, std::size_t count, std::size_t k, std::size_t length) {
      simd::decodeTable(codes + g * size + k, count, length, scale + g, table, out + g * size + k);
    });
  }

  ErrorSums errorSums(const float* weights, const float* reconstructed, std::size_t count) const override {
    std::vector<ErrorSums> parts((count + pieceWeights - 1) / pieceWeights);
    inPieces(count, pieceWeights, [&](std::size_t begin, std::size_t end) {
      parts[begin / pieceWeights] = simd::errorSums(weights + begin, reconstructed + begin, end - begin);
    });
    ErrorSums sums;
    for (const ErrorSums& part : parts) sums += part;
    return sums;
  }

  ErrorSums encodeAffineMeasured(const GroupView& view, CodeRule rule, AffineValue spelling, const float* scale,
                                 const float* zero, int maxCode, const float* valueScale, std::uint8_t* codes,
                                 const ErrorBins& bins) const override {
    // One sum per piece, in order: the result does not depend on the number of threads.
    const auto top = static_cast<float>(maxCode);
    const std::size_t grain = std::max<std::size_t>(1, pieceWeights / std::max<std::size_t>(1, view.size));
    if (view.groups <= grain)
      return simd::encodeAffineMeasured(view, rule, spelling, scale, zero, top, valueScale, codes, bins);
    std::vector<ErrorSums> parts((view.groups + grain - 1) / grain);
    std::mutex mutex;
    inPieces(view.groups, grain, [&](std::size_t begin, std::size_t end) {
      const std::size_t at = begin * view.groupStride;
      std::vector<std::uint64_t> counts(bins.counts.size());
      parts[begin / grain] =
          simd::encodeAffineMeasured({view.data + at, end - begin, view.size, view.groupStride, 1}, rule, spelling,
                                     scale + begin, zero + begin, top, valueScale + begin, codes + at, {bins.low, bins.high, counts});
      if (counts.empty()) return;
      const std::lock_guard lock(mutex);
      for (std::size_t i = 0; i < counts.size(); ++i) bins.counts[i] += counts[i];
    });
    ErrorSums sums;
    for (const ErrorSums& part : parts) sums += part;
    return sums;
  }

  void histogram(const float* values, std::size_t count, float low, float high,
                 std::span<std::uint64_t> counts) const override {
    countBins(count, counts, [&](std::size_t begin, std::size_t end, std::span<std::uint64_t> part) {
      simd::histogram(values + begin, nullptr, end - begin, low, high, part);
    });
  }
  void errorHistogram(const float* weights, const float* reconstructed, std::size_t count, float low, float high,
                      std::span<std::uint64_t> counts) const override {
    countBins(count, counts, [&](std::size_t begin, std::size_t end, std::span<std::uint64_t> part) {
      simd::histogram(weights + begin, reconstructed + begin, end - begin, low, high, part);
    });
  }
  void occupancy(const std::uint8_t* codes, std::size_t count, std::span<std::uint64_t> counts) const override {
    countBins(count, counts, [&](std::size_t begin, std::size_t end, std::span<std::uint64_t> part) {
      for (std::size_t i = begin; i < end; ++i) ++part[codes[i]];
    });
  }

  std::size_t firstNonFinite(const float* values, std::size_t count) const override {
    std::vector<std::size_t> first((count + pieceWeights - 1) / pieceWeights);
    inPieces(count, pieceWeights, [&](std::size_t begin, std::size_t end) {
      const std::size_t found = simd::firstNonFinite(values + begin, end - begin);
      first[begin / pieceWeights] = found == end - begin ? count : begin + found;
    });
    return first.empty() ? count : *std::min_element(first.begin(), first.end());
  }

  void widenHalf(const std::uint16_t* in, std::size_t count, float* out) const override {
    inPieces(count, pieceWeights,
             [&](std::size_t begin, std::size_t end) { simd::widenHalf(in + begin, end - begin, out + begin); });
  }
  void widenBfloat(const std::uint16_t* in, std::size_t count, float* out) const override {
    inPieces(count, pieceWeights,
             [&](std::size_t begin, std::size_t end) { simd::widenBfloat(in + begin, end - begin, out + begin); });
  }

 private:
  // Small work counts straight into `counts`; big pieces have counts of their own, merged when they end.
  template <class Body>
  static void countBins(std::size_t count, std::span<std::uint64_t> counts, const Body& body) {
    constexpr std::size_t grain = 4 * pieceWeights;
    if (count <= grain) return body(0, count, counts);
    std::mutex mutex;
    inPieces(count, grain, [&](std::size_t begin, std::size_t end) {
      std::vector<std::uint64_t> part(counts.size(), 0);
      body(begin, end, part);
      const std::lock_guard lock(mutex);
      for (std::size_t i = 0; i < part.size(); ++i) counts[i] += part[i];
    });
  }
};

}  // namespace

const Backend& simdBackend() {
  static const SimdBackend backend;
  return backend;
}

}  // namespace nibble::kernels
