// SPDX-License-Identifier: GPL-3.0-or-later
// Runs of packed codes times byte inputs where one instruction multiplies bytes in fours and adds the products to 32 bits (AVX-512
// VNNI). No target of Highway 1.0 promises it: it is asked for when the program runs, and these functions alone are compiled with
// it. 64 bytes of codes at once, so that a run of 128 codes of 4 bits is one vector an output.
#if defined(NIBBLE_BYTE_DOT_INL) == defined(HWY_TARGET_TOGGLE)
#ifdef NIBBLE_BYTE_DOT_INL
#undef NIBBLE_BYTE_DOT_INL
#else
#define NIBBLE_BYTE_DOT_INL
#endif

#include "hwy/highway.h"
#include "kernels/packed_rows.h"

#undef NIBBLE_BYTE_DOT
#if HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_AVX3_DL
#define NIBBLE_BYTE_DOT __attribute__((target(HWY_TARGET_STR ",avx512vnni")))

HWY_BEFORE_NAMESPACE();
namespace nibble::kernels::simd::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

inline bool hasByteDot() {
  static const bool has = __builtin_cpu_supports("avx512vnni") != 0;
  return has;
}

// Up to 64 bytes; what is missing counts as 0.
NIBBLE_BYTE_DOT inline __m512i wholeVector(const void* from) { return _mm512_loadu_si512(from); }
NIBBLE_BYTE_DOT inline __m512i halfVector(const void* from) {
  return _mm512_zextsi256_si512(_mm256_loadu_si256(static_cast<const __m256i*>(from)));
}

NIBBLE_BYTE_DOT inline __m512i addNibbles(__m512i sums, __m512i words, __m512i x02, __m512i x13) {
  asm("" : "+v"(words));  // loaded once: compilers load it again for its high halves, and most of it lies across two cache lines
  const __m512i mask = _mm512_set1_epi8(15);
  sums = _mm512_dpbusd_epi32(sums, _mm512_and_si512(words, mask), x02);
  return _mm512_dpbusd_epi32(sums, _mm512_and_si512(_mm512_srli_epi16(words, 4), mask), x13);
}

struct DotSums {
  __m512i s0, s1, s2, s3;
};

// Lane i: the sum of all lanes of s_i.
NIBBLE_BYTE_DOT inline __m128i sumsOfFour(const DotSums& sums) {
  const __m512i s01 = _mm512_add_epi32(_mm512_unpacklo_epi32(sums.s0, sums.s1), _mm512_unpackhi_epi32(sums.s0, sums.s1));
  const __m512i s23 = _mm512_add_epi32(_mm512_unpacklo_epi32(sums.s2, sums.s3), _mm512_unpackhi_epi32(sums.s2, sums.s3));
  const __m512i all = _mm512_add_epi32(_mm512_unpacklo_epi64(s01, s23), _mm512_unpackhi_epi64(s01, s23));
  const __m256i half = _mm256_add_epi32(_mm512_castsi512_si256(all), _mm512_extracti64x4_epi64(all, 1));
  return _mm_add_epi32(_mm256_castsi256_si128(half), _mm256_extracti128_si256(half, 1));
}

// Chunks of 16 words, two at once.
NIBBLE_BYTE_DOT inline __m128i dotOfNibbles(const std::uint16_t* words, std::size_t count, const std::int8_t* x) {
  const __m512i zero = _mm512_setzero_si512();
  DotSums sums{zero, zero, zero, zero};
  std::size_t w = 0;
  for (; w + 32 <= count; w += 32) {
    const __m512i first = wholeVector(x + 4 * w), second = wholeVector(x + 4 * w + 64);
    const __m512i x02 = _mm512_shuffle_i64x2(first, second, 0x44), x13 = _mm512_shuffle_i64x2(first, second, 0xEE);
    sums.s0 = addNibbles(sums.s0, wholeVector(words + w), x02, x13);
    sums.s1 = addNibbles(sums.s1, wholeVector(words + count + w), x02, x13);
    sums.s2 = addNibbles(sums.s2, wholeVector(words + 2 * count + w), x02, x13);
    sums.s3 = addNibbles(sums.s3, wholeVector(words + 3 * count + w), x02, x13);
  }
  if (w < count) {
    const __m512i x02 = halfVector(x + 4 * w), x13 = halfVector(x + 4 * w + 32);
    sums.s0 = addNibbles(sums.s0, halfVector(words + w), x02, x13);
    sums.s1 = addNibbles(sums.s1, halfVector(words + count + w), x02, x13);
    sums.s2 = addNibbles(sums.s2, halfVector(words + 2 * count + w), x02, x13);
    sums.s3 = addNibbles(sums.s3, halfVector(words + 3 * count + w), x02, x13);
  }
  return sumsOfFour(sums);
}

// One chunk of 8 words: the four outputs are one vector.
NIBBLE_BYTE_DOT inline __m128i dotOfShortNibbles(const std::uint16_t* words, const std::int8_t* x) {
  const __m512i x02 = _mm512_broadcast_i32x4(_mm_loadu_si128(reinterpret_cast<const __m128i*>(x)));
  const __m512i x13 = _mm512_broadcast_i32x4(_mm_loadu_si128(reinterpret_cast<const __m128i*>(x + 16)));
  __m512i sums = addNibbles(_mm512_setzero_si512(), wholeVector(words), x02, x13);
  sums = _mm512_add_epi32(sums, _mm512_shuffle_epi32(sums, _MM_PERM_BADC));
  sums = _mm512_add_epi32(sums, _mm512_shuffle_epi32(sums, _MM_PERM_CDAB));
  const __m512i firsts = _mm512_set_epi32(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 12, 8, 4, 0);
  return _mm512_castsi512_si128(_mm512_permutexvar_epi32(firsts, sums));
}

NIBBLE_BYTE_DOT inline __m128i dotOfBytes(const std::uint16_t* words, std::size_t count, const std::int8_t* x) {
  const __m512i zero = _mm512_setzero_si512();
  DotSums sums{zero, zero, zero, zero};
  std::size_t w = 0;
  for (; w + 32 <= count; w += 32) {
    const __m512i in = wholeVector(x + 2 * w);
    sums.s0 = _mm512_dpbusd_epi32(sums.s0, wholeVector(words + w), in);
    sums.s1 = _mm512_dpbusd_epi32(sums.s1, wholeVector(words + count + w), in);
    sums.s2 = _mm512_dpbusd_epi32(sums.s2, wholeVector(words + 2 * count + w), in);
    sums.s3 = _mm512_dpbusd_epi32(sums.s3, wholeVector(words + 3 * count + w), in);
  }
  if (w < count) {
    const __m512i in = halfVector(x + 2 * w);
    sums.s0 = _mm512_dpbusd_epi32(sums.s0, halfVector(words + w), in);
    sums.s1 = _mm512_dpbusd_epi32(sums.s1, halfVector(words + count + w), in);
    sums.s2 = _mm512_dpbusd_epi32(sums.s2, halfVector(words + 2 * count + w), in);
    sums.s3 = _mm512_dpbusd_epi32(sums.s3, halfVector(words + 3 * count + w), in);
  }
  return sumsOfFour(sums);
}

}  // namespace nibble::kernels::simd::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
#endif  // per-target include guard
