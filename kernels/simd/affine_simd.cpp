// SPDX-License-Identifier: GPL-3.0-or-later
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/simd/affine_simd.cpp"
#include "hwy/foreach_target.h"  // compiles this file once per instruction set

#include "hwy/highway.h"
#include "kernels/math/affine.h"
#include "kernels/simd/code_rule-inl.h"
#include "kernels/simd/simd_loops.h"

#include <algorithm>

HWY_BEFORE_NAMESPACE();
namespace nibble::kernels::simd::HWY_NAMESPACE {

using Floats = hn::ScalableTag<float>;
using Vector = hn::Vec<Floats>;

void rangesContiguous(const float* data, std::size_t groups, std::size_t size, std::size_t groupStride, float* low,
                      float* high) {
  const Floats d;
  const std::size_t lanes = hn::Lanes(d);
  for (std::size_t g = 0; g < groups; ++g, data += groupStride) {
    Range range;
    if (size < lanes) {
      for (std::size_t k = 0; k < size; ++k) include(range, data[k]);
    } else {
      Vector least = hn::LoadU(d, data), most = least, least2 = least, most2 = least;
      std::size_t k = lanes;
      for (; k + 2 * lanes <= size; k += 2 * lanes) {
        const Vector a = hn::LoadU(d, data + k), b = hn::LoadU(d, data + k + lanes);
        least = hn::Min(least, a);
        most = hn::Max(most, a);
        least2 = hn::Min(least2, b);
        most2 = hn::Max(most2, b);
      }
      // The last steps may overlap what was seen: a minimum does not mind.
      for (; k < size; k += lanes) {
        const Vector a = hn::LoadU(d, data + std::min(k, size - lanes));
        least = hn::Min(least, a);
        most = hn::Max(most, a);
      }
      range = {hn::GetLane(hn::MinOfLanes(d, hn::Min(least, least2))), hn::GetLane(hn::MaxOfLanes(d, hn::Max(most, most2)))};
    }
    range = finished(range);
    low[g] = range.low;
    high[g] = range.high;
  }
}

void rangesStrided(const float* data, std::size_t groups, std::size_t size, std::size_t elementStride, float* low,
                   float* high) {
  const Floats d;
  const std::size_t lanes = hn::Lanes(d);
  const Vector zero = hn::Zero(d);
  std::size_t g = 0;
  for (; g + lanes <= groups; g += lanes) {
    Vector least = hn::LoadU(d, data + g), most = least;
    for (std::size_t k = 1; k < size; ++k) {
      const Vector a = hn::LoadU(d, data + g + k * elementStride);
      least = hn::Min(least, a);
      most = hn::Max(most, a);
    }
    hn::StoreU(hn::Add(least, zero), d, low + g);
    hn::StoreU(hn::Add(most, zero), d, high + g);
  }
  for (; g < groups; ++g) {
    Range range;
    for (std::size_t k = 0; k < size; ++k) include(range, data[g + k * elementStride]);
    range = finished(range);
    low[g] = range.low;
    high[g] = range.high;
  }
}

template <CodeRule rule>
HWY_INLINE void encodeRun(const float* w, std::size_t count, float scale, float zero, float maxCode, std::uint8_t* codes) {
  const Floats d;
  const std::size_t lanes = hn::Lanes(d);
  if (count < lanes) {
    for (std::size_t k = 0; k < count; ++k) codes[k] = static_cast<std::uint8_t>(clampedCode(rule, w[k], scale, zero, maxCode));
    return;
  }
  const Vector s = hn::Set(d, scale), z = hn::Set(d, zero), top = hn::Set(d, maxCode);
  const auto next = [&](const float* at) HWY_ATTR {
    fetchAhead(at);
    return rounded(codeOf<rule>(hn::LoadU(d, at), s, z, top));
  };
  std::size_t k = 0;
  if constexpr (storesFour<Vector>)
    for (; k + 4 * lanes <= count; k += 4 * lanes) {
      const Rounded<Vector> four[] = {next(w + k), next(w + k + lanes), next(w + k + 2 * lanes), next(w + k + 3 * lanes)};
      storeFour(four, codes + k);
    }
  for (; k + lanes <= count; k += lanes) next(w + k).store(codes + k);
  if (k < count) rounded(codeOf<rule>(hn::LoadU(d, w + count - lanes), s, z, top)).store(codes + count - lanes);
}

template <CodeRule rule>
void encodeEachWithRule(const float* w, std::size_t count, const float* scale, const float* zero, float maxCode,
                        std::uint8_t* codes) {
  const Floats d;
  const std::size_t lanes = hn::Lanes(d);
  const Vector top = hn::Set(d, maxCode);
  std::size_t k = 0;
  for (; k + lanes <= count; k += lanes)
    rounded(codeOf<rule>(hn::LoadU(d, w + k), hn::LoadU(d, scale + k), hn::LoadU(d, zero + k), top)).store(codes + k);
  for (; k < count; ++k) codes[k] = static_cast<std::uint8_t>(clampedCode(rule, w[k], scale[k], zero[k], maxCode));
}

// Groups narrower than a vector: their parameters are spread over a buffer, one per weight.
constexpr std::size_t spreadCapacity = 1024;
void spread(const float* parameter, std::size_t groups, std::size_t size, float* out) {
  for (std::size_t g = 0; g < groups; ++g)
    for (std::size_t k = 0; k < size; ++k) *out++ = parameter[g];
}

template <CodeRule rule>
void encodeContiguousWithRule(const GroupView& view, const float* scale, const float* zero, float maxCode,
                              std::uint8_t* codes) {
  if (view.size >= hn::Lanes(Floats()) || view.groupStride != view.size) {
    for (std::size_t g = 0; g < view.groups; ++g)
      encodeRun<rule>(view.data + g * view.groupStride, view.size, scale[g], zero[g], maxCode, codes + g * view.groupStride);
    return;
  }
  float scales[spreadCapacity], zeros[spreadCapacity];
  const std::size_t step = spreadCapacity / view.size;
  for (std::size_t g = 0; g < view.groups; g += step) {
    const std::size_t groups = std::min(step, view.groups - g);
    spread(scale + g, groups, view.size, scales);
    spread(zero + g, groups, view.size, zeros);
    encodeEachWithRule<rule>(view.data + g * view.size, groups * view.size, scales, zeros, maxCode, codes + g * view.size);
  }
}

void encodeAffineContiguous(const GroupView& view, CodeRule rule, const float* scale, const float* zero, float maxCode,
                            std::uint8_t* codes) {
  switch (rule) {
    case CodeRule::DivideRoundAdd:
      return encodeContiguousWithRule<CodeRule::DivideRoundAdd>(view, scale, zero, maxCode, codes);
    case CodeRule::DivideAddRound:
      return encodeContiguousWithRule<CodeRule::DivideAddRound>(view, scale, zero, maxCode, codes);
    case CodeRule::SubtractDivideRound:
      return encodeContiguousWithRule<CodeRule::SubtractDivideRound>(view, scale, zero, maxCode, codes);
    case CodeRule::MultiplyAddRound:
      return encodeContiguousWithRule<CodeRule::MultiplyAddRound>(view, scale, zero, maxCode, codes);
  }
}

void encodeAffineEach(const float* w, std::size_t count, CodeRule rule, const float* scale, const float* zero, float maxCode,
                      std::uint8_t* codes) {
  switch (rule) {
    case CodeRule::DivideRoundAdd:
      return encodeEachWithRule<CodeRule::DivideRoundAdd>(w, count, scale, zero, maxCode, codes);
    case CodeRule::DivideAddRound:
      return encodeEachWithRule<CodeRule::DivideAddRound>(w, count, scale, zero, maxCode, codes);
    case CodeRule::SubtractDivideRound:
      return encodeEachWithRule<CodeRule::SubtractDivideRound>(w, count, scale, zero, maxCode, codes);
    case CodeRule::MultiplyAddRound:
      return encodeEachWithRule<CodeRule::MultiplyAddRound>(w, count, scale, zero, maxCode, codes);
  }
}

}  // namespace nibble::kernels::simd::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace nibble::kernels::simd {

