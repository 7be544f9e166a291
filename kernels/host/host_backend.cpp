// SPDX-License-Identifier: GPL-3.0-or-later
#include "kernels/host/host_backend.h"

#include "kernels/math/affine.h"
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

// The error of one iteration over all groups, in the order half_quadratic.h fixes; replaces all zeros.
double iterateAll(const GroupView& view, float maxCode, const Shrink& shrink, const float* inverseScale, float* zero) {
  double total = 0;
  for (std::size_t chunk = 0; chunk < view.groups; chunk += halfQuadraticChunk) {
    double lanes[halfQuadraticLanes] = {};
    for (std::size_t g = chunk; g < std::min(view.groups, chunk + halfQuadraticChunk); ++g)
      lanes[g % halfQuadraticLanes] += iterate(view, g, maxCode, shrink, inverseScale[g], zero + g);
    double chunkSum = 0;
    for (const double lane : lanes) chunkSum += lane;
    total += chunkSum;
  }
  return total;
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

  int halfQuadraticZeros(const GroupView& view, const HalfQuadraticSettings& settings, const float* inverseScale, float* zero,
                         double* iterationErrors) const override {
    const Shrink shrink(settings);
    std::vector<double> errors;
    while (static_cast<int>(errors.size()) < settings.iterations) {
      errors.push_back(iterateAll(view, settings.maxCode, shrink, inverseScale, zero) /
                       (static_cast<double>(view.groups) * static_cast<double>(view.size)));
      const auto seen = static_cast<int>(errors.size());
      if (iterationErrors != nullptr) iterationErrors[seen - 1] = errors.back();
      if (seen > 1 && !(static_cast<float>(errors[errors.size() - 1]) < static_cast<float>(errors[errors.size() - 2]))) break;
    }
    return static_cast<int>(errors.size());
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
