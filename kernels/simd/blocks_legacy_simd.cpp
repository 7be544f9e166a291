// SPDX-License-Identifier: GPL-3.0-or-later
// q4_0 .. q8_0 without importance weights: a batch of blocks of 32 weights goes through ranges, scales, codes and packing, each
// pass over the batch while it lies in the first-level cache. Minimum and maximum do not depend on the order, so vectors of
// eight blocks are reduced together, which leaves one block per lane. What depends on more than them goes to the scalar code:
// the first of two extremes of equal magnitude, the sign of a zero minimum, scales whose reciprocal is infinite.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/simd/blocks_legacy_simd.cpp"
#include "hwy/foreach_target.h"  // compiles this file once per instruction set

#include "hwy/cache_control.h"
#include "hwy/highway.h"
#include "kernels/math/blocks.h"
#include "kernels/simd/simd_loops.h"

#include <algorithm>
#include <cstring>

HWY_BEFORE_NAMESPACE();
namespace nibble::kernels::simd::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using LegacyFloats = hn::CappedTag<float, 8>;
using LegacyVector = hn::Vec<LegacyFloats>;
constexpr std::size_t batchBlocks = 64, blockWeights = 32;

struct Batch {
  const float* x;
  std::size_t count;
  HWY_ALIGN float low[batchBlocks] = {};
  HWY_ALIGN float high[batchBlocks] = {};
  HWY_ALIGN float inverse[batchBlocks];
  HWY_ALIGN float odd[batchBlocks];  // not 0: by the scalar code
  bool anyOdd;
};

// The vector of the least and of the greatest of a block's lanes.
HWY_INLINE void rangeOf(const float* x, LegacyVector& low, LegacyVector& high) {
  const LegacyFloats d;
  low = high = hn::LoadU(d, x);
  for (std::size_t k = hn::Lanes(d); k < blockWeights; k += hn::Lanes(d)) {
    const LegacyVector value = hn::LoadU(d, x + k);
    low = hn::Min(low, value);
    high = hn::Max(high, value);
  }
}

#if HWY_TARGET == HWY_SCALAR

void findRanges(Batch& batch) {
  for (std::size_t b = 0; b < batch.count; ++b) {
    LegacyVector low, high;
    rangeOf(batch.x + b * blockWeights, low, high);
    batch.low[b] = hn::GetLane(low);
    batch.high[b] = hn::GetLane(high);
  }
}

#else

// Four vectors into one: lane i of every 128 bits is what `of` makes of four lanes of vector i.
template <class Of>
HWY_INLINE LegacyVector reduceFour(const LegacyVector* v, const Of& of) {
  const LegacyFloats d;
  const hn::RepartitionToWide<LegacyFloats> wide;
  const LegacyVector ab = of(hn::InterleaveLower(d, v[0], v[1]), hn::InterleaveUpper(d, v[0], v[1]));
  const LegacyVector ce = of(hn::InterleaveLower(d, v[2], v[3]), hn::InterleaveUpper(d, v[2], v[3]));
  return of(hn::BitCast(d, hn::InterleaveLower(wide, hn::BitCast(wide, ab), hn::BitCast(wide, ce))),
            hn::BitCast(d, hn::InterleaveUpper(wide, hn::BitCast(wide, ab), hn::BitCast(wide, ce))));
}

// Four blocks at x, whose ranges get a lane each in every 128 bits.
HWY_INLINE void rangesOfFour(const float* x, LegacyVector& low, LegacyVector& high) {
  LegacyVector lows[4], highs[4];
  for (std::size_t b = 0; b < 4; ++b) rangeOf(x + b * blockWeights, lows[b], highs[b]);
  low = reduceFour(lows, [](LegacyVector a, LegacyVector b) HWY_ATTR { return hn::Min(a, b); });
  high = reduceFour(highs, [](LegacyVector a, LegacyVector b) HWY_ATTR { return hn::Max(a, b); });
}

