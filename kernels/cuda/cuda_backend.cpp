// SPDX-License-Identifier: GPL-3.0-or-later
#include "kernels/cuda/cuda_backend.h"

#include <cstdio>
#include <cstdlib>

namespace nibble::kernels {
namespace {

// Callers ask unusableReason() first; a call that comes anyway is our own mistake.
[[noreturn]] void refuse() {
  std::fprintf(stderr, "cuda backend called, although it is not usable\n");
  std::abort();
}

class CudaBackend final : public Backend {
 public:
  std::string_view name() const override { return "cuda"; }
  std::string_view description() const override { return "NVIDIA GPU"; }
  std::string_view unusableReason() const override { return "its kernels exist, but this version does not call them yet"; }
  void parallelFor(std::size_t, std::size_t, const RangeBody&) const override { refuse(); }
  void ranges(const GroupView&, float*, float*) const override { refuse(); }
  void encodeAffine(const GroupView&, CodeRule, const float*, const float*, int, std::uint8_t*) const override { refuse(); }
  void encodeThresholds(const GroupView&, const float*, std::span<const float>, std::span<const std::uint8_t>,
                        std::uint8_t*) const override {
    refuse();
  }
  void halfQuadratic(const GroupView&, const HalfQuadraticSettings&, const float*, float*, double*, int*) const override {
    refuse();
  }
  void encodeBlocks(BlockType, const float*, std::size_t, std::size_t, const float*, std::uint8_t*) const override { refuse(); }
  void decodeScaleMinusZero(const std::uint8_t*, std::size_t, std::size_t, const float*, const float*, float*) const override {
    refuse();
  }
  void decodeScalePlusBias(const std::uint8_t*, std::size_t, std::size_t, const float*, const float*, float*) const override {
    refuse();
  }
  void decodeTable(const std::uint8_t*, std::size_t, std::size_t, const float*, std::span<const float>, float*) const override {
    refuse();
  }
  ErrorSums errorSums(const float*, const float*, std::size_t) const override { refuse(); }
  ErrorSums encodeAffineMeasured(const GroupView&, CodeRule, AffineValue, const float*, const float*, int, const float*,
                                 std::uint8_t*, const ErrorBins&) const override {
    refuse();
  }
  void histogram(const float*, std::size_t, float, float, std::span<std::uint64_t>) const override { refuse(); }
  void errorHistogram(const float*, const float*, std::size_t, float, float, std::span<std::uint64_t>) const override {
    refuse();
  }
  void occupancy(const std::uint8_t*, std::size_t, std::span<std::uint64_t>) const override { refuse(); }
  std::size_t firstNonFinite(const float*, std::size_t) const override { refuse(); }
  void widenHalf(const std::uint16_t*, std::size_t, float*) const override { refuse(); }
  void widenBfloat(const std::uint16_t*, std::size_t, float*) const override { refuse(); }
};

}  // namespace

const Backend& cudaBackend() {
  static const CudaBackend backend;
  return backend;
}

}  // namespace nibble::kernels
