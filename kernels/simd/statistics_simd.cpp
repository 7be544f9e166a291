// SPDX-License-Identifier: GPL-3.0-or-later
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/simd/statistics_simd.cpp"
#include "hwy/foreach_target.h"  // compiles this file once per instruction set

#include "hwy/highway.h"
#include "kernels/math/minifloat.h"
#include "kernels/math/statistics.h"
#include "kernels/simd/simd_loops.h"

#include <algorithm>

HWY_BEFORE_NAMESPACE();
namespace nibble::kernels::simd::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using Floats = hn::ScalableTag<float>;
using Vector = hn::Vec<Floats>;

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

HWY_EXPORT(histogram);
HWY_EXPORT(firstNonFinite);
HWY_EXPORT(widenHalf);
HWY_EXPORT(widenBfloat);
HWY_EXPORT(readAll);
HWY_EXPORT(target);

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
  // Once, and of all: afterwards the library knows only the one in use.
  static const std::vector<std::int64_t> all = [] {
    hwy::SetSupportedTargetsForTest(0);
    return hwy::SupportedAndGeneratedTargets();
  }();
  return all;
}
void useTarget(std::int64_t target) {
  hwy::SetSupportedTargetsForTest(target);
  hwy::GetChosenTarget().Update(hwy::SupportedTargets());
}

}  // namespace nibble::kernels::simd
#endif  // HWY_ONCE
