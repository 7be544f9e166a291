// SPDX-License-Identifier: GPL-3.0-or-later
// q4_0 .. q8_0 without importance weights: a batch of blocks of 32 weights goes through ranges, scales, codes and packing, each
// pass over the batch while it lies in the first-level cache. Minimum and maximum do not depend on the order, so nothing has to
// be transposed. What depends on more than them goes to the scalar code: the first of two extremes of equal magnitude, the sign
// of a zero minimum, scales whose reciprocal is infinite.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/simd/blocks_legacy_simd.cpp"
#include "hwy/foreach_target.h"  // compiles this file once per instruction set

#include "hwy/highway.h"
#include "kernels/math/blocks.h"
#include "kernels/simd/simd_loops.h"

#include <algorithm>

HWY_BEFORE_NAMESPACE();
namespace nibble::kernels::simd::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using LegacyFloats = hn::CappedTag<float, 16>;
using LegacyVector = hn::Vec<LegacyFloats>;
constexpr std::size_t batchBlocks = 64, blockWeights = 32;

struct Batch {
  const float* x;
  std::size_t count;
  HWY_ALIGN float low[batchBlocks] = {};
  HWY_ALIGN float high[batchBlocks] = {};
  HWY_ALIGN float inverse[batchBlocks];
  bool odd[batchBlocks], anyOdd;
  HWY_ALIGN std::uint8_t codes[batchBlocks * blockWeights];
};

void findRanges(Batch& batch) {
  const LegacyFloats d;
  for (std::size_t b = 0; b < batch.count; ++b) {
    const float* x = batch.x + b * blockWeights;
    LegacyVector low = hn::LoadU(d, x), high = low;
    for (std::size_t k = hn::Lanes(d); k < blockWeights; k += hn::Lanes(d)) {
      const LegacyVector value = hn::LoadU(d, x + k);
      low = hn::Min(low, value);
      high = hn::Max(high, value);
    }
    batch.low[b] = hn::GetLane(hn::MinOfLanes(d, low));
    batch.high[b] = hn::GetLane(hn::MaxOfLanes(d, high));
  }
}

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
void findExtents(float divisor, Batch& batch, float* extent) {
  for (std::size_t b = 0; b < batch.count; ++b) {
    const float low = batch.low[b], high = batch.high[b];
    const float magnitude = std::fabs(high > -low ? high : low), extreme = high > -low ? high : low;
    extent[b] = divisor < 0 ? extreme : divisor > 100 ? magnitude : high - low;
  }
  if (divisor > 0) return;
  for (std::size_t b = 0; b < batch.count; ++b)
    if (batch.high[b] == -batch.low[b]) extent[b] = signedExtreme(batch.x + b * blockWeights, blockWeights);
}

// d, m and the reciprocal of each block.
void findScales(BlockType type, float divisor, Batch& batch, std::uint8_t* out) {
  const LegacyFloats d;
  const hn::RebindToSigned<LegacyFloats> integers;
  const std::size_t bytes = blockShape(type).bytes;
  const bool minimum = type == BlockType::Q4_1 || type == BlockType::Q5_1;
  HWY_ALIGN float extent[batchBlocks] = {};
  HWY_ALIGN std::int32_t scales[batchBlocks], minima[batchBlocks];
  findExtents(divisor, batch, extent);
  for (std::size_t b = 0; b < batchBlocks; b += hn::Lanes(d)) {
    const LegacyVector scale = hn::Div(hn::Load(d, extent + b), hn::Set(d, divisor));
    const LegacyVector inverse = hn::Div(hn::Set(d, 1.0f), scale);
    hn::Store(hn::IfThenElse(hn::Eq(scale, hn::Zero(d)), hn::Zero(d), inverse), d, batch.inverse + b);
    hn::Store(halfBits(scale), integers, scales + b);
    if (minimum) hn::Store(halfBits(hn::Load(d, batch.low + b)), integers, minima + b);
  }
  batch.anyOdd = false;
  for (std::size_t b = 0; b < batch.count; ++b) {
    batch.odd[b] = !(std::fabs(batch.inverse[b]) < 3.0e38f) || (minimum && batch.low[b] == 0.0f);
    batch.anyOdd = batch.anyOdd || batch.odd[b];
    putHalf(scales[b], out + b * bytes);
    if (minimum) putHalf(minima[b], out + b * bytes + 2);
  }
}

