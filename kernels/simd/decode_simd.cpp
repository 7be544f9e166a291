// SPDX-License-Identifier: GPL-3.0-or-later
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/simd/decode_simd.cpp"
#include "hwy/foreach_target.h"  // compiles this file once per instruction set

#include "hwy/highway.h"
#include "kernels/simd/simd_loops.h"

#include <algorithm>

HWY_BEFORE_NAMESPACE();
namespace nibble::kernels::simd::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using Floats = hn::ScalableTag<float>;
using Vector = hn::Vec<Floats>;

HWY_INLINE Vector loadCodes(const std::uint8_t* codes) {
  const Floats d;
  const hn::Rebind<std::uint8_t, Floats> bytes;
  const hn::RebindToSigned<Floats> integers;
  return hn::ConvertTo(d, hn::PromoteTo(integers, hn::LoadU(bytes, codes)));
}

struct MinusZero {
  HWY_INLINE Vector operator()(Vector code, Vector scale, Vector zero) const { return hn::Mul(scale, hn::Sub(code, zero)); }
  float operator()(float code, float scale, float zero) const { return scale * (code - zero); }
};
struct PlusBias {
  HWY_INLINE Vector operator()(Vector code, Vector scale, Vector bias) const { return hn::Add(hn::Mul(scale, code), bias); }
  float operator()(float code, float scale, float bias) const { return scale * code + bias; }
};

template <class Rule>
void decodeWithRule(const std::uint8_t* codes, std::size_t groups, std::size_t size, const float* scale, const float* offset,
                    float* out) {
  const Floats d;
  const Rule rule;
  const std::size_t lanes = hn::Lanes(d);
  for (std::size_t g = 0; g < groups; ++g, codes += size, out += size) {
    const Vector s = hn::Set(d, scale[g]), o = hn::Set(d, offset[g]);
    std::size_t k = 0;
    for (; k + lanes <= size; k += lanes) hn::StoreU(rule(loadCodes(codes + k), s, o), d, out + k);
    for (; k < size; ++k) out[k] = rule(static_cast<float>(codes[k]), scale[g], offset[g]);
  }
}

void decodeScaleMinusZero(const std::uint8_t* codes, std::size_t groups, std::size_t size, const float* scale,
                          const float* zero, float* out) {
  decodeWithRule<MinusZero>(codes, groups, size, scale, zero, out);
}
void decodeScalePlusBias(const std::uint8_t* codes, std::size_t groups, std::size_t size, const float* scale, const float* bias,
                         float* out) {
  decodeWithRule<PlusBias>(codes, groups, size, scale, bias, out);
}

// Tables of at most 16 numbers fit a register where vectors have 16 lanes.
template <class D>
HWY_INLINE std::size_t decodeFromRegister(D d, const std::uint8_t* codes, std::size_t size, float scale, const float* table,
                                          float* out) {
  std::size_t k = 0;
  if constexpr (hn::MaxLanes(D()) == 16) {
    const hn::Rebind<std::uint8_t, D> bytes;
    const hn::RebindToSigned<D> integers;
    const auto levels = hn::LoadU(d, table);
    const auto s = hn::Set(d, scale);
    for (; k + 16 <= size; k += 16) {
      const auto index = hn::IndicesFromVec(d, hn::PromoteTo(integers, hn::LoadU(bytes, codes + k)));
      hn::StoreU(hn::Mul(s, hn::TableLookupLanes(levels, index)), d, out + k);
    }
  }
  return k;
}

void decodeTable(const std::uint8_t* codes, std::size_t groups, std::size_t size, const float* scale,
                 std::span<const float> table, float* out) {
  float small[16] = {};
  if (table.size() <= 16) std::copy(table.begin(), table.end(), small);
  for (std::size_t g = 0; g < groups; ++g, codes += size, out += size) {
    std::size_t k = table.size() <= 16 ? decodeFromRegister(Floats(), codes, size, scale[g], small, out) : 0;
    for (; k < size; ++k) out[k] = scale[g] * table[codes[k]];
  }
}

}  // namespace nibble::kernels::simd::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace nibble::kernels::simd {

HWY_EXPORT(decodeScaleMinusZero);
HWY_EXPORT(decodeScalePlusBias);
HWY_EXPORT(decodeTable);

void decodeScaleMinusZero(const std::uint8_t* codes, std::size_t groups, std::size_t size, const float* scale,
                          const float* zero, float* out) {
  HWY_DYNAMIC_DISPATCH(decodeScaleMinusZero)(codes, groups, size, scale, zero, out);
}
void decodeScalePlusBias(const std::uint8_t* codes, std::size_t groups, std::size_t size, const float* scale, const float* bias,
                         float* out) {
  HWY_DYNAMIC_DISPATCH(decodeScalePlusBias)(codes, groups, size, scale, bias, out);
}
void decodeTable(const std::uint8_t* codes, std::size_t groups, std::size_t size, const float* scale,
                 std::span<const float> table, float* out) {
  HWY_DYNAMIC_DISPATCH(decodeTable)(codes, groups, size, scale, table, out);
}

}  // namespace nibble::kernels::simd
#endif  // HWY_ONCE
