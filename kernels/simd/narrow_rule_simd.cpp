// SPDX-License-Identifier: GPL-3.0-or-later
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/simd/narrow_rule_simd.cpp"
#include "hwy/foreach_target.h"  // compiles this file once per instruction set

#include "hwy/highway.h"
#include "kernels/narrow_rule.h"

HWY_BEFORE_NAMESPACE();
namespace nibble::kernels::simd::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using Doubles = hn::ScalableTag<double>;
using HalfFloats = hn::Rebind<float, Doubles>;  // as many floats as a vector of doubles has lanes
using Floats = hn::ScalableTag<float>;

// A normal half is a float32 whose last 13 bits are 0; below the smallest normal one the sum with 1/2 ends at 2^-24, so that
// the adder rounds.
struct ToHalf {
  template <class D>
  HWY_INLINE hn::Vec<D> operator()(D d, hn::Vec<D> value) const {
#if HWY_ARCH_X86 && HWY_TARGET <= HWY_AVX2 && !defined(HWY_DISABLE_F16C)
    const hn::Rebind<hwy::float16_t, D> halves;  // the processor's own conversion; its NaN are these too
    return hn::PromoteTo(d, hn::DemoteTo(halves, value));
#else
    const hn::RebindToSigned<D> di;  // magnitudes are never negative: signed comparisons, which every target has, will do
    const auto bits = hn::BitCast(di, value), magnitude = hn::And(bits, hn::Set(di, 0x7FFFFFFF)),
               sign = hn::Xor(bits, magnitude);
    const auto kept = hn::Set(di, ~0x1FFF), infinity = hn::Set(di, 0x7F800000);
    const auto odd = hn::And(hn::ShiftRight<13>(magnitude), hn::Set(di, 1));
    const auto normal = hn::And(hn::Add(hn::Add(magnitude, hn::Set(di, 0xFFF)), odd), kept);
    const auto half = hn::Set(d, 0.5f);
    const auto small = hn::BitCast(di, hn::Sub(hn::Add(hn::BitCast(d, magnitude), half), half));
    auto rounded = hn::IfThenElse(hn::Lt(magnitude, hn::Set(di, 0x38800000)), small, normal);
    rounded = hn::IfThenElse(hn::Gt(magnitude, hn::Set(di, 0x477FEFFF)), infinity, rounded);
    const auto quiet = hn::Or(hn::And(magnitude, kept), hn::Set(di, 0x00400000));
    rounded = hn::IfThenElse(hn::Gt(magnitude, infinity), quiet, rounded);
    return hn::BitCast(d, hn::Or(sign, rounded));
#endif
  }
};
struct ToBfloat {
  template <class D>
  HWY_INLINE hn::Vec<D> operator()(D d, hn::Vec<D> value) const {
    const hn::RebindToSigned<D> di;
    const auto bits = hn::BitCast(di, value), magnitude = hn::And(bits, hn::Set(di, 0x7FFFFFFF)),
               sign = hn::Xor(bits, magnitude);
    const auto kept = hn::Set(di, ~0xFFFF);
    const auto odd = hn::And(hn::ShiftRight<16>(magnitude), hn::Set(di, 1));
    const auto rounded = hn::And(hn::Add(hn::Add(magnitude, hn::Set(di, 0x7FFF)), odd), kept);
    const auto quiet = hn::Or(hn::And(magnitude, kept), hn::Set(di, 0x00400000));
    return hn::BitCast(d, hn::Or(sign, hn::IfThenElse(hn::Gt(magnitude, hn::Set(di, 0x7F800000)), quiet, rounded)));
  }
};
struct ToFloat {
  template <class D>
  HWY_INLINE hn::Vec<D> operator()(D, hn::Vec<D> value) const {
    return value;
  }
};

// nearest + rest, where nearest is their sum rounded to float32, rounded to odd instead: the last bit keeps what was cut off, so
// that a second rounding sees no tie that is none. Infinite or no number: as it is.
template <class D>
HWY_INLINE hn::Vec<D> roundedToOdd(D d, hn::Vec<D> nearest, hn::Vec<D> rest) {
  const hn::RebindToSigned<D> di;
  const auto bits = hn::BitCast(di, nearest), one = hn::Set(di, 1);
  const auto isCut = hn::RebindMask(di, hn::Ne(rest, hn::Zero(d)));
  const auto cut = hn::IfThenElseZero(isCut, one);
  const auto beyond = hn::IfThenElseZero(hn::And(isCut, hn::Lt(hn::Xor(hn::BitCast(di, rest), bits), hn::Zero(di))), one);
  const auto odd = hn::Or(hn::Sub(bits, beyond), cut);
  return hn::BitCast(d, hn::IfThenElse(hn::RebindMask(di, hn::Eq(rest, rest)), odd, bits));
}

// The rest of a double as a float32 vanishes only where the double is far below any half.
HWY_INLINE hn::Vec<HalfFloats> oddFloat(hn::Vec<Doubles> exact) {
  const Doubles dd;
  const HalfFloats d;
  const auto nearest = hn::DemoteTo(d, exact);
  return roundedToOdd(d, nearest, hn::DemoteTo(d, hn::Sub(exact, hn::PromoteTo(dd, nearest))));
}

