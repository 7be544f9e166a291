// SPDX-License-Identifier: GPL-3.0-or-later
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/simd/statistics_simd.cpp"
#include "hwy/foreach_target.h"  // compiles this file once per instruction set

#include "hwy/cache_control.h"
#include "hwy/highway.h"
#include "kernels/math/minifloat.h"
#include "kernels/math/statistics.h"
#include "kernels/simd/simd_loops.h"

#include <algorithm>

HWY_BEFORE_NAMESPACE();
namespace nibble::kernels::simd::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using Doubles = hn::ScalableTag<double>;
using HalfFloats = hn::Rebind<float, Doubles>;
using Floats = hn::ScalableTag<float>;
using Vector = hn::Vec<Floats>;

// Sums of one lane each, in double; lanes are added when a run ends.
struct Sums {
  hn::Vec<Doubles> error, errorSquared, errorAbsolute, weightSquared, reconstructedSquared, product;
  hn::Vec<HalfFloats> largest;
};

HWY_INLINE Sums noSums() {
  const auto none = hn::Zero(Doubles());
  return {none, none, none, none, none, none, hn::Zero(HalfFloats())};
}

HWY_INLINE void addTo(Sums& sums, hn::Vec<HalfFloats> w, hn::Vec<HalfFloats> r) {
  const Doubles d;
  const auto e = hn::Sub(w, r);
  sums.largest = hn::Max(sums.largest, hn::Abs(e));
  const auto wideE = hn::PromoteTo(d, e), wideW = hn::PromoteTo(d, w), wideR = hn::PromoteTo(d, r);
  sums.error = hn::Add(sums.error, wideE);
  sums.errorAbsolute = hn::Add(sums.errorAbsolute, hn::Abs(wideE));
  // Products of two float32 are exact in double, so a fused addition rounds the same.
  sums.errorSquared = hn::MulAdd(wideE, wideE, sums.errorSquared);
  sums.weightSquared = hn::MulAdd(wideW, wideW, sums.weightSquared);
  sums.reconstructedSquared = hn::MulAdd(wideR, wideR, sums.reconstructedSquared);
  sums.product = hn::MulAdd(wideW, wideR, sums.product);
}

HWY_INLINE void finish(const Sums& a, const Sums& b, ErrorSums& sums) {
  const Doubles d;
  const auto total = [&](hn::Vec<Doubles> x, hn::Vec<Doubles> y) { return hn::GetLane(hn::SumOfLanes(d, hn::Add(x, y))); };
  sums.error += total(a.error, b.error);
  sums.errorSquared += total(a.errorSquared, b.errorSquared);
  sums.errorAbsolute += total(a.errorAbsolute, b.errorAbsolute);
  sums.weightSquared += total(a.weightSquared, b.weightSquared);
  sums.reconstructedSquared += total(a.reconstructedSquared, b.reconstructedSquared);
  sums.product += total(a.product, b.product);
  HWY_ALIGN float largest[hn::MaxLanes(HalfFloats())];
  hn::Store(hn::Max(a.largest, b.largest), HalfFloats(), largest);
  for (std::size_t i = 0; i < hn::Lanes(d); ++i) sums.maxError = std::max(sums.maxError, largest[i]);
}

ErrorSums errorSums(const float* weights, const float* reconstructed, std::size_t count) {
  const HalfFloats half;
  const std::size_t lanes = hn::Lanes(half);
  Sums a = noSums(), b = noSums();
  std::size_t k = 0;
  for (; k + 2 * lanes <= count; k += 2 * lanes) {
    addTo(a, hn::LoadU(half, weights + k), hn::LoadU(half, reconstructed + k));
    addTo(b, hn::LoadU(half, weights + k + lanes), hn::LoadU(half, reconstructed + k + lanes));
  }
  ErrorSums sums;
  for (std::size_t i = k; i < count; ++i) include(sums, weights[i], reconstructed[i]);
  sums.count = count;
  finish(a, b, sums);
  return sums;
}

// The reconstruction of codes in registers: float32, each operation rounded.
template <AffineValue spelling>
HWY_INLINE hn::Vec<HalfFloats> decoded(const std::uint8_t* codes, hn::Vec<HalfFloats> scale, hn::Vec<HalfFloats> offset) {
  const HalfFloats half;
  const hn::Rebind<std::uint8_t, HalfFloats> bytes;
  const hn::RebindToSigned<HalfFloats> integers;
  const auto code = hn::ConvertTo(half, hn::PromoteTo(integers, hn::LoadU(bytes, codes)));
  if constexpr (spelling == AffineValue::ScaleMinusZero)
    return hn::Mul(scale, hn::Sub(code, offset));
  else
    return hn::Add(hn::Mul(scale, code), offset);
}

