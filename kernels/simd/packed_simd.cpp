// SPDX-License-Identifier: GPL-3.0-or-later
// Packed products: codes come out of 16-bit words by shift and mask, four outputs at a time against one load of x. Byte inputs
// are multiplied and added in pairs to 32 bits (one instruction on most machines). At the end of a run the four vectors of sums
// become one of four outputs by interleaving, in the order of packed_rows.h. At most 16 words at a time, whatever a vector
// could hold.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/simd/packed_simd.cpp"
#include "hwy/foreach_target.h"  // compiles this file once per instruction set

#include "hwy/cache_control.h"
#include "hwy/highway.h"
#include "kernels/packed_rows.h"
#include "kernels/simd/byte_dot-inl.h"

#include <type_traits>

HWY_BEFORE_NAMESPACE();
namespace nibble::kernels::simd::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

#if HWY_TARGET == HWY_SCALAR

void packedByteProducts(std::span<const PackedRun> runs, const std::byte* block, const ByteInputs& x, float* out) {
  hostPackedLoops().byteProducts(runs, block, x, out);
}
void packedFloatProducts(std::span<const PackedRun> runs, const std::byte* block, const FloatInputs& x, float* out) {
  hostPackedLoops().floatProducts(runs, block, x, out);
}

#else

// A run's bytes are asked for some runs before they are needed: the four outputs of a run are four streams, which the hardware
// foresees less well than one. Beyond the end it is a hint for nothing.
HWY_INLINE void prefetchRun(const std::byte* block, std::size_t bytes) {
  constexpr std::size_t ahead = 8192, line = 64;
  for (std::size_t i = 0; i < bytes; i += line)
    hwy::Prefetch(reinterpret_cast<const std::byte*>(reinterpret_cast<std::uintptr_t>(block) + ahead + i));
}

using Four = hn::CappedTag<float, 4>;
using FourSums = hn::Vec<Four>;

// Lane i of the result: the sum of all lanes of vector i. T: 32-bit lanes, 4 or 8 of them.
template <class V>
HWY_INLINE auto sumsOfFour(V s0, V s1, V s2, V s3) {
  using D = hn::DFromV<V>;
  const D d;
  const hn::Repartition<std::uint64_t, D> wide;
  const auto pairs01 = hn::Add(hn::InterleaveLower(d, s0, s1), hn::InterleaveUpper(d, s0, s1));
  const auto pairs23 = hn::Add(hn::InterleaveLower(d, s2, s3), hn::InterleaveUpper(d, s2, s3));
  const auto a = hn::BitCast(wide, pairs01), b = hn::BitCast(wide, pairs23);
  const auto all = hn::Add(hn::BitCast(d, hn::InterleaveLower(wide, a, b)), hn::BitCast(d, hn::InterleaveUpper(wide, a, b)));
  if constexpr (hn::MaxLanes(D()) == 8) {
    const hn::Half<D> half;
    return hn::Add(hn::LowerHalf(half, all), hn::UpperHalf(half, all));
  } else {
    return all;
  }
}

// Codes of one field of a vector of words.
template <int bits, int field, class V>
HWY_INLINE V fieldOf(V words) {
  const hn::DFromV<V> d;
  const hn::RebindToUnsigned<hn::DFromV<V> > u;
  if constexpr ((field + 1) * bits == 8 * static_cast<int>(sizeof(hn::TFromV<V>)))
    return hn::BitCast(d, hn::ShiftRight<field * bits>(hn::BitCast(u, words)));
  else if constexpr (field == 0)
    return hn::And(words, hn::Set(d, (1 << bits) - 1));
  else
    return hn::And(hn::BitCast(d, hn::ShiftRight<field * bits>(hn::BitCast(u, words))), hn::Set(d, (1 << bits) - 1));
}

