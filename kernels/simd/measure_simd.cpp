// SPDX-License-Identifier: GPL-3.0-or-later
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/simd/measure_simd.cpp"
#include "hwy/foreach_target.h"  // compiles this file once per instruction set

#include "hwy/cache_control.h"
#include "hwy/highway.h"
#include "kernels/math/affine.h"
#include "kernels/math/statistics.h"
#include "kernels/simd/code_rule-inl.h"
#include "kernels/simd/simd_loops.h"

#include <algorithm>

HWY_BEFORE_NAMESPACE();
namespace nibble::kernels::simd::HWY_NAMESPACE {

// As many float32 lanes as there are double ones: every float32 here also becomes a double.
using Doubles = hn::ScalableTag<double>;
using Floats = hn::Rebind<float, Doubles>;
using Vector = hn::Vec<Floats>;
using Wide = hn::Vec<Doubles>;

// Sums of one lane each, in double; lanes are added when a run ends.
struct Sums {
  Wide error, errorSquared, errorAbsolute, weightSquared, reconstructedSquared, product;
  Vector largest;
};

HWY_INLINE Sums noSums() {
  const Wide none = hn::Zero(Doubles());
  return {none, none, none, none, none, none, hn::Zero(Floats())};
}

// Products of two float32 are exact in double, so a fused addition rounds as a separate one does. The plain sums are fused too,
// with a factor 1: it balances the multiplying and the adding units, which is what bounds this loop.
HWY_INLINE void addTo(Sums& sums, Vector w, Vector r) {
  const Doubles d;
  const Wide one = hn::Set(d, 1.0);
  const Vector e = hn::Sub(w, r);
  sums.largest = hn::Max(sums.largest, hn::Abs(e));
  const Wide wideE = hn::PromoteTo(d, e), wideW = hn::PromoteTo(d, w), wideR = hn::PromoteTo(d, r);
  sums.error = hn::MulAdd(wideE, one, sums.error);
  sums.errorAbsolute = hn::Add(sums.errorAbsolute, hn::Abs(wideE));
  sums.errorSquared = hn::MulAdd(wideE, wideE, sums.errorSquared);
  sums.weightSquared = hn::MulAdd(wideW, wideW, sums.weightSquared);
  sums.reconstructedSquared = hn::MulAdd(wideR, wideR, sums.reconstructedSquared);
  sums.product = hn::MulAdd(wideW, wideR, sums.product);
}

HWY_INLINE void finish(const Sums& lanes, ErrorSums& sums) {
  const Doubles d;
  const auto total = [&](Wide x) { return hn::GetLane(hn::SumOfLanes(d, x)); };
  sums.error += total(lanes.error);
  sums.errorSquared += total(lanes.errorSquared);
  sums.errorAbsolute += total(lanes.errorAbsolute);
  sums.weightSquared += total(lanes.weightSquared);
  sums.reconstructedSquared += total(lanes.reconstructedSquared);
  sums.product += total(lanes.product);
  HWY_ALIGN float largest[hn::MaxLanes(Floats())];
  hn::Store(lanes.largest, Floats(), largest);
  for (std::size_t i = 0; i < hn::Lanes(d); ++i) sums.maxError = std::max(sums.maxError, largest[i]);
}

ErrorSums errorSums(const float* weights, const float* reconstructed, std::size_t count) {
  const Floats d;
  const std::size_t lanes = hn::Lanes(d);
  Sums wide = noSums();
  ErrorSums sums;
  std::size_t k = 0;
  for (; k + lanes <= count; k += lanes) addTo(wide, hn::LoadU(d, weights + k), hn::LoadU(d, reconstructed + k));
  for (; k < count; ++k) include(sums, weights[k], reconstructed[k]);
  sums.count = count;
  finish(wide, sums);
  return sums;
}

template <AffineValue spelling, class V>
HWY_INLINE V valueOf(V code, V scale, V offset) {
  if constexpr (spelling == AffineValue::ScaleMinusZero)
    return hn::Mul(scale, hn::Sub(code, offset));
  else
    return hn::Add(hn::Mul(scale, code), offset);
}

// What comes next in memory is fetched while this is measured.
HWY_INLINE void fetchAhead(const float* weights) {
  constexpr std::uintptr_t ahead = 16 * 1024;
  hwy::Prefetch(reinterpret_cast<const std::byte*>(reinterpret_cast<std::uintptr_t>(weights) + ahead));
}

// Codes of one group, in vectors of full width.
template <CodeRule rule>
HWY_INLINE void encodeGroup(const float* weights, std::size_t size, float scale, float zero, float maxCode,
                            std::uint8_t* codes) {
  const hn::ScalableTag<float> d;
  const std::size_t lanes = hn::Lanes(d);
  const auto s = hn::Set(d, scale), z = hn::Set(d, zero), top = hn::Set(d, maxCode);
  std::size_t k = 0;
  for (; k + lanes <= size; k += lanes) {
    fetchAhead(weights + k);
    rounded(codeOf<rule>(hn::LoadU(d, weights + k), s, z, top)).store(codes + k);
  }
  for (; k < size; ++k) codes[k] = static_cast<std::uint8_t>(clampedCode(rule, weights[k], scale, zero, maxCode));
}

template <AffineValue spelling>
HWY_INLINE void measureGroup(const float* weights, const std::uint8_t* codes, std::size_t size, float scale, float offset,
                             Sums& wide, ErrorSums& sums) {
  const Floats d;
  const hn::RebindToSigned<Floats> integers;
  const hn::Rebind<std::uint8_t, Floats> bytes;
  const std::size_t lanes = hn::Lanes(d);
  const Vector s = hn::Set(d, scale), o = hn::Set(d, offset);
  std::size_t k = 0;
  for (; k + lanes <= size; k += lanes) {
    const Vector code = hn::ConvertTo(d, hn::PromoteTo(integers, hn::LoadU(bytes, codes + k)));
    addTo(wide, hn::LoadU(d, weights + k), valueOf<spelling>(code, s, o));
  }
  for (; k < size; ++k) {
    const auto code = static_cast<float>(codes[k]);
    include(sums, weights[k], spelling == AffineValue::ScaleMinusZero ? scale * (code - offset) : scale * code + offset);
  }
}

template <CodeRule rule, AffineValue spelling>
ErrorSums measured(const GroupView& view, const float* scale, const float* zero, float maxCode, const float* valueScale,
                   std::uint8_t* codes) {
  Sums wide = noSums();
  ErrorSums sums;
  for (std::size_t g = 0; g < view.groups; ++g) {
    const float* weights = view.data + g * view.groupStride;
    std::uint8_t* out = codes + g * view.groupStride;
    encodeGroup<rule>(weights, view.size, scale[g], zero[g], maxCode, out);
    measureGroup<spelling>(weights, out, view.size, valueScale[g], zero[g], wide, sums);
  }
  sums.count = view.groups * view.size;
  finish(wide, sums);
  return sums;
}

template <CodeRule rule>
ErrorSums measuredAs(const GroupView& view, AffineValue spelling, const float* scale, const float* zero, float maxCode,
                     const float* valueScale, std::uint8_t* codes) {
  return spelling == AffineValue::ScaleMinusZero
             ? measured<rule, AffineValue::ScaleMinusZero>(view, scale, zero, maxCode, valueScale, codes)
             : measured<rule, AffineValue::ScalePlusBias>(view, scale, zero, maxCode, valueScale, codes);
}

ErrorSums encodeAffineMeasured(const GroupView& view, CodeRule rule, AffineValue spelling, const float* scale,
                               const float* zero, float maxCode, const float* valueScale, std::uint8_t* codes) {
  switch (rule) {
    case CodeRule::DivideRoundAdd:
      return measuredAs<CodeRule::DivideRoundAdd>(view, spelling, scale, zero, maxCode, valueScale, codes);
    case CodeRule::DivideAddRound:
      return measuredAs<CodeRule::DivideAddRound>(view, spelling, scale, zero, maxCode, valueScale, codes);
    case CodeRule::SubtractDivideRound:
      return measuredAs<CodeRule::SubtractDivideRound>(view, spelling, scale, zero, maxCode, valueScale, codes);
    case CodeRule::MultiplyAddRound:
      return measuredAs<CodeRule::MultiplyAddRound>(view, spelling, scale, zero, maxCode, valueScale, codes);
  }
  return {};
}

}  // namespace nibble::kernels::simd::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace nibble::kernels::simd {

HWY_EXPORT(errorSums);
HWY_EXPORT(encodeAffineMeasured);

ErrorSums errorSums(const float* weights, const float* reconstructed, std::size_t count) {
  return HWY_DYNAMIC_DISPATCH(errorSums)(weights, reconstructed, count);
}
ErrorSums encodeAffineMeasured(const GroupView& view, CodeRule rule, AffineValue spelling, const float* scale,
                               const float* zero, float maxCode, const float* valueScale, std::uint8_t* codes) {
  return HWY_DYNAMIC_DISPATCH(encodeAffineMeasured)(view, rule, spelling, scale, zero, maxCode, valueScale, codes);
}

}  // namespace nibble::kernels::simd
#endif  // HWY_ONCE
