// SPDX-License-Identifier: GPL-3.0-or-later
// Backend over a device: strips through slots, the kernels beside this file, and the CPU's backend for what a device does not
// do or does not finish. Codes, ranges, zeros and counts equal the host's to the bit, sums to 1e-12 of their magnitudes. The
// same source makes the backend of programs and, over the emulator, the one that tests break.
// On the CPU by design: GGUF's block searches, 16-bit floats, calls of few weights (two transfers and a launch cost more).
#pragma once
#include "kernels/backend.h"
#include "kernels/cuda/cpu_served.h"
#include "kernels/cuda/decode.h"
#include "kernels/cuda/device.h"
#include "kernels/cuda/device_products.h"
#include "kernels/cuda/device_work.h"
#include "kernels/cuda/group_cut.h"

#include <algorithm>
#include <memory>

namespace nibble::kernels::NIBBLE_CUDA_SPACE {

struct DeviceSettings {
  SlotSettings staging;
  std::size_t leastWeights = 4096;                          // of a call; fewer are done on the CPU
  std::size_t leastMultiplications = std::size_t{1} << 22;  // of a product
};

class DeviceBackend final : public CpuServed {
 public:
  explicit DeviceBackend(std::unique_ptr<DeviceRuntime> runtime, const DeviceSettings& settings = {})
      : m_settings(settings), m_work(std::move(runtime), settings.staging), m_products(m_work, settings.leastMultiplications) {}

  std::string_view name() const override { return "cuda"; }
  std::string_view description() const override { return m_work.description(); }
  std::string_view unusableReason() const override { return m_work.unusableReason(); }
  std::string notice() const override { return m_work.notice(); }

  void ranges(const GroupView& view, float* low, float* high) const override;
  void encodeAffine(const GroupView& view, CodeRule rule, const float* scale, const float* zero, int maxCode,
                    std::uint8_t* codes) const override;
  void encodeThresholds(const GroupView& view, const float* multiplier, std::span<const float> thresholds,
                        std::span<const std::uint8_t> codeOfRank, std::uint8_t* codes) const override;
  void halfQuadratic(const GroupView& view, const HalfQuadraticSettings& settings, const float* inverseScale, float* zero,
                     double* chunkErrors, int* restAfter) const override;
  void decodeScaleMinusZero(const std::uint8_t* codes, std::size_t groups, std::size_t size, const float* scale,
                            const float* zero, float* out) const override {
    decode({Spelling::ScaleMinusZero, scale, zero, nullptr, 0}, codes, groups, size, out);
  }
  void decodeScalePlusBias(const std::uint8_t* codes, std::size_t groups, std::size_t size, const float* scale,
                           const float* bias, float* out) const override {
    decode({Spelling::ScalePlusBias, scale, bias, nullptr, 0}, codes, groups, size, out);
  }
  void decodeTable(const std::uint8_t* codes, std::size_t groups, std::size_t size, const float* scale,
                   std::span<const float> table, float* out) const override {
    const auto entries = static_cast<unsigned>(std::min<std::size_t>(table.size(), 256));
    decode({Spelling::ScaleTable, scale, nullptr, table.data(), entries}, codes, groups, size, out);
  }

  ErrorSums errorSums(const float* weights, const float* reconstructed, std::size_t count) const override;
  ErrorSums encodeAffineMeasured(const GroupView& view, CodeRule rule, AffineValue spelling, const float* scale,
                                 const float* zero, int maxCode, const float* valueScale, std::uint8_t* codes,
                                 const ErrorBins& bins) const override;
  void histogram(const float* values, std::size_t count, float low, float high,
                 std::span<std::uint64_t> counts) const override {
    countBins(values, nullptr, count, low, high, counts);
  }
  void errorHistogram(const float* weights, const float* reconstructed, std::size_t count, float low, float high,
                      std::span<std::uint64_t> counts) const override {
    countBins(weights, reconstructed, count, low, high, counts);
  }
  void occupancy(const std::uint8_t* codes, std::size_t count, std::span<std::uint64_t> counts) const override;
  std::size_t firstNonFinite(const float* values, std::size_t count) const override;
  const Products* products() const override { return unusableReason().empty() ? &m_products : nullptr; }

 private:
  // How the device takes this work; without pieces the CPU does.
  GroupCut cut(const GroupView& view, const StripNeeds& needs) const;
  void decode(const ValueRuleOf& rule, const std::uint8_t* codes, std::size_t groups, std::size_t size, float* out) const;
  void countBins(const float* values, const float* reconstructed, std::size_t count, float low, float high,
                 std::span<std::uint64_t> counts) const;

  DeviceSettings m_settings;
  mutable DeviceWork m_work;
  DeviceProducts m_products;
};

}  // namespace nibble::kernels::NIBBLE_CUDA_SPACE