template <class Shorts, class Words>
struct ByteSums {
  hn::Vec<Words> s0, s1, s2, s3, t0, t1, t2, t3;  // t: odd products, where pairs are not added by one instruction
  HWY_INLINE ByteSums() : s0(hn::Zero(Words())), s1(s0), s2(s0), s3(s0), t0(s0), t1(s0), t2(s0), t3(s0) {}
  template <int bits, int field>
  HWY_INLINE void add(hn::Vec<Shorts> v0, hn::Vec<Shorts> v1, hn::Vec<Shorts> v2, hn::Vec<Shorts> v3, const std::int16_t* x) {
    const auto in = hn::LoadU(Shorts(), x);
    s0 = hn::ReorderWidenMulAccumulate(Words(), fieldOf<bits, field>(v0), in, s0, t0);
    s1 = hn::ReorderWidenMulAccumulate(Words(), fieldOf<bits, field>(v1), in, s1, t1);
    s2 = hn::ReorderWidenMulAccumulate(Words(), fieldOf<bits, field>(v2), in, s2, t2);
    s3 = hn::ReorderWidenMulAccumulate(Words(), fieldOf<bits, field>(v3), in, s3, t3);
  }
};

template <std::size_t chunk, int bits>
HWY_INLINE auto byteRun(const std::int16_t* words, std::size_t count, const std::int16_t* x) {
  using Shorts = hn::CappedTag<std::int16_t, chunk>;
  using Words = hn::Repartition<std::int32_t, Shorts>;
  const Shorts shorts;
  const std::size_t lanes = hn::Lanes(shorts);
  ByteSums<Shorts, Words> sums;
  for (std::size_t w = 0; w < count; w += lanes) {
    const auto v0 = hn::LoadU(shorts, words + w), v1 = hn::LoadU(shorts, words + count + w);
    const auto v2 = hn::LoadU(shorts, words + 2 * count + w), v3 = hn::LoadU(shorts, words + 3 * count + w);
    sums.template add<bits, 0>(v0, v1, v2, v3, x + w);
    sums.template add<bits, 1>(v0, v1, v2, v3, x + count + w);
    if constexpr (bits == 4) {
      sums.template add<bits, 2>(v0, v1, v2, v3, x + 2 * count + w);
      sums.template add<bits, 3>(v0, v1, v2, v3, x + 3 * count + w);
    }
  }
  return sumsOfFour(hn::Add(sums.s0, sums.t0), hn::Add(sums.s1, sums.t1), hn::Add(sums.s2, sums.t2), hn::Add(sums.s3, sums.t3));
}

using FourIntegers = hn::Vec<hn::CappedTag<std::int32_t, 4> >;

#if HWY_TARGET == HWY_AVX2 || HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_AVX3_DL

// 32 codes of 4 bits at once: bytes times bytes, added in pairs to 16 bits, at most 2 * 15 * 127 each. Eight of them fit 16
// bits.
struct PairSums {
  hn::Vec256<std::int16_t> sums;
  // Written out: what a compiler writes by itself lacks the instruction set of this file's pragma.
  HWY_INLINE PairSums() : sums(hn::Zero(hn::CappedTag<std::int16_t, 16>())) {}
  HWY_INLINE void add(hn::Vec256<std::uint16_t> words, hn::Vec256<std::int8_t> x02, hn::Vec256<std::int8_t> x13) {
    const hn::CappedTag<std::uint16_t, 16> d;
    const auto mask = hn::Set(d, 0x0F0F);
    const auto low = hn::And(words, mask), high = hn::And(hn::ShiftRight<4>(words), mask);
    sums = hn::Add(sums, hn::Vec256<std::int16_t>{_mm256_maddubs_epi16(low.raw, x02.raw)});
    sums = hn::Add(sums, hn::Vec256<std::int16_t>{_mm256_maddubs_epi16(high.raw, x13.raw)});
  }
  HWY_INLINE hn::Vec256<std::int32_t> widened() const {
    return hn::Vec256<std::int32_t>{_mm256_madd_epi16(sums.raw, hn::Set(hn::CappedTag<std::int16_t, 16>(), 1).raw)};
  }
};

