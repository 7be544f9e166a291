// SPDX-License-Identifier: GPL-3.0-or-later
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/simd/measure_simd.cpp"
#include "hwy/foreach_target.h"  // compiles this file once per instruction set

#include "hwy/highway.h"
#include "kernels/math/affine.h"
#include "kernels/math/statistics.h"
#include "kernels/simd/code_rule-inl.h"
#include "kernels/simd/simd_loops.h"

#include <algorithm>

HWY_BEFORE_NAMESPACE();
namespace nibble::kernels::simd::HWY_NAMESPACE {

using Floats = hn::ScalableTag<float>;
using Vector = hn::Vec<Floats>;

#if HWY_TARGET == HWY_SCALAR

struct Sums {
  ErrorSums sums;
  HWY_INLINE void add(Vector w, Vector r, const float*) { include(sums, hn::GetLane(w), hn::GetLane(r)); }
  HWY_INLINE void finish(ErrorSums& total) const { total += sums; }
};

#else

using Halves = hn::Half<Floats>;
using Doubles = hn::RepartitionToWide<Floats>;
using Wide = hn::Vec<Doubles>;

// Sums of one lane each, in double; lanes are added when a run ends. The two halves of a vector of weights have sums of their
// own: eight chains of additions hide the latency of one. Products of two float32 are exact in double, so a fused addition of
// them rounds as a separate one does.
struct Sums {
  struct Half {
    Wide error, errorSquared, weightSquared, weightError;
    // Written out: what a compiler writes by itself lacks the instruction set of this file's pragma.
    HWY_INLINE Half()
        : error(hn::Zero(Doubles())), errorSquared(error), weightSquared(error), weightError(error) {}
    HWY_INLINE void add(hn::Vec<Halves> w, hn::Vec<Halves> r) {
      const Wide wide = hn::PromoteTo(Doubles(), w), e = hn::Sub(wide, hn::PromoteTo(Doubles(), r));
      error = hn::Add(error, e);
      errorSquared = hn::MulAdd(e, e, errorSquared);
      weightSquared = hn::MulAdd(wide, wide, weightSquared);
      weightError = hn::MulAdd(wide, e, weightError);
    }
  };
  Half lower, upper;
  Vector largest;

  HWY_INLINE Sums() : lower(), upper(), largest(hn::Zero(Floats())) {}
  // `at` is where w comes from. Vectors of 256 bits are not taken apart: their halves are loaded again, which costs less.
  HWY_INLINE void add(Vector w, Vector r, const float* at) {
    const Halves half;
    largest = hn::Max(largest, hn::Abs(hn::Sub(w, r)));
    constexpr bool again = hn::MaxLanes(Floats()) == 8;
    lower.add(again ? hn::LoadU(half, at) : hn::LowerHalf(half, w), hn::LowerHalf(half, r));
    upper.add(again ? hn::LoadU(half, at + hn::Lanes(half)) : hn::UpperHalf(half, w), hn::UpperHalf(half, r));
  }
  HWY_INLINE void finish(ErrorSums& total) const {
    const auto sum = [](Wide a, Wide b) { return hn::GetLane(hn::SumOfLanes(Doubles(), hn::Add(a, b))); };
    total.error += sum(lower.error, upper.error);
    total.errorSquared += sum(lower.errorSquared, upper.errorSquared);
    total.weightSquared += sum(lower.weightSquared, upper.weightSquared);
    total.weightError += sum(lower.weightError, upper.weightError);
    total.maxError = std::max(total.maxError, hn::GetLane(hn::MaxOfLanes(Floats(), largest)));
  }
};

#endif

ErrorSums errorSums(const float* weights, const float* reconstructed, std::size_t count) {
  const Floats d;
  const std::size_t lanes = hn::Lanes(d);
  Sums wide;
  ErrorSums sums;
  std::size_t k = 0;
  for (; k + lanes <= count; k += lanes) wide.add(hn::LoadU(d, weights + k), hn::LoadU(d, reconstructed + k), weights + k);
  for (; k < count; ++k) include(sums, weights[k], reconstructed[k]);
  wide.finish(sums);
  sums.count = count;
  return sums;
}

template <AffineValue spelling, class V>
HWY_INLINE V valueOf(V code, V scale, V offset) {
  if constexpr (spelling == AffineValue::ScaleMinusZero)
    return hn::Mul(scale, hn::Sub(code, offset));
  else
    return hn::Add(hn::Mul(scale, code), offset);
}
template <AffineValue spelling>
float valueOf(float code, float scale, float offset) {
  if constexpr (spelling == AffineValue::ScaleMinusZero)
    return scale * (code - offset);
  else
    return scale * code + offset;
}

// Bins of errors, found a vector at a time and counted one by one when a batch is full.
class Counter {
 public:
  explicit Counter(const ErrorBins& bins) : m_bin(bins.low, bins.high, std::max<std::size_t>(1, bins.counts.size())), m_counts(bins.counts) {}
  HWY_INLINE void add(Vector error) {
    const Floats d;
    const Vector place = hn::Mul(hn::Sub(error, hn::Set(d, m_bin.low)), hn::Set(d, m_bin.factor));
    hn::StoreU(hn::ConvertTo(hn::RebindToSigned<Floats>(), hn::Min(hn::Max(place, hn::Zero(d)), hn::Set(d, m_bin.last))),
               hn::RebindToSigned<Floats>(), m_batch + m_size);
    m_size += hn::Lanes(d);
    if (m_size == batch) empty();
  }
  void add(float error) { ++m_counts[m_bin(error)]; }
  void empty() {
    std::uint64_t* counts = m_counts.data();
    for (std::size_t k = 0; k < m_size; ++k) ++counts[static_cast<std::uint32_t>(m_batch[k])];
    m_size = 0;
  }

