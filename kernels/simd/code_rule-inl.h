// SPDX-License-Identifier: GPL-3.0-or-later
// The code of each lane (kernels/math/affine.h), for vectors of any width. Included once per instruction set.
#if defined(NIBBLE_CODE_RULE_INL) == defined(HWY_TARGET_TOGGLE)
#ifdef NIBBLE_CODE_RULE_INL
#undef NIBBLE_CODE_RULE_INL
#else
#define NIBBLE_CODE_RULE_INL
#endif

#include "hwy/cache_control.h"
#include "hwy/highway.h"
#include "kernels/backend.h"
#include "kernels/simd/tiles-inl.h"

HWY_BEFORE_NAMESPACE();
namespace nibble::kernels::simd::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

// What comes next in memory is fetched while this is computed with.
HWY_INLINE void fetchAhead(const float* weights) {
  constexpr std::uintptr_t ahead = 16 * 1024;
  hwy::Prefetch(reinterpret_cast<const std::byte*>(reinterpret_cast<std::uintptr_t>(weights) + ahead));
}

// Clamped but not yet rounded where rounding is the rule's last step: bounds are whole numbers and rounding is monotone, so
// clamping first gives the same code, and `rounded` rounds.
template <CodeRule rule, class V>
HWY_INLINE V codeOf(V w, V scale, V zero, V maxCode) {
  V x;
  if constexpr (rule == CodeRule::DivideRoundAdd) x = hn::Add(hn::Round(hn::Div(w, scale)), zero);
  if constexpr (rule == CodeRule::DivideAddRound) x = hn::Add(hn::Div(w, scale), zero);
  if constexpr (rule == CodeRule::SubtractDivideRound) x = hn::Div(hn::Sub(w, zero), scale);
  if constexpr (rule == CodeRule::MultiplyAddRound) x = hn::Add(hn::Mul(w, scale), zero);
  return hn::Min(hn::Max(x, hn::Zero(hn::DFromV<V>())), maxCode);
}

// Above 2^23 floats are whole: adding it rounds 0 <= code < 2^22 half to even and leaves the integer in the low bits.
inline constexpr float wholeFloats = 0x1p23f;

template <class V>
struct Rounded {
  V shifted;  // code + 2^23
  HWY_INLINE explicit Rounded(V code) : shifted(hn::Add(code, hn::Set(hn::DFromV<V>(), wholeFloats))) {}
  HWY_INLINE V value() const { return hn::Sub(shifted, hn::Set(hn::DFromV<V>(), wholeFloats)); }
  HWY_INLINE void store(std::uint8_t* out) const {
    const hn::DFromV<V> d;
    const hn::RebindToSigned<decltype(d)> integers;
    const hn::Rebind<std::uint8_t, decltype(d)> bytes;
    const auto bits = hn::BitCast(integers, shifted);
#if HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_AVX3_DL
    // One instruction truncates to bytes; Highway's saturating DemoteTo takes five.
    if constexpr (hn::MaxLanes(hn::DFromV<V>()) == 16)
      return _mm_storeu_si128(reinterpret_cast<__m128i*>(out), _mm512_cvtepi32_epi8(bits.raw));
    else if constexpr (hn::MaxLanes(hn::DFromV<V>()) == 8)
      return _mm_storel_epi64(reinterpret_cast<__m128i*>(out), _mm256_cvtepi32_epi8(bits.raw));
#endif
    hn::StoreU(hn::DemoteTo(bytes, hn::And(bits, hn::Set(integers, 0xFF))), bytes, out);
  }
};

// The codes of four vectors, one after the other: three instructions that pack instead of twelve, where vectors have 256 bits.
template <class V>
inline constexpr bool storesFour = hn::MaxLanes(hn::DFromV<V>()) == 8;
template <class V>
HWY_INLINE void storeFour(const Rounded<V>* codes, std::uint8_t* out) {
  const hn::DFromV<V> d;
  const hn::RebindToSigned<decltype(d)> integers;
  const auto low = hn::Set(integers, 0xFF);
  const auto bits = [&](const Rounded<V>& code) HWY_ATTR { return hn::And(hn::BitCast(integers, code.shifted), low); };
  storeBytes(d, bits(codes[0]), bits(codes[1]), bits(codes[2]), bits(codes[3]), out);
}

template <class V>
HWY_INLINE Rounded<V> rounded(V code) {
  return Rounded<V>(code);
}

}  // namespace nibble::kernels::simd::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