enum class LegacyCode { Symmetric, Minimum, Signed };

using LegacyIntegers = hn::Vec<hn::RebindToSigned<LegacyFloats>>;

// Truncates what is known to fit.
HWY_INLINE LegacyIntegers truncatedOf(LegacyVector value) {
#if HWY_TARGET == HWY_AVX2  // Highway's conversion mends overflow, which takes three more instructions
  return LegacyIntegers{_mm256_cvttps_epi32(value.raw)};
#else
  return hn::ConvertTo(hn::RebindToSigned<LegacyFloats>(), value);
#endif
}

template <LegacyCode kind>
struct CodeOf {
  LegacyVector inverse, low, half;
  LegacyIntegers top;
  HWY_INLINE LegacyIntegers operator()(const float* from) const {
    const LegacyFloats d;
    const LegacyVector x = hn::LoadU(d, from);
    if constexpr (kind == LegacyCode::Symmetric) return hn::Min(truncatedOf(hn::Add(hn::Mul(x, inverse), half)), top);
    if constexpr (kind == LegacyCode::Minimum) return hn::Min(truncatedOf(hn::Add(hn::Mul(hn::Sub(x, low), inverse), half)), top);
    // Half away from zero: adding the largest number below a half never reaches the next integer from below it.
    const LegacyVector scaled = hn::Mul(x, inverse);
    return truncatedOf(hn::Add(scaled, hn::CopySign(half, scaled)));
  }
};

// Codes of the batch, packed at `skip` bytes into every block.
template <LegacyCode kind>
void storeCodes(BlockType type, float half, int top, Batch& batch, std::uint8_t* out) {
  const LegacyFloats d;
  const hn::RebindToSigned<LegacyFloats> integers;
  const hn::Rebind<std::uint8_t, LegacyFloats> bytes;
  const hn::Rebind<std::int8_t, LegacyFloats> signedBytes;
  const std::size_t lanes = hn::Lanes(d), stride = blockShape(type).bytes, skip = kind == LegacyCode::Minimum ? 4 : 2;
  CodeOf<kind> codeOf{hn::Zero(d), hn::Zero(d), hn::Set(d, half), hn::Set(integers, top)};
  for (std::size_t b = 0; b < batch.count; ++b) {
    codeOf.inverse = hn::Set(d, batch.inverse[b]);
    codeOf.low = hn::Set(d, batch.low[b]);
    const float* x = batch.x + b * blockWeights;
    std::uint8_t* to = out + b * stride + skip;
    if constexpr (kind == LegacyCode::Signed) {
      for (std::size_t k = 0; k < blockWeights; k += lanes)
        hn::StoreU(hn::BitCast(bytes, hn::DemoteTo(signedBytes, codeOf(x + k))), bytes, to + k);
    } else if (top == 15) {
      for (std::size_t k = 0; k < 16; k += lanes)
        hn::StoreU(hn::DemoteTo(bytes, hn::Or(codeOf(x + k), hn::ShiftLeft<4>(codeOf(x + k + 16)))), bytes, to + k);
    } else {
      for (std::size_t k = 0; k < blockWeights; k += lanes)
        hn::StoreU(hn::DemoteTo(bytes, codeOf(x + k)), bytes, batch.codes + b * blockWeights + k);
    }
  }
  if (kind == LegacyCode::Signed || top == 15) return;
  for (std::size_t b = 0; b < batch.count; ++b) {
    packFifthBits(batch.codes + b * blockWeights, out + b * stride + skip);
    packNibbles(batch.codes + b * blockWeights, 32, 16, out + b * stride + skip + 4);
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
      if (batch.odd[b]) kernels::encodeBlockRange(matrix, first + b, first + b + 1, out);
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
