// SPDX-License-Identifier: GPL-3.0-or-later
#include "kernels/host/host_backend.h"

#include "kernels/math/affine.h"
#include "kernels/math/blocks.h"
#include "kernels/math/half_quadratic.h"
#include "kernels/math/minifloat.h"
#include "kernels/math/statistics.h"

#include <algorithm>
#include <vector>

namespace nibble::kernels {
namespace {

std::size_t place(const GroupView& view, std::size_t group, std::size_t element) {
  return group * view.groupStride + element * view.elementStride;
}

// One iteration on one group: returns the sum of |d| in weight units and replaces the zero.
double iterate(const GroupView& view, std::size_t group, float maxCode, const Shrink& shrink, float inverseScale, float* zero) {
  const HalfQuadraticGroup parameters(inverseScale, *zero, shrink);
  double error = 0, sum = 0;
  for (std::size_t begin = 0; begin < view.size; begin += halfQuadraticBlock) {
    float blockError = 0, blockSum = 0;
    for (std::size_t k = begin; k < std::min(view.size, begin + halfQuadraticBlock); ++k) {
      const HalfQuadraticTerm term = halfQuadraticTerm(view.data[place(view, group, k)], parameters, maxCode, shrink);
      blockError += term.error;
      blockSum += term.term;
    }
    error += static_cast<double>(blockError);
    sum += static_cast<double>(blockSum);
  }
  *zero = static_cast<float>(sum / static_cast<double>(view.size));
  return error * static_cast<double>(parameters.scale);
}

class HostBackend final : public Backend {
 public:
  std::string_view name() const override { return "host"; }
  std::string_view description() const override { return "reference loops, one thread"; }

  void parallelFor(std::size_t count, std::size_t grain, const RangeBody& body) const override {
    for (std::size_t begin = 0; begin < count; begin += grain) body.call(body.object, begin, std::min(count, begin + grain));
  }

  void ranges(const GroupView& view, float* low, float* high) const override {
    for (std::size_t g = 0; g < view.groups; ++g) {
      Range range;
      for (std::size_t k = 0; k < view.size; ++k) include(range, view.data[place(view, g, k)]);
      range = finished(range);
      low[g] = range.low;
      high[g] = range.high;
    }
  }

  void encodeAffine(const GroupView& view, CodeRule rule, const float* scale, const float* zero, int maxCode,
                    std::uint8_t* codes) const override {
    for (std::size_t g = 0; g < view.groups; ++g)
      for (std::size_t k = 0; k < view.size; ++k) {
        const std::size_t i = place(view, g, k);
        codes[i] = static_cast<std::uint8_t>(clampedCode(rule, view.data[i], scale[g], zero[g], static_cast<float>(maxCode)));
      }
  }

  void encodeThresholds(const GroupView& view, const float* multiplier, std::span<const float> thresholds,
                        std::span<const std::uint8_t> codeOfRank, std::uint8_t* codes) const override {
    for (std::size_t g = 0; g < view.groups; ++g)
      for (std::size_t k = 0; k < view.size; ++k) {
        const std::size_t i = place(view, g, k);
        codes[i] = codeOfRank[rankOf(view.data[i] * multiplier[g], thresholds)];
      }
  }

  void halfQuadratic(const GroupView& view, const HalfQuadraticSettings& settings, const float* inverseScale, float* zero,
                     double* chunkErrors, int* restAfter) const override {
    const Shrink shrink(settings);
    const auto iterations = static_cast<std::size_t>(settings.iterations);
    std::vector<double> lanes(iterations * halfQuadraticLanes);
    for (std::size_t chunk = 0; chunk < view.groups; chunk += halfQuadraticChunk) {
      std::fill(lanes.begin(), lanes.end(), 0.0);
      for (std::size_t g = chunk; g < std::min(view.groups, chunk + halfQuadraticChunk); ++g) {
        restAfter[g] = settings.iterations + 1;
        for (std::size_t i = 0; i < iterations; ++i) {
          const float before = zero[g];
          lanes[i * halfQuadraticLanes + g % halfQuadraticLanes] +=
              iterate(view, g, settings.maxCode, shrink, inverseScale[g], zero + g);
          if (zero[g] == before) restAfter[g] = std::min(restAfter[g], static_cast<int>(i));
        }
      }
      for (std::size_t i = 0; i < iterations; ++i, ++chunkErrors) {
        *chunkErrors = 0;
        for (std::size_t l = 0; l < halfQuadraticLanes; ++l) *chunkErrors += lanes[i * halfQuadraticLanes + l];
      }
    }
  }