template <AffineValue spelling>
ErrorSums errorSumsOfRule(const float* weights, const std::uint8_t* codes, std::size_t groups, std::size_t size,
                          const float* scale, const float* offset) {
  const HalfFloats half;
  const std::size_t lanes = hn::Lanes(half);
  constexpr std::size_t ahead = 4096;  // weights: what is measured now was fetched a while ago, what comes next is fetched now
  Sums a = noSums(), b = noSums();
  ErrorSums sums;
  for (std::size_t g = 0; g < groups; ++g, weights += size, codes += size) {
    const auto s = hn::Set(half, scale[g]), o = hn::Set(half, offset[g]);
    std::size_t k = 0;
    for (; k + 2 * lanes <= size; k += 2 * lanes) {
      hwy::Prefetch(reinterpret_cast<const std::byte*>(reinterpret_cast<std::uintptr_t>(weights + k) + ahead * sizeof(float)));
      addTo(a, hn::LoadU(half, weights + k), decoded<spelling>(codes + k, s, o));
      addTo(b, hn::LoadU(half, weights + k + lanes), decoded<spelling>(codes + k + lanes, s, o));
    }
    for (; k < size; ++k) {
      const auto code = static_cast<float>(codes[k]);
      include(sums, weights[k],
              spelling == AffineValue::ScaleMinusZero ? scale[g] * (code - offset[g]) : scale[g] * code + offset[g]);
    }
  }
  sums.count = groups * size;
  finish(a, b, sums);
  return sums;
}

ErrorSums errorSumsOfCodes(const float* weights, const std::uint8_t* codes, std::size_t groups, std::size_t size,
                           AffineValue spelling, const float* scale, const float* offset) {
  return spelling == AffineValue::ScaleMinusZero
             ? errorSumsOfRule<AffineValue::ScaleMinusZero>(weights, codes, groups, size, scale, offset)
             : errorSumsOfRule<AffineValue::ScalePlusBias>(weights, codes, groups, size, scale, offset);
}

void histogram(const float* values, const float* reconstructed, std::size_t count, float low, float high,
               std::span<std::uint64_t> counts) {
  const Floats d;
  const hn::RebindToSigned<Floats> integers;
  const Binning bin(low, high, counts.size());
  const Vector start = hn::Set(d, bin.low), factor = hn::Set(d, bin.factor), last = hn::Set(d, bin.last);
  constexpr std::size_t batch = 512;
  HWY_ALIGN std::int32_t bins[batch];
  std::size_t begin = 0;
  for (; begin + batch <= count; begin += batch) {
    for (std::size_t k = 0; k < batch; k += hn::Lanes(d)) {
      Vector value = hn::LoadU(d, values + begin + k);
      if (reconstructed != nullptr) value = hn::Sub(value, hn::LoadU(d, reconstructed + begin + k));
      const Vector place = hn::Mul(hn::Sub(value, start), factor);
      hn::Store(hn::ConvertTo(integers, hn::Min(hn::Max(place, hn::Zero(d)), last)), integers, bins + k);
    }
    for (std::size_t k = 0; k < batch; ++k) ++counts[static_cast<std::size_t>(bins[k])];
  }
  for (; begin < count; ++begin) ++counts[bin(reconstructed != nullptr ? values[begin] - reconstructed[begin] : values[begin])];
}

std::size_t firstNonFinite(const float* values, std::size_t count) {
  const hn::ScalableTag<std::int32_t> d;
  const Floats floats;
  const auto exponent = hn::Set(d, 0x7F800000);
  const std::size_t lanes = hn::Lanes(d);
  std::size_t k = 0;
  for (; k + 4 * lanes <= count; k += 4 * lanes) {
    auto largest = hn::Zero(d);
    for (std::size_t j = 0; j < 4; ++j)
      largest = hn::Max(largest, hn::And(hn::BitCast(d, hn::LoadU(floats, values + k + j * lanes)), exponent));
    if (!hn::AllFalse(d, hn::Eq(largest, exponent))) break;
  }
  for (; k < count; ++k)
    if (!isFinite(values[k])) return k;
  return count;
}

// As halfToFloat, lane by lane.
void widenHalf(const std::uint16_t* in, std::size_t count, float* out) {
  const hn::ScalableTag<std::uint32_t> d;
  const hn::RebindToSigned<decltype(d)> integers;
  const Floats floats;
  const hn::Rebind<std::uint16_t, Floats> halves;
  const std::size_t lanes = hn::Lanes(d);
  const auto infinite = hn::Set(d, 0x0F800000u), normal = hn::Set(d, 0x00800000u), bias = hn::Set(d, 112u << 23);
  std::size_t k = 0;
  for (; k + lanes <= count; k += lanes) {
    const auto bits = hn::PromoteTo(d, hn::LoadU(halves, in + k));
    const auto sign = hn::ShiftLeft<16>(hn::And(bits, hn::Set(d, 0x8000u)));
    const auto magnitude = hn::And(bits, hn::Set(d, 0x7FFFu));
    const auto shifted = hn::ShiftLeft<13>(magnitude);
    const auto subnormal =
        hn::BitCast(d, hn::Mul(hn::ConvertTo(floats, hn::BitCast(integers, magnitude)), hn::Set(floats, 0x1p-24f)));
    const auto signedShifted = hn::BitCast(integers, shifted);
    const auto isInfinite = hn::RebindMask(d, hn::Gt(signedShifted, hn::BitCast(integers, hn::Sub(infinite, hn::Set(d, 1u)))));
    const auto isSubnormal = hn::RebindMask(d, hn::Lt(signedShifted, hn::BitCast(integers, normal)));
    auto value = hn::IfThenElse(isInfinite, hn::Or(shifted, hn::Set(d, 0x7F800000u)), hn::Add(shifted, bias));
    value = hn::IfThenElse(isSubnormal, subnormal, value);
    hn::StoreU(hn::BitCast(floats, hn::Or(value, sign)), floats, out + k);
  }
  for (; k < count; ++k) out[k] = halfToFloat(in[k]);
}