void findRanges(Batch& batch) {
  const LegacyFloats d;
  constexpr std::size_t lanes = hn::MaxLanes(d);
  static_assert(lanes == 4 || lanes == 8);
  std::size_t b = 0;
  for (; b + lanes <= batch.count; b += lanes) {
    LegacyVector low, high;
    rangesOfFour(batch.x + b * blockWeights, low, high);
    if constexpr (lanes == 8) {
      LegacyVector nextLow, nextHigh;
      rangesOfFour(batch.x + (b + 4) * blockWeights, nextLow, nextHigh);
      low = hn::Min(hn::ConcatLowerLower(d, nextLow, low), hn::ConcatUpperUpper(d, nextLow, low));
      high = hn::Max(hn::ConcatLowerLower(d, nextHigh, high), hn::ConcatUpperUpper(d, nextHigh, high));
    }
    hn::Store(low, d, batch.low + b);
    hn::Store(high, d, batch.high + b);
  }
  for (; b < batch.count; ++b) {
    LegacyVector low, high;
    rangeOf(batch.x + b * blockWeights, low, high);
    batch.low[b] = hn::GetLane(hn::MinOfLanes(d, low));
    batch.high[b] = hn::GetLane(hn::MaxOfLanes(d, high));
  }
}

#endif

// floatToHalf of every lane, for what is no NaN, in the low 16 bits.
HWY_INLINE hn::Vec<hn::RebindToSigned<LegacyFloats>> halfBits(LegacyVector value) {
  const LegacyFloats d;
  const hn::RebindToSigned<LegacyFloats> integers;
  const auto bits = hn::BitCast(integers, value), one = hn::Set(integers, 1);
  const auto magnitude = hn::And(bits, hn::Set(integers, 0x7FFFFFFF));
  const auto sign = hn::And(hn::ShiftRight<16>(bits), hn::Set(integers, 0x8000));
  const auto shifted = hn::Sub(hn::BitCast(integers, hn::Add(hn::BitCast(d, magnitude), hn::Set(d, 0.5f))), hn::Set(integers, 0x3F000000));
  const auto even = hn::And(hn::ShiftRight<13>(magnitude), one);
  const auto rounded = hn::ShiftRight<13>(hn::Add(hn::Add(magnitude, even), hn::Set(integers, 0xFFF - 0x38000000)));
  const auto finite = hn::IfThenElse(hn::Lt(magnitude, hn::Set(integers, 0x38800000)), shifted, rounded);
  return hn::Or(sign, hn::IfThenElse(hn::Lt(magnitude, hn::Set(integers, 0x477FF000)), finite, hn::Set(integers, 0x7C00)));
}

void putHalf(std::int32_t half, std::uint8_t* out) {
  out[0] = static_cast<std::uint8_t>(half & 0xFF);
  out[1] = static_cast<std::uint8_t>(half >> 8);
}

// What d is `divisor` times of. -8, -16: the extreme, 15, 31: the extent, 127: the largest magnitude.
HWY_INLINE LegacyVector extentOf(float divisor, const Batch& batch, std::size_t b) {
  const LegacyFloats d;
  const LegacyVector low = hn::Load(d, batch.low + b), high = hn::Load(d, batch.high + b);
  if (divisor > 0 && divisor < 100) return hn::Sub(high, low);
  const LegacyVector opposite = hn::Neg(low), extreme = hn::IfThenElse(hn::Gt(high, opposite), high, low);
  if (divisor > 0) return hn::Abs(extreme);
  if (HWY_LIKELY(hn::AllFalse(d, hn::Eq(high, opposite)))) return extreme;
  HWY_ALIGN float extremes[batchBlocks];
  hn::Store(extreme, d, extremes);
  for (std::size_t l = 0; l < hn::Lanes(d) && b + l < batch.count; ++l)
    if (batch.high[b + l] == -batch.low[b + l]) extremes[l] = signedExtreme(batch.x + (b + l) * blockWeights, blockWeights);
  return hn::Load(d, extremes);
}

