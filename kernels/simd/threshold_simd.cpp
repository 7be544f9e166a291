// SPDX-License-Identifier: GPL-3.0-or-later
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/simd/threshold_simd.cpp"
#include "hwy/foreach_target.h"  // compiles this file once per instruction set

#include "hwy/highway.h"
#include "kernels/math/affine.h"
#include "kernels/simd/simd_loops.h"

#include <algorithm>

HWY_BEFORE_NAMESPACE();
namespace nibble::kernels::simd::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using Floats = hn::ScalableTag<float>;
using Vector = hn::Vec<Floats>;

// Counting all thresholds below x beats a search up to about this many; above it each weight searches alone.
constexpr std::size_t countedThresholds = 32;

// Ranks of `lanes` weights, then the code of each rank.
HWY_INLINE void storeRanks(Vector x, std::span<const float> thresholds, std::span<const std::uint8_t> codeOfRank,
                           std::uint8_t* out) {
  const Floats d;
  const hn::RebindToSigned<Floats> integers;
  auto rank = hn::Zero(integers);
  for (const float threshold : thresholds)  // a true mask is -1
    rank = hn::Sub(rank, hn::BitCast(integers, hn::VecFromMask(d, hn::Lt(hn::Set(d, threshold), x))));
  const hn::Rebind<std::uint8_t, Floats> bytes;
  hn::StoreU(hn::DemoteTo(bytes, rank), bytes, out);
  for (std::size_t k = 0; k < hn::Lanes(d); ++k) out[k] = codeOfRank[out[k]];
}

void encodeThresholdsContiguous(const GroupView& view, const float* multiplier, std::span<const float> thresholds,
                                std::span<const std::uint8_t> codeOfRank, std::uint8_t* codes) {
  const Floats d;
  const std::size_t lanes = hn::Lanes(d);
  for (std::size_t g = 0; g < view.groups; ++g) {
    const float* w = view.data + g * view.groupStride;
    std::uint8_t* out = codes + g * view.groupStride;
    std::size_t k = 0;
    if (thresholds.size() <= countedThresholds)
      for (; k + lanes <= view.size; k += lanes)
        storeRanks(hn::Mul(hn::LoadU(d, w + k), hn::Set(d, multiplier[g])), thresholds, codeOfRank, out + k);
    for (; k < view.size; ++k) out[k] = codeOfRank[rankOf(w[k] * multiplier[g], thresholds)];
  }
}

void encodeThresholdsEach(const float* w, std::size_t count, const float* multiplier, std::span<const float> thresholds,
                          std::span<const std::uint8_t> codeOfRank, std::uint8_t* codes) {
  const Floats d;
  const std::size_t lanes = hn::Lanes(d);
  std::size_t k = 0;
  if (thresholds.size() <= countedThresholds)
    for (; k + lanes <= count; k += lanes)
      storeRanks(hn::Mul(hn::LoadU(d, w + k), hn::LoadU(d, multiplier + k)), thresholds, codeOfRank, codes + k);
  for (; k < count; ++k) codes[k] = codeOfRank[rankOf(w[k] * multiplier[k], thresholds)];
}

}  // namespace nibble::kernels::simd::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace nibble::kernels::simd {

HWY_EXPORT(encodeThresholdsContiguous);
HWY_EXPORT(encodeThresholdsEach);

void encodeThresholdsContiguous(const GroupView& view, const float* multiplier, std::span<const float> thresholds,
                                std::span<const std::uint8_t> codeOfRank, std::uint8_t* codes) {
  HWY_DYNAMIC_DISPATCH(encodeThresholdsContiguous)(view, multiplier, thresholds, codeOfRank, codes);
}
void encodeThresholdsEach(const float* weights, std::size_t count, const float* multiplier, std::span<const float> thresholds,
                          std::span<const std::uint8_t> codeOfRank, std::uint8_t* codes) {
  HWY_DYNAMIC_DISPATCH(encodeThresholdsEach)(weights, count, multiplier, thresholds, codeOfRank, codes);
}

}  // namespace nibble::kernels::simd
#endif  // HWY_ONCE