void widenBfloat(const std::uint16_t* in, std::size_t count, float* out) {
  const hn::ScalableTag<std::uint32_t> d;
  const Floats floats;
  const hn::Rebind<std::uint16_t, Floats> halves;
  const std::size_t lanes = hn::Lanes(d);
  std::size_t k = 0;
  for (; k + lanes <= count; k += lanes)
    hn::StoreU(hn::BitCast(floats, hn::ShiftLeft<16>(hn::PromoteTo(d, hn::LoadU(halves, in + k)))), floats, out + k);
  for (; k < count; ++k) out[k] = bfloatToFloat(in[k]);
}

std::uint64_t readAll(const float* values, std::size_t count) {
  const hn::ScalableTag<std::int32_t> d;
  const Floats floats;
  const std::size_t lanes = hn::Lanes(d);
  auto a = hn::Zero(d), b = a, c = a, e = a;
  std::size_t k = 0;
  for (; k + 4 * lanes <= count; k += 4 * lanes) {
    a = hn::Xor(a, hn::BitCast(d, hn::LoadU(floats, values + k)));
    b = hn::Xor(b, hn::BitCast(d, hn::LoadU(floats, values + k + lanes)));
    c = hn::Xor(c, hn::BitCast(d, hn::LoadU(floats, values + k + 2 * lanes)));
    e = hn::Xor(e, hn::BitCast(d, hn::LoadU(floats, values + k + 3 * lanes)));
  }
  HWY_ALIGN std::int32_t words[hn::MaxLanes(Floats())];
  hn::Store(hn::Xor(hn::Xor(a, b), hn::Xor(c, e)), d, words);
  std::uint32_t result = 0;
  for (std::size_t i = 0; i < lanes; ++i) result ^= static_cast<std::uint32_t>(words[i]);
  for (; k < count; ++k) result ^= std::bit_cast<std::uint32_t>(values[k]);
  return result;
}

std::int64_t target() {
  return HWY_TARGET;
}

}  // namespace nibble::kernels::simd::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace nibble::kernels::simd {

HWY_EXPORT(errorSums);
HWY_EXPORT(errorSumsOfCodes);
HWY_EXPORT(histogram);
HWY_EXPORT(firstNonFinite);
HWY_EXPORT(widenHalf);
HWY_EXPORT(widenBfloat);
HWY_EXPORT(readAll);
HWY_EXPORT(target);

ErrorSums errorSums(const float* weights, const float* reconstructed, std::size_t count) {
  return HWY_DYNAMIC_DISPATCH(errorSums)(weights, reconstructed, count);
}
ErrorSums errorSumsOfCodes(const float* weights, const std::uint8_t* codes, std::size_t groups, std::size_t size,
                           AffineValue spelling, const float* scale, const float* offset) {
  return HWY_DYNAMIC_DISPATCH(errorSumsOfCodes)(weights, codes, groups, size, spelling, scale, offset);
}
void histogram(const float* values, const float* reconstructed, std::size_t count, float low, float high,
               std::span<std::uint64_t> counts) {
  HWY_DYNAMIC_DISPATCH(histogram)(values, reconstructed, count, low, high, counts);
}
std::size_t firstNonFinite(const float* values, std::size_t count) {
  return HWY_DYNAMIC_DISPATCH(firstNonFinite)(values, count);
}
void widenHalf(const std::uint16_t* in, std::size_t count, float* out) {
  HWY_DYNAMIC_DISPATCH(widenHalf)(in, count, out);
}
void widenBfloat(const std::uint16_t* in, std::size_t count, float* out) {
  HWY_DYNAMIC_DISPATCH(widenBfloat)(in, count, out);
}

std::uint64_t readAll(const float* values, std::size_t count) {
  return HWY_DYNAMIC_DISPATCH(readAll)(values, count);
}

std::string_view targetName() {
  return hwy::TargetName(HWY_DYNAMIC_DISPATCH(target)());
}
std::string_view targetName(std::int64_t target) {
  return hwy::TargetName(target);
}
std::vector<std::int64_t> targets() {
  return hwy::SupportedAndGeneratedTargets();
}
void useTarget(std::int64_t target) {
  hwy::SetSupportedTargetsForTest(target);
  hwy::GetChosenTarget().Update(hwy::SupportedTargets());
}

}  // namespace nibble::kernels::simd
#endif  // HWY_ONCE