// d, m and the reciprocal of each block.
void findScales(BlockType type, float divisor, Batch& batch, std::uint8_t* out) {
  const LegacyFloats d;
  const hn::RebindToSigned<LegacyFloats> integers;
  const std::size_t bytes = blockShape(type).bytes;
  const bool minimum = type == BlockType::Q4_1 || type == BlockType::Q5_1;
  HWY_ALIGN std::int32_t scales[batchBlocks], minima[batchBlocks];
  auto anyOdd = hn::Lt(hn::Zero(d), hn::Zero(d));
  for (std::size_t b = 0; b < batch.count; b += hn::Lanes(d)) {
    const LegacyVector scale = hn::Div(extentOf(divisor, batch, b), hn::Set(d, divisor)), low = hn::Load(d, batch.low + b);
    const LegacyVector inverse = hn::IfThenElse(hn::Eq(scale, hn::Zero(d)), hn::Zero(d), hn::Div(hn::Set(d, 1.0f), scale));
    hn::Store(inverse, d, batch.inverse + b);
    hn::Store(halfBits(scale), integers, scales + b);
    auto odd = hn::Not(hn::Lt(hn::Abs(inverse), hn::Set(d, 3.0e38f)));
    if (minimum) {
      hn::Store(halfBits(low), integers, minima + b);
      odd = hn::Or(odd, hn::Eq(low, hn::Zero(d)));
    }
    hn::Store(hn::IfThenElseZero(odd, hn::Set(d, 1.0f)), d, batch.odd + b);
    anyOdd = hn::Or(anyOdd, odd);
  }
  batch.anyOdd = !hn::AllFalse(d, anyOdd);
  for (std::size_t b = 0; b < batch.count; ++b) putHalf(scales[b], out + b * bytes);
  if (!minimum) return;
  for (std::size_t b = 0; b < batch.count; ++b) putHalf(minima[b], out + b * bytes + 2);
}

enum class LegacyCode { Symmetric, Minimum, Signed };

#undef NIBBLE_PACKS_32
#if HWY_TARGET == HWY_AVX2 || HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_AVX3_DL
#define NIBBLE_PACKS_32 1
#else
#define NIBBLE_PACKS_32 0
#endif

using LegacyIntegers = hn::Vec<hn::RebindToSigned<LegacyFloats>>;

// Truncates what is known to fit.
HWY_INLINE LegacyIntegers truncatedOf(LegacyVector value) {
#if NIBBLE_PACKS_32  // Highway's conversion mends overflow, which takes three more instructions
  return LegacyIntegers{_mm256_cvttps_epi32(value.raw)};
#else
  return hn::ConvertTo(hn::RebindToSigned<LegacyFloats>(), value);
#endif
}

template <LegacyCode kind>
struct CodeOf {
  LegacyVector inverse, low, half;
  HWY_INLINE LegacyIntegers operator()(const float* from) const {
    const LegacyFloats d;
    const LegacyVector x = hn::LoadU(d, from);
    if constexpr (kind == LegacyCode::Symmetric) return truncatedOf(hn::Add(hn::Mul(x, inverse), half));
    if constexpr (kind == LegacyCode::Minimum) return truncatedOf(hn::Add(hn::Mul(hn::Sub(x, low), inverse), half));
    // Half away from zero: adding the largest number below a half never reaches the next integer from below it.
    const LegacyVector scaled = hn::Mul(x, inverse);
    return truncatedOf(hn::Add(scaled, hn::CopySign(half, scaled)));
  }
};

#if NIBBLE_PACKS_32

// 32 codes as bytes, in order; `top` clamps all of them at once. Instructions that pack work on halves, which one permutation
// mends.
template <LegacyCode kind>
HWY_INLINE void storeBlock(const CodeOf<kind>& codeOf, const float* x, int top, std::uint8_t* to) {
  const __m256i first = _mm256_packs_epi32(codeOf(x).raw, codeOf(x + 8).raw),
                second = _mm256_packs_epi32(codeOf(x + 16).raw, codeOf(x + 24).raw);
  const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
  if constexpr (kind == LegacyCode::Signed) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), _mm256_permutevar8x32_epi32(_mm256_packs_epi16(first, second), order));
    return;
  }
  __m256i codes = _mm256_permutevar8x32_epi32(_mm256_packus_epi16(first, second), order);
  codes = _mm256_min_epu8(codes, _mm256_set1_epi8(static_cast<char>(top)));
  if (top == 31) {  // the fifth bits, one after the other
    const int fifth = _mm256_movemask_epi8(_mm256_slli_epi16(codes, 3));
    std::memcpy(to, &fifth, sizeof fifth);
    to += sizeof fifth;
    codes = _mm256_and_si256(codes, _mm256_set1_epi8(15));
  }
  const __m128i nibbles = _mm_or_si128(_mm256_castsi256_si128(codes), _mm_slli_epi16(_mm256_extracti128_si256(codes, 1), 4));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(to), nibbles);
}

#else

