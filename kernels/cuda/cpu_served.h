// SPDX-License-Identifier: GPL-3.0-or-later
// A backend whose work the CPU does: what a device overrides is what it does itself, and what cannot be used has all of it.
#pragma once
#include "kernels/simd/simd_backend.h"

#include <string_view>

namespace nibble::kernels {

class CpuServed : public Backend {
 public:
  void parallelFor(std::size_t count, std::size_t grain, const RangeBody& body) const override {
    m_cpu.parallelFor(count, grain, body);
  }
  void ranges(const GroupView& view, float* low, float* high) const override { m_cpu.ranges(view, low, high); }
  void encodeAffine(const GroupView& view, CodeRule rule, const float* scale, const float* zero, int maxCode,
                    std::uint8_t* codes) const override {
    m_cpu.encodeAffine(view, rule, scale, zero, maxCode, codes);
  }
  void encodeThresholds(const GroupView& view, const float* multiplier, std::span<const float> thresholds,
                        std::span<const std::uint8_t> codeOfRank, std::uint8_t* codes) const override {
    m_cpu.encodeThresholds(view, multiplier, thresholds, codeOfRank, codes);
  }
  void halfQuadratic(const GroupView& view, const HalfQuadraticSettings& settings, const float* inverseScale, float* zero,
                     double* chunkErrors, int* restAfter) const override {
    m_cpu.halfQuadratic(view, settings, inverseScale, zero, chunkErrors, restAfter);
  }
  void encodeBlocks(BlockType type, const float* weights, std::size_t rows, std::size_t columns, const float* importance,
                    std::uint8_t* out) const override {
    m_cpu.encodeBlocks(type, weights, rows, columns, importance, out);
  }
  void decodeScaleMinusZero(const std::uint8_t* codes, std::size_t groups, std::size_t size, const float* scale,
                            const float* zero, float* out) const override {
    m_cpu.decodeScaleMinusZero(codes, groups, size, scale, zero, out);
  }
  void decodeScalePlusBias(const std::uint8_t* codes, std::size_t groups, std::size_t size, const float* scale,
                           const float* bias, float* out) const override {
    m_cpu.decodeScalePlusBias(codes, groups, size, scale, bias, out);
  }
  void decodeTable(const std::uint8_t* codes, std::size_t groups, std::size_t size, const float* scale,
                   std::span<const float> table, float* out) const override {
    m_cpu.decodeTable(codes, groups, size, scale, table, out);
  }
  ErrorSums errorSums(const float* weights, const float* reconstructed, std::size_t count) const override {
    return m_cpu.errorSums(weights, reconstructed, count);
  }
  ErrorSums encodeAffineMeasured(const GroupView& view, CodeRule rule, AffineValue spelling, const float* scale,
                                 const float* zero, int maxCode, const float* valueScale, std::uint8_t* codes,
                                 const ErrorBins& bins) const override {
    return m_cpu.encodeAffineMeasured(view, rule, spelling, scale, zero, maxCode, valueScale, codes, bins);
  }
  void histogram(const float* values, std::size_t count, float low, float high,
                 std::span<std::uint64_t> counts) const override {
    m_cpu.histogram(values, count, low, high, counts);
  }
  void errorHistogram(const float* weights, const float* reconstructed, std::size_t count, float low, float high,
                      std::span<std::uint64_t> counts) const override {
    m_cpu.errorHistogram(weights, reconstructed, count, low, high, counts);
  }
  void occupancy(const std::uint8_t* codes, std::size_t count, std::span<std::uint64_t> counts) const override {
    m_cpu.occupancy(codes, count, counts);
  }
  std::size_t firstNonFinite(const float* values, std::size_t count) const override {
    return m_cpu.firstNonFinite(values, count);
  }
  void widenHalf(const std::uint16_t* in, std::size_t count, float* out) const override { m_cpu.widenHalf(in, count, out); }
  void widenBfloat(const std::uint16_t* in, std::size_t count, float* out) const override {
    m_cpu.widenBfloat(in, count, out);
  }

 protected:
  const Backend& m_cpu = simdBackend();
};

// A place in the list of backends that cannot be used, with the reason.
class NoBackend final : public CpuServed {
 public:
  NoBackend(std::string_view name, std::string_view description, std::string_view reason)
      : m_name(name), m_description(description), m_reason(reason) {}
  std::string_view name() const override { return m_name; }
  std::string_view description() const override { return m_description; }
  std::string_view unusableReason() const override { return m_reason; }

 private:
  std::string_view m_name, m_description, m_reason;
};

}  // namespace nibble::kernels