// Knuth's two-sum: what the rounded sum misses is itself a float32.
HWY_INLINE hn::Vec<Floats> oddSum(hn::Vec<Floats> a, hn::Vec<Floats> b) {
  const auto sum = hn::Add(a, b), ofB = hn::Sub(sum, a), ofA = hn::Sub(sum, ofB);
  return roundedToOdd(Floats(), sum, hn::Add(hn::Sub(a, ofA), hn::Sub(b, ofB)));
}

template <class Step, class Result>
void applyRounded(NarrowRule rule, std::size_t count, const float* levels, const float* scale, const float* zero, float* out) {
  const Floats d;
  const Step toStep;
  const Result toResult;
  const auto step = [&](auto value) HWY_ATTR { return toStep(d, value); };
  const auto each = [&](auto value) HWY_ATTR {
    for (std::size_t i = 0; i < count; i += hn::Lanes(d))
      hn::StoreU(toResult(d, value(hn::LoadU(d, levels + i), i)), d, out + i);
  };
  switch (rule) {
    case NarrowRule::Level:
      each([](auto level, std::size_t) HWY_ATTR { return level; });
      break;
    case NarrowRule::Scale:
      each([&](auto level, std::size_t i) HWY_ATTR { return step(hn::Mul(hn::LoadU(d, scale + i), level)); });
      break;
    case NarrowRule::ScaleMinusZero:
      each([&](auto level, std::size_t i)
               HWY_ATTR { return step(hn::Mul(step(hn::Sub(level, hn::LoadU(d, zero + i))), hn::LoadU(d, scale + i))); });
      break;
    case NarrowRule::ScalePlusBias:
      each([&](auto level, std::size_t i)
               HWY_ATTR { return step(hn::Add(step(hn::Mul(hn::LoadU(d, scale + i), level)), hn::LoadU(d, zero + i))); });
      break;
    case NarrowRule::FusedScalePlusBias: {
      const Doubles dd;
      const HalfFloats dh;
      const auto wide = [&](const float* from) HWY_ATTR { return hn::PromoteTo(dd, hn::LoadU(dh, from)); };
      for (std::size_t i = 0; i < count; i += hn::Lanes(dh)) {
        const auto exact = hn::Add(hn::Mul(wide(scale + i), wide(levels + i)), wide(zero + i));
        hn::StoreU(toStep(dh, oddFloat(exact)), dh, out + i);
      }
      break;
    }
    case NarrowRule::FusedHalves:
      each([&](auto level, std::size_t i)
               HWY_ATTR { return step(oddSum(hn::Mul(hn::LoadU(d, scale + i), level), hn::LoadU(d, zero + i))); });
      break;
  }
}

void applyHalf(NarrowRule rule, std::size_t count, const float* levels, const float* scale, const float* zero, float* out) {
  applyRounded<ToHalf, ToFloat>(rule, count, levels, scale, zero, out);  // what is rounded stays as it is
}
void applyBfloat(NarrowRule rule, std::size_t count, const float* levels, const float* scale, const float* zero, float* out) {
  applyRounded<ToBfloat, ToFloat>(rule, count, levels, scale, zero, out);
}
void applyThenHalf(NarrowRule rule, std::size_t count, const float* levels, const float* scale, const float* zero, float* out) {
  applyRounded<ToFloat, ToHalf>(rule, count, levels, scale, zero, out);
}
void applyThenBfloat(NarrowRule rule, std::size_t count, const float* levels, const float* scale, const float* zero, float* out) {
  applyRounded<ToFloat, ToBfloat>(rule, count, levels, scale, zero, out);
}

}  // namespace nibble::kernels::simd::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace nibble::kernels {
namespace simd {

HWY_EXPORT(applyHalf);
HWY_EXPORT(applyBfloat);
HWY_EXPORT(applyThenHalf);
HWY_EXPORT(applyThenBfloat);

}  // namespace simd

bool hasNarrowRule(NarrowRule rule, FloatType step, FloatType result) {
  const auto isNarrow = [](FloatType type) { return type == FloatType::F16 || type == FloatType::BF16; };
  const bool isFused = rule == NarrowRule::FusedScalePlusBias || rule == NarrowRule::FusedHalves;
  if (step == FloatType::F32) return isNarrow(result) && !isFused;
  return isNarrow(step) && step == result && rule != NarrowRule::Level;  // a level alone takes no step
}

void applyNarrowRule(NarrowRule rule, FloatType step, FloatType result, std::size_t count, const float* levels,
                     const float* scale, const float* zero, float* out) {
  using namespace simd;
  if (step == FloatType::F16)
    HWY_DYNAMIC_DISPATCH(applyHalf)(rule, count, levels, scale, zero, out);
  else if (step == FloatType::BF16)
    HWY_DYNAMIC_DISPATCH(applyBfloat)(rule, count, levels, scale, zero, out);
  else if (result == FloatType::F16)
    HWY_DYNAMIC_DISPATCH(applyThenHalf)(rule, count, levels, scale, zero, out);
  else
    HWY_DYNAMIC_DISPATCH(applyThenBfloat)(rule, count, levels, scale, zero, out);
}

}  // namespace nibble::kernels
#endif  // HWY_ONCE