// Chunks of 16 words.
HWY_INLINE FourIntegers nibbleRun(const std::uint16_t* words, std::size_t count, const std::int8_t* x) {
  const hn::CappedTag<std::uint16_t, 16> d;
  const hn::CappedTag<std::int8_t, 32> bytes;
  auto s0 = hn::Zero(hn::CappedTag<std::int32_t, 8>()), s1 = s0, s2 = s0, s3 = s0;
  for (std::size_t begin = 0; begin < count; begin += 64) {
    const std::size_t end = begin + 64 < count ? begin + 64 : count;
    PairSums p0, p1, p2, p3;
    for (std::size_t w = begin; w < end; w += 16) {
      const auto x02 = hn::LoadU(bytes, x + 4 * w), x13 = hn::LoadU(bytes, x + 4 * w + 32);
      p0.add(hn::LoadU(d, words + w), x02, x13);
      p1.add(hn::LoadU(d, words + count + w), x02, x13);
      p2.add(hn::LoadU(d, words + 2 * count + w), x02, x13);
      p3.add(hn::LoadU(d, words + 3 * count + w), x02, x13);
    }
    s0 = hn::Add(s0, p0.widened());
    s1 = hn::Add(s1, p1.widened());
    s2 = hn::Add(s2, p2.widened());
    s3 = hn::Add(s3, p3.widened());
  }
  return sumsOfFour(s0, s1, s2, s3);
}

// Chunks of 8 words: two outputs fill a vector.
HWY_INLINE FourIntegers shortNibbleRun(const std::uint16_t* words, std::size_t count, const std::int8_t* x) {
  const hn::CappedTag<std::uint16_t, 16> d;
  const hn::CappedTag<std::uint16_t, 8> half;
  const hn::CappedTag<std::int8_t, 32> bytes;
  const hn::CappedTag<std::int32_t, 8> integers;
  auto s01 = hn::Zero(integers), s23 = s01;
  for (std::size_t begin = 0; begin < count; begin += 32) {
    const std::size_t end = begin + 32 < count ? begin + 32 : count;
    PairSums p01, p23;
    for (std::size_t w = begin; w < end; w += 8) {
      const auto x02 = hn::LoadDup128(bytes, x + 4 * w), x13 = hn::LoadDup128(bytes, x + 4 * w + 16);
      p01.add(hn::Combine(d, hn::LoadU(half, words + count + w), hn::LoadU(half, words + w)), x02, x13);
      p23.add(hn::Combine(d, hn::LoadU(half, words + 3 * count + w), hn::LoadU(half, words + 2 * count + w)), x02, x13);
    }
    s01 = hn::Add(s01, p01.widened());
    s23 = hn::Add(s23, p23.widened());
  }
  const auto pairs = hn::Add(hn::InterleaveLower(integers, s01, s23), hn::InterleaveUpper(integers, s01, s23));
  const auto all = hn::Add(pairs, hn::Shuffle1032(pairs));  // 0 2 0 2, 1 3 1 3
  const hn::CappedTag<std::int32_t, 4> four;
  return hn::InterleaveLower(four, hn::LowerHalf(four, all), hn::UpperHalf(four, all));
}

#else

HWY_INLINE FourIntegers nibbleRun(const std::uint16_t* words, std::size_t count, const std::int16_t* x) {
  return byteRun<16, 4>(reinterpret_cast<const std::int16_t*>(words), count, x);
}
HWY_INLINE FourIntegers shortNibbleRun(const std::uint16_t* words, std::size_t count, const std::int16_t* x) {
  return byteRun<8, 4>(reinterpret_cast<const std::int16_t*>(words), count, x);
}

#endif

// The inputs as nibbleRun takes them.
HWY_INLINE void choose(const ByteInputs& x, std::uint32_t first, const std::int8_t*& in) {
  in = x.pairs + first;
}
HWY_INLINE void choose(const ByteInputs& x, std::uint32_t first, const std::int16_t*& in) {
  in = x.codes + first;
}