HWY_EXPORT(rangesContiguous);
HWY_EXPORT(rangesStrided);
HWY_EXPORT(encodeAffineContiguous);
HWY_EXPORT(encodeAffineEach);

void rangesContiguous(const float* data, std::size_t groups, std::size_t size, std::size_t groupStride, float* low,
                      float* high) {
  HWY_DYNAMIC_DISPATCH(rangesContiguous)(data, groups, size, groupStride, low, high);
}
void rangesStrided(const float* data, std::size_t groups, std::size_t size, std::size_t elementStride, float* low,
                   float* high) {
  HWY_DYNAMIC_DISPATCH(rangesStrided)(data, groups, size, elementStride, low, high);
}
void encodeAffineContiguous(const GroupView& view, CodeRule rule, const float* scale, const float* zero, float maxCode,
                            std::uint8_t* codes) {
  HWY_DYNAMIC_DISPATCH(encodeAffineContiguous)(view, rule, scale, zero, maxCode, codes);
}
void encodeAffineEach(const float* weights, std::size_t count, CodeRule rule, const float* scale, const float* zero,
                      float maxCode, std::uint8_t* codes) {
  HWY_DYNAMIC_DISPATCH(encodeAffineEach)(weights, count, rule, scale, zero, maxCode, codes);
}

}  // namespace nibble::kernels::simd
#endif  // HWY_ONCE