  void encodeBlocks(BlockType type, const float* weights, std::size_t rows, std::size_t columns, const float* importance,
                    std::uint8_t* out) const override {
    const BlockMatrix matrix{type, weights, columns, importance};
    encodeBlockRange(matrix, 0, rows * matrix.blocksPerRow(), out);
  }

  void decodeScaleMinusZero(const std::uint8_t* codes, std::size_t groups, std::size_t size, const float* scale,
                            const float* zero, float* out) const override {
    for (std::size_t i = 0; i < groups * size; ++i) out[i] = scale[i / size] * (static_cast<float>(codes[i]) - zero[i / size]);
  }

  void decodeScalePlusBias(const std::uint8_t* codes, std::size_t groups, std::size_t size, const float* scale,
                           const float* bias, float* out) const override {
    for (std::size_t i = 0; i < groups * size; ++i) out[i] = scale[i / size] * static_cast<float>(codes[i]) + bias[i / size];
  }

  void decodeTable(const std::uint8_t* codes, std::size_t groups, std::size_t size, const float* scale,
                   std::span<const float> table, float* out) const override {
    for (std::size_t i = 0; i < groups * size; ++i) out[i] = scale[i / size] * table[codes[i]];
  }

  ErrorSums errorSums(const float* weights, const float* reconstructed, std::size_t count) const override {
    // Blocks keep the rounding of long sums far below the 1e-12 that backends may differ by.
    constexpr std::size_t block = 4096;
    ErrorSums sums;
    for (std::size_t begin = 0; begin < count; begin += block) {
      ErrorSums part;
      for (std::size_t i = begin; i < std::min(count, begin + block); ++i) include(part, weights[i], reconstructed[i]);
      sums += part;
    }
    return sums;
  }

  ErrorSums encodeAffineMeasured(const GroupView& view, CodeRule rule, AffineValue spelling, const float* scale,
                                 const float* zero, int maxCode, const float* valueScale, std::uint8_t* codes,
                                 const ErrorBins& bins) const override {
    encodeAffine(view, rule, scale, zero, maxCode, codes);
    std::vector<float> values(view.size);
    ErrorSums sums;
    for (std::size_t g = 0; g < view.groups; ++g) {
      const std::uint8_t* groupCodes = codes + g * view.groupStride;
      if (spelling == AffineValue::ScaleMinusZero)
        decodeScaleMinusZero(groupCodes, 1, view.size, valueScale + g, zero + g, values.data());
      else
        decodeScalePlusBias(groupCodes, 1, view.size, valueScale + g, zero + g, values.data());
      const float* weights = view.data + g * view.groupStride;
      sums += errorSums(weights, values.data(), view.size);
      if (!bins.counts.empty()) errorHistogram(weights, values.data(), view.size, bins.low, bins.high, bins.counts);
    }
    return sums;
  }

  void histogram(const float* values, std::size_t count, float low, float high,
                 std::span<std::uint64_t> counts) const override {
    const Binning bin(low, high, counts.size());
    for (std::size_t i = 0; i < count; ++i) ++counts[bin(values[i])];
  }

  void errorHistogram(const float* weights, const float* reconstructed, std::size_t count, float low, float high,
                      std::span<std::uint64_t> counts) const override {
    const Binning bin(low, high, counts.size());
    for (std::size_t i = 0; i < count; ++i) ++counts[bin(weights[i] - reconstructed[i])];
  }

  void occupancy(const std::uint8_t* codes, std::size_t count, std::span<std::uint64_t> counts) const override {
    for (std::size_t i = 0; i < count; ++i) ++counts[codes[i]];
  }

  std::size_t firstNonFinite(const float* values, std::size_t count) const override {
    for (std::size_t i = 0; i < count; ++i)
      if (!isFinite(values[i])) return i;
    return count;
  }

  void widenHalf(const std::uint16_t* in, std::size_t count, float* out) const override {
    for (std::size_t i = 0; i < count; ++i) out[i] = halfToFloat(in[i]);
  }
  void widenBfloat(const std::uint16_t* in, std::size_t count, float* out) const override {
    for (std::size_t i = 0; i < count; ++i) out[i] = bfloatToFloat(in[i]);
  }
};

}  // namespace

const Backend& hostBackend() {
  static const HostBackend backend;
  return backend;
}

}  // namespace nibble::kernels