template <class Input>
HWY_INLINE FourIntegers anyRun(FourIntegers (*)(const std::uint16_t*, std::size_t, const Input*), const PackedRun& run,
                               const std::uint16_t* words, const ByteInputs& x) {
  const Input* in = nullptr;
  choose(x, run.first, in);
  const std::size_t count = run.words();
  if (run.bits == 8)
    return byteRun<16, 8>(reinterpret_cast<const std::int16_t*>(words), count, x.codes + run.first);  // 32 inputs: 16 words
  return count % 16 == 0 ? nibbleRun(words, count, in) : shortNibbleRun(words, count, in);
}

// y and what a run adds to it.
HWY_INLINE FourSums withRun(FourSums y, FourIntegers products, const std::byte* block, const ByteInputs& x, std::size_t r) {
  const Four four;
  const auto* parameters = reinterpret_cast<const float*>(block);
  const auto scale = hn::Mul(hn::LoadU(four, parameters), hn::Set(four, x.scales[r]));
  y = hn::Add(y, hn::Mul(hn::ConvertTo(four, products), scale));
  return hn::Add(y, hn::Mul(hn::LoadU(four, parameters + packedOutputs), hn::Set(four, x.sums[r])));
}

HWY_INLINE const std::uint16_t* wordsOf(const std::byte* block) {
  return reinterpret_cast<const std::uint16_t*>(block + packedParameters);
}

#ifdef NIBBLE_BYTE_DOT

NIBBLE_BYTE_DOT void packedDotProducts(std::span<const PackedRun> runs, const std::byte* block, const ByteInputs& x, float* out) {
  const Four four;
  FourSums y = hn::Zero(four);
  for (std::size_t r = 0; r < runs.size(); ++r) {
    const PackedRun& run = runs[r];
    const std::uint16_t* words = wordsOf(block);
    const std::int8_t* in = x.pairs + run.first;
    const std::size_t count = run.words();
    const FourIntegers products = run.bits == 8      ? FourIntegers{dotOfBytes(words, count, in)}
                                  : count % 16 == 0 ? FourIntegers{dotOfNibbles(words, count, in)}
                                  : count == 8      ? FourIntegers{dotOfShortNibbles(words, in)}
                                                    : shortNibbleRun(words, count, in);
    y = withRun(y, products, block, x, r);
    const std::size_t bytes = packedBytes(run);
    prefetchRun(block, bytes);
    block += bytes;
  }
  hn::StoreU(y, four, out);
}

#endif

void packedByteProducts(std::span<const PackedRun> runs, const std::byte* block, const ByteInputs& x, float* out) {
#ifdef NIBBLE_BYTE_DOT
  if (hasByteDot()) return packedDotProducts(runs, block, x, out);
#endif
  const Four four;
  FourSums y = hn::Zero(four);
  for (std::size_t r = 0; r < runs.size(); ++r) {
    const PackedRun& run = runs[r];
    y = withRun(y, anyRun(nibbleRun, run, wordsOf(block), x), block, x, r);
    const std::size_t bytes = packedBytes(run);
    prefetchRun(block, bytes);
    block += bytes;
  }
  hn::StoreU(y, four, out);
}

// A field where it stands (packed_rows.h).
template <int bits, int field, class V>
HWY_INLINE V standingField(V words) {
  const hn::DFromV<V> d;
  if constexpr ((field + 1) * bits == 32)
    return fieldOf<bits, field>(words);
  else
    return hn::And(words, hn::Set(d, ((1 << bits) - 1) << (field * bits)));
}

template <class Integers, class Floats>
struct FloatSums {
  hn::Vec<Floats> s0, s1, s2, s3;
  HWY_INLINE FloatSums() : s0(hn::Zero(Floats())), s1(s0), s2(s0), s3(s0) {}
  template <int bits, int field>
  HWY_INLINE void add(hn::Vec<Integers> v0, hn::Vec<Integers> v1, hn::Vec<Integers> v2, hn::Vec<Integers> v3, const float* x) {
    const Floats d;
    const auto in = hn::LoadU(d, x);
    s0 = hn::Add(s0, hn::Mul(in, hn::ConvertTo(d, standingField<bits, field>(v0))));
    s1 = hn::Add(s1, hn::Mul(in, hn::ConvertTo(d, standingField<bits, field>(v1))));
    s2 = hn::Add(s2, hn::Mul(in, hn::ConvertTo(d, standingField<bits, field>(v2))));
    s3 = hn::Add(s3, hn::Mul(in, hn::ConvertTo(d, standingField<bits, field>(v3))));
  }
};