template <LegacyCode kind>
HWY_INLINE void storeBlock(const CodeOf<kind>& codeOf, const float* x, int top, std::uint8_t* to) {
  const LegacyFloats d;
  const hn::Rebind<std::uint8_t, LegacyFloats> bytes;
  const hn::Rebind<std::int8_t, LegacyFloats> signedBytes;
  const std::size_t lanes = hn::Lanes(d);
  if constexpr (kind == LegacyCode::Signed) {
    for (std::size_t k = 0; k < blockWeights; k += lanes)
      hn::StoreU(hn::BitCast(bytes, hn::DemoteTo(signedBytes, codeOf(x + k))), bytes, to + k);
    return;
  }
  const auto highest = hn::Set(hn::RebindToSigned<LegacyFloats>(), top);
  const auto clamped = [&](const float* from) HWY_ATTR { return hn::Min(codeOf(from), highest); };
  if (top == 15) {
    for (std::size_t k = 0; k < 16; k += lanes)
      hn::StoreU(hn::DemoteTo(bytes, hn::Or(clamped(x + k), hn::ShiftLeft<4>(clamped(x + k + 16)))), bytes, to + k);
    return;
  }
  std::uint8_t codes[blockWeights];
  for (std::size_t k = 0; k < blockWeights; k += lanes) hn::StoreU(hn::DemoteTo(bytes, clamped(x + k)), bytes, codes + k);
  packFifthBits(codes, to);
  packNibbles(codes, 32, 16, to + 4);
}

#endif

// The block that takes this one's place in the next batch is fetched meanwhile.
HWY_INLINE void fetchNextBatch(const float* x) {
  constexpr std::uintptr_t ahead = batchBlocks * blockWeights * sizeof(float), line = 64;
  const auto at = reinterpret_cast<std::uintptr_t>(x) + ahead;
  hwy::Prefetch(reinterpret_cast<const std::byte*>(at));
  hwy::Prefetch(reinterpret_cast<const std::byte*>(at + line));
}

// Codes of the batch behind the scales.
template <LegacyCode kind>
void storeCodes(BlockType type, float half, int top, Batch& batch, std::uint8_t* out) {
  const LegacyFloats d;
  const std::size_t stride = blockShape(type).bytes, skip = kind == LegacyCode::Minimum ? 4 : 2;
  CodeOf<kind> codeOf{hn::Zero(d), hn::Zero(d), hn::Set(d, half)};
  for (std::size_t b = 0; b < batch.count; ++b) {
    codeOf.inverse = hn::Set(d, batch.inverse[b]);
    codeOf.low = hn::Set(d, batch.low[b]);
    fetchNextBatch(batch.x + b * blockWeights);
    storeBlock<kind>(codeOf, batch.x + b * blockWeights, top, out + b * stride + skip);
  }
}

void encodeLegacyBlocks(const BlockMatrix& matrix, std::size_t begin, std::size_t end, std::uint8_t* out) {
  Batch batch;
  for (std::size_t first = begin; first < end; first += batchBlocks) {
    batch.x = matrix.weights + first * blockWeights;
    batch.count = std::min(batchBlocks, end - first);
    std::uint8_t* to = out + first * matrix.shape().bytes;
    findRanges(batch);
    const auto each = [&]<LegacyCode kind>(float divisor, float half, int top) {
      findScales(matrix.type, divisor, batch, to);
      storeCodes<kind>(matrix.type, half, top, batch, to);
    };
    switch (matrix.type) {
      case BlockType::Q4_0: each.template operator()<LegacyCode::Symmetric>(-8.0f, 8.5f, 15); break;
      case BlockType::Q5_0: each.template operator()<LegacyCode::Symmetric>(-16.0f, 16.5f, 31); break;
      case BlockType::Q4_1: each.template operator()<LegacyCode::Minimum>(15.0f, 0.5f, 15); break;
      case BlockType::Q5_1: each.template operator()<LegacyCode::Minimum>(31.0f, 0.5f, 31); break;
      default: each.template operator()<LegacyCode::Signed>(127.0f, 0x1.fffffep-2f, 127); break;
    }
    if (!batch.anyOdd) continue;
    for (std::size_t b = 0; b < batch.count; ++b)
      if (batch.odd[b] != 0.0f) kernels::encodeBlockRange(matrix, first + b, first + b + 1, out);
  }
}

}  // namespace nibble::kernels::simd::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace nibble::kernels::simd {

HWY_EXPORT(encodeLegacyBlocks);

void encodeLegacyBlocks(const BlockMatrix& matrix, std::size_t begin, std::size_t end, std::uint8_t* out) {
  HWY_DYNAMIC_DISPATCH(encodeLegacyBlocks)(matrix, begin, end, out);
}

}  // namespace nibble::kernels::simd
#endif  // HWY_ONCE
