// SPDX-License-Identifier: GPL-3.0-or-later
// Turning rows of weights into tiles (element k of lane l at tile[k * lanes + l]), and tiles of bytes back into rows.
// Included once per instruction set.
#if defined(NIBBLE_TILES_INL) == defined(HWY_TARGET_TOGGLE)
#ifdef NIBBLE_TILES_INL
#undef NIBBLE_TILES_INL
#else
#define NIBBLE_TILES_INL
#endif

#include "hwy/highway.h"

#include <cstddef>
#include <cstdint>

HWY_BEFORE_NAMESPACE();
namespace nibble::kernels::simd::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// `lanes` rows of n weights into a tile. Four rows by four weights at a time: as many shuffles as any other way, in few
// registers.
template <std::size_t lanes>
HWY_INLINE void tileOfRows(const float* const* rows, std::size_t n, float* tile) {
  std::size_t k = 0;
#if HWY_TARGET != HWY_SCALAR
  const hn::Full128<float> d;
  const hn::Full128<double> wide;
  const auto lower = [&](auto a, auto b) {
    return hn::BitCast(d, hn::InterleaveLower(wide, hn::BitCast(wide, a), hn::BitCast(wide, b)));
  };
  const auto upper = [&](auto a, auto b) {
    return hn::BitCast(d, hn::InterleaveUpper(wide, hn::BitCast(wide, a), hn::BitCast(wide, b)));
  };
  if constexpr (lanes % 4 == 0)
    for (; k + 4 <= n; k += 4) {
      for (std::size_t l = 0; l < lanes; l += 4) {
        const auto a = hn::LoadU(d, rows[l] + k), b = hn::LoadU(d, rows[l + 1] + k), c = hn::LoadU(d, rows[l + 2] + k),
                   e = hn::LoadU(d, rows[l + 3] + k);
        const auto ab = hn::InterleaveLower(d, a, b), ce = hn::InterleaveLower(d, c, e), ab2 = hn::InterleaveUpper(d, a, b),
                   ce2 = hn::InterleaveUpper(d, c, e);
        hn::StoreU(lower(ab, ce), d, tile + k * lanes + l);
        hn::StoreU(upper(ab, ce), d, tile + (k + 1) * lanes + l);
        hn::StoreU(lower(ab2, ce2), d, tile + (k + 2) * lanes + l);
        hn::StoreU(upper(ab2, ce2), d, tile + (k + 3) * lanes + l);
      }
    }
#endif
  for (; k < n; ++k)
    for (std::size_t l = 0; l < lanes; ++l) tile[k * lanes + l] = rows[l][k];
}

// A tile of n x `lanes` bytes, n a multiple of 16, into rows. Interleaving the first half of all registers with the second
// turns the bits of an index by one; four turns bring the lane before the four bits of k.
template <std::size_t lanes>
HWY_INLINE void rowsOfTile(const std::uint8_t* tile, std::size_t n, std::uint8_t* const* rows) {
#if HWY_TARGET != HWY_SCALAR
  if constexpr (lanes % 4 == 0) {
    const hn::Full128<std::uint8_t> d;
    using Bytes = hn::Vec<decltype(d)>;
    for (std::size_t k = 0; k < n; k += 16) {
      Bytes now[lanes], next[lanes];
      for (std::size_t i = 0; i < lanes; ++i) now[i] = hn::LoadU(d, tile + k * lanes + 16 * i);
      const auto turn = [&](const Bytes* from, Bytes* to) {
        for (std::size_t i = 0; i < lanes / 2; ++i) {
          to[2 * i] = hn::InterleaveLower(d, from[i], from[i + lanes / 2]);
          to[2 * i + 1] = hn::InterleaveUpper(d, from[i], from[i + lanes / 2]);
        }
      };
      turn(now, next);
      turn(next, now);
      turn(now, next);
      turn(next, now);
      for (std::size_t l = 0; l < lanes; ++l) hn::StoreU(now[l], d, rows[l] + k);
    }
    return;
  }
#endif
  for (std::size_t k = 0; k < n; ++k)
    for (std::size_t l = 0; l < lanes; ++l) rows[l][k] = tile[k * lanes + l];
}

// Four vectors of integers 0..255 one after the other as bytes; `Floats` are the lanes they have.
template <class Floats, class V>
HWY_INLINE void storeBytes(Floats, V a, V b, V c, V e, std::uint8_t* out) {
  constexpr std::size_t lanes = hn::MaxLanes(Floats());
#if HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_AVX3_DL
  if constexpr (lanes == 16) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(out), _mm512_cvtepi32_epi8(a.raw));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(out + 16), _mm512_cvtepi32_epi8(b.raw));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(out + 32), _mm512_cvtepi32_epi8(c.raw));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(out + 48), _mm512_cvtepi32_epi8(e.raw));
    return;
  }
#endif
#if HWY_TARGET == HWY_AVX2 || HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_AVX3_DL
  if constexpr (lanes == 8) {  // packing works on halves: a permutation at the end puts all right at once
    const __m256i packed = _mm256_packus_epi16(_mm256_packs_epi32(a.raw, b.raw), _mm256_packs_epi32(c.raw, e.raw));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(out),
                        _mm256_permutevar8x32_epi32(packed, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7)));
    return;
  }
#endif
  const hn::Rebind<std::uint8_t, Floats> bytes;
  hn::StoreU(hn::DemoteTo(bytes, a), bytes, out);
  hn::StoreU(hn::DemoteTo(bytes, b), bytes, out + lanes);
  hn::StoreU(hn::DemoteTo(bytes, c), bytes, out + 2 * lanes);
  hn::StoreU(hn::DemoteTo(bytes, e), bytes, out + 3 * lanes);
}

}  // namespace nibble::kernels::simd::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