 private:
  static constexpr std::size_t batch = 256;  // a multiple of every vector's lanes
  Binning m_bin;
  std::span<std::uint64_t> m_counts;
  std::size_t m_size = 0;
  HWY_ALIGN std::int32_t m_batch[batch];
};

// Parameters of one group.
struct Affine {
  float scale, zero, valueScale, maxCode;
};

// Codes, values, errors and sums of one group, all in registers.
template <CodeRule rule, AffineValue spelling, bool counting>
HWY_INLINE void measureGroup(const float* weights, std::size_t size, const Affine& group, std::uint8_t* codes, Sums& wide,
                             ErrorSums& sums, Counter& counter) {
  const Floats d;
  const std::size_t lanes = hn::Lanes(d);
  const Vector scale = hn::Set(d, group.scale), zero = hn::Set(d, group.zero), value = hn::Set(d, group.valueScale),
               top = hn::Set(d, group.maxCode);
  const auto next = [&](const float* at) HWY_ATTR {
    fetchAhead(at);
    const Vector w = hn::LoadU(d, at);
    const auto code = rounded(codeOf<rule>(w, scale, zero, top));
    const Vector r = valueOf<spelling>(code.value(), value, zero);
    wide.add(w, r, at);
    if constexpr (counting) counter.add(hn::Sub(w, r));
    return code;
  };
  std::size_t k = 0;
  if constexpr (storesFour<Vector> && !counting)
    for (; k + 4 * lanes <= size; k += 4 * lanes) {
      const float* at = weights + k;
      const Rounded<Vector> four[] = {next(at), next(at + lanes), next(at + 2 * lanes), next(at + 3 * lanes)};
      storeFour(four, codes + k);
    }
  for (; k + lanes <= size; k += lanes) next(weights + k).store(codes + k);
  for (; k < size; ++k) {
    const float code = clampedCode(rule, weights[k], group.scale, group.zero, group.maxCode);
    codes[k] = static_cast<std::uint8_t>(code);
    const float r = valueOf<spelling>(code, group.valueScale, group.zero);
    include(sums, weights[k], r);
    if constexpr (counting) counter.add(weights[k] - r);
  }
}

template <CodeRule rule, AffineValue spelling, bool counting>
ErrorSums measured(const GroupView& view, const float* scale, const float* zero, float maxCode, const float* valueScale,
                   std::uint8_t* codes, const ErrorBins& bins) {
  Sums wide;
  ErrorSums sums;
  Counter counter(bins);
  for (std::size_t g = 0; g < view.groups; ++g) {
    const std::size_t at = g * view.groupStride;
    measureGroup<rule, spelling, counting>(view.data + at, view.size, {scale[g], zero[g], valueScale[g], maxCode}, codes + at, wide,
                                           sums, counter);
  }
  counter.empty();
  wide.finish(sums);
  sums.count = view.groups * view.size;
  return sums;
}

using Measured = ErrorSums (*)(const GroupView&, const float*, const float*, float, const float*, std::uint8_t*, const ErrorBins&);

template <CodeRule rule>
Measured measuredBy(AffineValue spelling, bool counting) {
  if (spelling == AffineValue::ScaleMinusZero)
    return counting ? measured<rule, AffineValue::ScaleMinusZero, true> : measured<rule, AffineValue::ScaleMinusZero, false>;
  return counting ? measured<rule, AffineValue::ScalePlusBias, true> : measured<rule, AffineValue::ScalePlusBias, false>;
}

Measured measuredBy(CodeRule rule, AffineValue spelling, bool counting) {
  switch (rule) {
    case CodeRule::DivideRoundAdd: return measuredBy<CodeRule::DivideRoundAdd>(spelling, counting);
    case CodeRule::DivideAddRound: return measuredBy<CodeRule::DivideAddRound>(spelling, counting);
    case CodeRule::SubtractDivideRound: return measuredBy<CodeRule::SubtractDivideRound>(spelling, counting);
    case CodeRule::MultiplyAddRound: return measuredBy<CodeRule::MultiplyAddRound>(spelling, counting);
  }
  return nullptr;
}

ErrorSums encodeAffineMeasured(const GroupView& view, CodeRule rule, AffineValue spelling, const float* scale,
                               const float* zero, float maxCode, const float* valueScale, std::uint8_t* codes,
                               const ErrorBins& bins) {
  return measuredBy(rule, spelling, !bins.counts.empty())(view, scale, zero, maxCode, valueScale, codes, bins);
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
                               const float* zero, float maxCode, const float* valueScale, std::uint8_t* codes,
                               const ErrorBins& bins) {
  return HWY_DYNAMIC_DISPATCH(encodeAffineMeasured)(view, rule, spelling, scale, zero, maxCode, valueScale, codes, bins);
}

}  // namespace nibble::kernels::simd
#endif  // HWY_ONCE