// Part `part` of the lanes of each chunk: 8 words where a vector has 4 lanes and a chunk 16 words.
template <std::size_t chunk, int bits>
HWY_INLINE FourSums floatRunPart(const std::int32_t* words, std::size_t count, const float* x, std::size_t part) {
  using Integers = hn::CappedTag<std::int32_t, chunk / 2>;
  using Floats = hn::Rebind<float, Integers>;
  const Integers integers;
  const std::size_t lanes = chunk / 2, step = count / 2;  // integers of an output
  FloatSums<Integers, Floats> even, odd;
  for (std::size_t w = part; w < step; w += lanes, x += chunk * 16 / bits) {
    const auto v0 = hn::LoadU(integers, words + w), v1 = hn::LoadU(integers, words + step + w);
    const auto v2 = hn::LoadU(integers, words + 2 * step + w), v3 = hn::LoadU(integers, words + 3 * step + w);
    even.template add<bits, 0>(v0, v1, v2, v3, x + part);
    even.template add<bits, 1>(v0, v1, v2, v3, x + lanes + part);
    (bits == 4 ? even : odd).template add<bits, 2>(v0, v1, v2, v3, x + 2 * lanes + part);
    (bits == 4 ? even : odd).template add<bits, 3>(v0, v1, v2, v3, x + 3 * lanes + part);
    if constexpr (bits == 4) {
      odd.template add<bits, 4>(v0, v1, v2, v3, x + 4 * lanes + part);
      odd.template add<bits, 5>(v0, v1, v2, v3, x + 5 * lanes + part);
      odd.template add<bits, 6>(v0, v1, v2, v3, x + 6 * lanes + part);
      odd.template add<bits, 7>(v0, v1, v2, v3, x + 7 * lanes + part);
    }
  }
  return sumsOfFour(hn::Add(even.s0, odd.s0), hn::Add(even.s1, odd.s1), hn::Add(even.s2, odd.s2), hn::Add(even.s3, odd.s3));
}

#if HWY_TARGET == HWY_AVX2 || HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_AVX3_DL

// Chunks of 8 words: two outputs fill a vector of 8 lanes.
template <int bits>
HWY_INLINE FourSums shortFloatRun(const std::int32_t* words, std::size_t count, const float* x) {
  using Integers = hn::CappedTag<std::int32_t, 8>;
  const Integers d;
  const hn::Half<Integers> half;
  const hn::Rebind<float, Integers> floats;
  const std::size_t step = count / 2;
  auto s01 = hn::Zero(floats), s23 = s01, t01 = s01, t23 = s01;
  const auto add = [&](auto field, hn::Vec<Integers> v01, hn::Vec<Integers> v23) HWY_ATTR {
    constexpr int i = decltype(field)::value;
    const auto in = hn::LoadDup128(floats, x + 4 * i);
    auto& a = i < 16 / bits ? s01 : t01;
    auto& b = i < 16 / bits ? s23 : t23;
    a = hn::Add(a, hn::Mul(in, hn::ConvertTo(floats, standingField<bits, i>(v01))));
    b = hn::Add(b, hn::Mul(in, hn::ConvertTo(floats, standingField<bits, i>(v23))));
  };
  for (std::size_t w = 0; w < step; w += 4, x += 8 * 16 / bits) {
    const auto v01 = hn::Combine(d, hn::LoadU(half, words + step + w), hn::LoadU(half, words + w));
    const auto v23 = hn::Combine(d, hn::LoadU(half, words + 3 * step + w), hn::LoadU(half, words + 2 * step + w));
    add(std::integral_constant<int, 0>(), v01, v23);
    add(std::integral_constant<int, 1>(), v01, v23);
    add(std::integral_constant<int, 2>(), v01, v23);
    add(std::integral_constant<int, 3>(), v01, v23);
    if constexpr (bits == 4) {
      add(std::integral_constant<int, 4>(), v01, v23);
      add(std::integral_constant<int, 5>(), v01, v23);
      add(std::integral_constant<int, 6>(), v01, v23);
      add(std::integral_constant<int, 7>(), v01, v23);
    }
  }
  s01 = hn::Add(s01, t01);
  s23 = hn::Add(s23, t23);
  const auto pairs = hn::Add(hn::InterleaveLower(floats, s01, s23), hn::InterleaveUpper(floats, s01, s23));
  const auto all = hn::Add(pairs, hn::Shuffle1032(pairs));  // 0 2 0 2, 1 3 1 3
  return hn::InterleaveLower(Four(), hn::LowerHalf(Four(), all), hn::UpperHalf(Four(), all));
}

#else

template <int bits>
HWY_INLINE FourSums shortFloatRun(const std::int32_t* words, std::size_t count, const float* x) {
  return floatRunPart<8, bits>(words, count, x, 0);
}

#endif

template <std::size_t chunk, int bits>
HWY_INLINE FourSums floatRun(const std::int32_t* words, std::size_t count, const float* x) {
  constexpr bool wide = hn::MaxLanes(hn::CappedTag<std::int32_t, 8>()) == 8;
  if constexpr (chunk == 8) {
    return hn::Add(shortFloatRun<bits>(words, count, x), hn::Zero(Four()));  // the lanes that are not there are added too
  } else if constexpr (wide) {
    return floatRunPart<chunk, bits>(words, count, x, 0);
  } else {
    return hn::Add(floatRunPart<chunk, bits>(words, count, x, 0), floatRunPart<chunk, bits>(words, count, x, 4));
  }
}

void packedFloatProducts(std::span<const PackedRun> runs, const std::byte* block, const FloatInputs& x, float* out) {
  const Four four;
  FourSums y = hn::Zero(four);
  for (std::size_t r = 0; r < runs.size(); ++r) {
    const PackedRun& run = runs[r];
    const auto* parameters = reinterpret_cast<const float*>(block);
    const auto* words = reinterpret_cast<const std::int32_t*>(block + packedParameters);
    const float* in = x.arranged + run.first;
    const std::size_t count = run.words();
    FourSums sums;
    if (run.bits == 4)
      sums = count % 16 == 0 ? floatRun<16, 4>(words, count, in) : floatRun<8, 4>(words, count, in);
    else
      sums = floatRun<16, 8>(words, count, in);
    y = hn::Add(y, hn::Mul(hn::LoadU(four, parameters), sums));
    y = hn::Add(y, hn::Mul(hn::LoadU(four, parameters + packedOutputs), hn::Set(four, x.sums[r])));
    const std::size_t bytes = packedBytes(run);
    prefetchRun(block, bytes);
    block += bytes;
  }
  hn::StoreU(y, four, out);
}

#endif

}  // namespace nibble::kernels::simd::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace nibble::kernels {
namespace simd {

HWY_EXPORT(packedByteProducts);
HWY_EXPORT(packedFloatProducts);

namespace {

class SimdPackedLoops final : public PackedLoops {
 public:
  void byteProducts(std::span<const PackedRun> runs, const std::byte* block, const ByteInputs& x, float* out) const override {
    HWY_DYNAMIC_DISPATCH(packedByteProducts)(runs, block, x, out);
  }
  void floatProducts(std::span<const PackedRun> runs, const std::byte* block, const FloatInputs& x, float* out) const override {
    HWY_DYNAMIC_DISPATCH(packedFloatProducts)(runs, block, x, out);
  }
};

}  // namespace
}  // namespace simd

const PackedLoops& simdPackedLoops() {
  static const simd::SimdPackedLoops loops;
  return loops;
}

}  // namespace nibble::kernels
#endif  // HWY_ONCE
