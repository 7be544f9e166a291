// SPDX-License-Identifier: GPL-3.0-or-later
// GGUF's k-quants and iq4, one block per SIMD lane: as many blocks as there are lanes are transposed into tiles, searched and
// packed side by side, and turned back into blocks; scales are stored by the scalar code of kernels/math. Blocks whose lane is
// odd (block_search-inl.h), or where a run's stored scale is 0, go to the scalar loop whole: they are rare, and their codes come
// from the search.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/simd/blocks_simd.cpp"
#include "hwy/foreach_target.h"  // compiles this file once per instruction set

#include "hwy/highway.h"
#include "kernels/simd/block_search-inl.h"
#include "kernels/simd/simd_loops.h"
#include "kernels/simd/tiles-inl.h"

#include <algorithm>
#include <bit>

HWY_BEFORE_NAMESPACE();
namespace nibble::kernels::simd::HWY_NAMESPACE {

constexpr std::size_t tileLanes = hn::MaxLanes(Floats());

// A bit per lane.
HWY_INLINE std::uint32_t bitsOf(Mask mask) {
  std::uint8_t bits[8] = {};
  hn::StoreMaskBits(Floats(), mask, bits);
  return static_cast<std::uint32_t>(bits[0] | bits[1] << 8);
}

// Some blocks of a matrix side by side. Lanes beyond `count` repeat the last block.
struct Tile {
  const BlockMatrix& matrix;
  std::size_t first, count;
  bool important;
  HWY_ALIGN float x[superBlock * mostLanes];
  HWY_ALIGN float importance[superBlock * mostLanes];
  HWY_ALIGN float w[32 * mostLanes];
  HWY_ALIGN float codesOfRun[32 * mostLanes];
  HWY_ALIGN float scale[16 * mostLanes];    // run j of lane l at j * lanes + l; later as stored
  HWY_ALIGN float minimum[16 * mostLanes];
  HWY_ALIGN float weightSum[16 * mostLanes];
  HWY_ALIGN std::uint8_t codes[superBlock * mostLanes];
  HWY_ALIGN std::uint8_t packed[192 * mostLanes];  // bytes of codes, as codes lie
  std::uint32_t odd = 0;  // a bit per lane

  Tile(const BlockMatrix& of, std::size_t begin, std::size_t blocks)
      : matrix(of), first(begin), count(blocks), important(of.importanceOf(begin) != nullptr) {
    const float* rows[mostLanes];
    const float* importanceRows[mostLanes];
    for (std::size_t l = 0; l < tileLanes; ++l) {
      const std::size_t block = first + std::min(l, count - 1);
      rows[l] = matrix.weights + block * matrix.shape().weights;
      if (important) importanceRows[l] = matrix.importanceOf(block);
    }
    tileOfRows<tileLanes>(rows, matrix.shape().weights, x);
    if (important) tileOfRows<tileLanes>(importanceRows, matrix.shape().weights, importance);
  }
  void mark(Mask mask) { odd |= bitsOf(mask); }
  [[nodiscard]] bool isOdd(std::size_t lane) const { return (odd >> lane & 1) != 0; }
  [[nodiscard]] std::uint8_t* bytesOf(std::size_t lane, std::uint8_t* out) const {
    return out + (first + lane) * matrix.shape().bytes;
  }
  void gather(const float* tile, std::size_t lane, std::size_t n, float* values) const {
    for (std::size_t j = 0; j < n; ++j) values[j] = tile[j * hn::Lanes(Floats()) + lane];
  }
  void scatter(const float* values, std::size_t lane, std::size_t n, float* tile) const {
    for (std::size_t j = 0; j < n; ++j) tile[j * hn::Lanes(Floats()) + lane] = values[j];
  }
  // Codes of all weights: of(k) of weight k.
  template <class Of>
  HWY_INLINE void storeCodes(std::size_t n, const Of& of) {
    for (std::size_t k = 0; k < n; k += 4) storeBytes(Floats(), of(k), of(k + 1), of(k + 2), of(k + 3), codes + k * tileLanes);
  }
};

// importance * sqrt(spread + x^2) of a run into tile.w, and the sum of that.
void weighRun(Tile& tile, std::size_t begin, std::size_t n, Vector spread, float* sumOut) {
  const Floats d;
  const std::size_t lanes = hn::Lanes(d);
  Vector sum = hn::Zero(d);
  for (std::size_t i = 0; i < n; ++i) {
    const Vector x = hn::Load(d, tile.x + (begin + i) * lanes);
    const Vector w = hn::Mul(hn::Load(d, tile.importance + (begin + i) * lanes), hn::Sqrt(hn::Add(spread, hn::Mul(x, x))));
    hn::Store(w, d, tile.w + i * lanes);
    sum = hn::Add(sum, w);
  }
  hn::Store(sum, d, sumOut);
}

void weighBySquare(Tile& tile, std::size_t begin, std::size_t n) {
  const Floats d;
  for (std::size_t i = 0; i < n; ++i) {
    const Vector x = hn::Load(d, tile.x + (begin + i) * hn::Lanes(d));
    hn::Store(hn::Mul(x, x), d, tile.w + i * hn::Lanes(d));
  }
}

// plainRunWeights.
void weighPlainly(const MinimumKind& kind, Tile& tile, std::size_t begin) {
  const Floats d;
  const std::size_t lanes = hn::Lanes(d);
  const float* x = tile.x + begin * lanes;
  const Vector level = kind.top == 3 ? hn::Zero(d)
                                     : hn::Sqrt(hn::Div(sumOfSquaresOf(x, kind.run), set(static_cast<float>(kind.run))));
  for (std::size_t i = 0; i < kind.run; ++i)
    hn::Store(hn::Add(level, hn::Abs(hn::Load(d, x + i * lanes))), d, tile.w + i * lanes);
}

// Packing of kernels/math/block_bytes.h for all lanes: what it does with bytes is done with rows of a tile.
using Bytes = hn::CappedTag<std::uint8_t, 64>;

// Out of `count` rows, the low four bits of those `distance` apart.
void packNibbleRows(const std::uint8_t* codes, std::size_t count, std::size_t distance, std::uint8_t* out) {
  const Bytes d;
  const std::size_t half = distance * tileLanes;
  const auto low = hn::Set(d, 15);
  for (std::size_t run = 0; run < count * tileLanes; run += 2 * half, codes += 2 * half, out += half)
    for (std::size_t j = 0; j < half; j += hn::Lanes(d))
      hn::StoreU(hn::Or(hn::And(hn::LoadU(d, codes + j), low), hn::ShiftLeft<4>(hn::LoadU(d, codes + half + j))), d, out + j);
}

template <int shift>
void packPairRows(const std::uint8_t* codes, std::uint8_t* out) {
  const Bytes d;
  constexpr std::size_t part = 32 * tileLanes;
  const auto two = [&](const std::uint8_t* from) { return hn::And(hn::ShiftRight<shift>(hn::LoadU(d, from)), hn::Set(d, 3)); };
  for (std::size_t run = 0; run < 2; ++run, codes += 4 * part, out += part)
    for (std::size_t j = 0; j < part; j += hn::Lanes(d)) {
      const std::uint8_t* c = codes + j;
      const auto low = hn::Or(two(c), hn::ShiftLeft<2>(two(c + part)));
      const auto high = hn::Or(hn::ShiftLeft<4>(two(c + 2 * part)), hn::ShiftLeft<6>(two(c + 3 * part)));
      hn::StoreU(hn::Or(low, high), d, out + j);
    }
}

template <int shift>
void packBitRows(const std::uint8_t* codes, std::uint8_t* out) {
  const Bytes d;
  constexpr std::size_t part = 32 * tileLanes;
  const auto bit = [&](const std::uint8_t* from) { return hn::And(hn::ShiftRight<shift>(hn::LoadU(d, from)), hn::Set(d, 1)); };
  for (std::size_t j = 0; j < part; j += hn::Lanes(d)) {
    auto bits = bit(codes + 7 * part + j);
    for (std::size_t k = 7; k-- > 0;) bits = hn::Or(hn::Add(bits, bits), bit(codes + k * part + j));
    hn::StoreU(bits, d, out + j);
  }
}

// Rows of packed bytes to their place in each block; odd lanes go to the scalar loop, whole.
void finishBlocks(const Tile& tile, std::size_t rows, std::size_t at, std::uint8_t* out) {
  std::uint8_t unused[192];
  std::uint8_t* to[mostLanes];
  for (std::size_t l = 0; l < tileLanes; ++l) to[l] = l < tile.count ? tile.bytesOf(l, out) + at : unused;
  rowsOfTile<tileLanes>(tile.packed, rows, to);
  for (std::size_t l = 0; l < tile.count; ++l)
    if (tile.isOdd(l)) kernels::encodeBlockRange(tile.matrix, tile.first + l, tile.first + l + 1, out);
}

void markZeroScales(Tile& tile, std::size_t lane, const float* scales, std::size_t runs) {
  for (std::size_t j = 0; j < runs; ++j)
    if (scales[j] == 0.0f) tile.odd |= 1u << lane;
}

void encodeMinimaTile(const MinimumKind& kind, Tile& tile, std::uint8_t* out) {
  const Floats d;
  const std::size_t lanes = hn::Lanes(d), runs = superBlock / kind.run;
  const Vector spread = hn::Div(hn::Mul(set(kind.spread), sumOfSquaresOf(tile.x, superBlock)), set(static_cast<float>(superBlock)));
  for (std::size_t j = 0; j < runs; ++j) {
    if (tile.important)
      weighRun(tile, j * kind.run, kind.run, spread, tile.weightSum + j * lanes);
    else
      weighPlainly(kind, tile, j * kind.run);
    const Fit fit = fitWithMinimumOf({tile.x + j * kind.run * lanes, tile.w, kind.run, tile.codesOfRun},
                                     tile.important ? weightedSearch(kind.top) : kind.plain);
    hn::Store(fit.scale, d, tile.scale + j * lanes);
    hn::Store(fit.minimum, d, tile.minimum + j * lanes);
    tile.mark(fit.odd);
  }
  for (std::size_t l = 0; l < tile.count; ++l) {
    RunScales scales;
    float weightSums[16];
    tile.gather(tile.scale, l, runs, scales.scale);
    tile.gather(tile.minimum, l, runs, scales.minimum);
    if (tile.important) tile.gather(tile.weightSum, l, runs, weightSums);
    storeRunScales(kind, tile.important ? weightSums : nullptr, scales, tile.bytesOf(l, out));
    markZeroScales(tile, l, scales.scale, runs);
    tile.scatter(scales.scale, l, runs, tile.scale);
    tile.scatter(scales.minimum, l, runs, tile.minimum);
  }
  tile.storeCodes(superBlock, [&](std::size_t k) HWY_ATTR {
    const std::size_t j = k / kind.run * lanes;
    const Vector shifted = hn::Add(hn::Load(d, tile.x + k * lanes), hn::Load(d, tile.minimum + j));
    return roundedInteger(hn::Div(shifted, hn::Load(d, tile.scale + j)), 0, kind.top);
  });
  if (kind.top == 3) {
    packPairRows<0>(tile.codes, tile.packed);
    return finishBlocks(tile, 64, 16, out);
  }
  if (kind.top == 31) packBitRows<4>(tile.codes, tile.packed);
  const std::size_t bits = kind.top == 31 ? 32 : 0;
  packNibbleRows(tile.codes, superBlock, 32, tile.packed + bits * lanes);
  finishBlocks(tile, bits + 128, 16, out);
}

// q3_k and q6_k: scales of sixteen runs of 16, then codes around a middle.
void searchSignedRuns(Tile& tile, int middle) {
  const Floats d;
  const std::size_t lanes = hn::Lanes(d);
  const Vector spread = hn::Div(hn::Mul(set(2.0f), sumOfSquaresOf(tile.x, superBlock)), set(static_cast<float>(superBlock)));
  for (std::size_t j = 0; j < 16; ++j) {
    const float* x = tile.x + 16 * j * lanes;
    const float* w = tile.w;
    if (middle == 32 && tile.important) {
      w = tile.importance + 16 * j * lanes;
    } else if (tile.important) {
      weighRun(tile, 16 * j, 16, spread, tile.weightSum + j * lanes);
    } else {
      weighBySquare(tile, 16 * j, 16);
    }
    const Fit fit = fitSignedOf(x, w, 16, middle);
    hn::Store(fit.scale, d, tile.scale + j * lanes);
    tile.mark(fit.odd);
  }
}

// q3_k without importance. Runs that would move are gathered, as many as `Descent` takes at a time.
class Movers {
 public:
  static constexpr int together = 4;
  static constexpr std::size_t room = together * tileLanes, run = 16;

  Movers(Tile& tile, int middle) : m_tile(tile), m_middle(middle) {}
  void add(std::size_t j, std::size_t lane) {
    const std::size_t slot = m_count++;
    m_scale[slot] = m_tile.scale + j * tileLanes + lane;
    const float* from = m_tile.x + j * run * tileLanes + lane;
    float* to = m_x + slot / tileLanes * run * tileLanes + slot % tileLanes;
    for (std::size_t i = 0; i < run; ++i) to[i * tileLanes] = from[i * tileLanes];
    if (m_count == room) finish();
  }
  HWY_NOINLINE void finish() {
    if (m_count == 0) return;
    Descent<together> descent{m_x, run, m_middle, m_levels, {}};
    descent.run();
    HWY_ALIGN float scales[room];
    for (std::size_t r = 0; r < together; ++r) hn::Store(descent.sums[r].scale(), Floats(), scales + r * tileLanes);
    for (std::size_t slot = 0; slot < m_count; ++slot) *m_scale[slot] = scales[slot];
    m_count = 0;
  }

 private:
  Tile& m_tile;
  int m_middle;
  std::size_t m_count = 0;
  float* m_scale[room];
  HWY_ALIGN float m_x[run * room] = {};
  HWY_ALIGN float m_levels[run * room];
};

void descendRuns(Tile& tile, int middle) {
  constexpr std::size_t runsOfWord = 64 / tileLanes;
  const Floats d;
  std::uint64_t moving[16 / runsOfWord + 1] = {};
  for (std::size_t j = 0; j < 16; ++j) {
    const float* x = tile.x + 16 * j * tileLanes;
    const SignedSums sums = startDescent(x, 16, middle, tile.codesOfRun);
    hn::Store(sums.scale(), d, tile.scale + j * tileLanes);
    tile.mark(sums.odd);
    moving[j / runsOfWord] |= static_cast<std::uint64_t>(bitsOf(wouldMove(x, 16, middle, tile.codesOfRun, sums)))
                              << j % runsOfWord * tileLanes;
  }
  Movers movers(tile, middle);
  for (std::size_t first = 0; first < 16; first += runsOfWord)
    for (std::uint64_t bits = moving[first / runsOfWord]; bits != 0; bits &= bits - 1) {
      const auto at = static_cast<std::size_t>(std::countr_zero(bits));
      movers.add(first + at / tileLanes, at % tileLanes);
    }
  movers.finish();
}

void encodeSignedTile(Tile& tile, int middle, std::uint8_t* out) {
  const Floats d;
  const std::size_t lanes = hn::Lanes(d);
  if (middle == 4 && !tile.important)
    descendRuns(tile, middle);
  else
    searchSignedRuns(tile, middle);
  for (std::size_t l = 0; l < tile.count; ++l) {
    if (tile.isOdd(l)) continue;
    float scales[16], weightSums[16];
    tile.gather(tile.scale, l, 16, scales);
    if (middle == 4) {
      if (tile.important) tile.gather(tile.weightSum, l, 16, weightSums);
      storeScalesQ3_K(tile.important ? weightSums : nullptr, scales, tile.bytesOf(l, out));
    } else if (!storeScalesQ6_K(scales, tile.bytesOf(l, out))) {
      tile.odd |= 1u << l;
    }
    markZeroScales(tile, l, scales, 16);
    tile.scatter(scales, l, 16, tile.scale);
  }
  tile.storeCodes(superBlock, [&](std::size_t k) HWY_ATTR {
    const Vector quotient = hn::Div(hn::Load(d, tile.x + k * lanes), hn::Load(d, tile.scale + k / 16 * lanes));
    return hn::Add(roundedInteger(quotient, -middle, middle - 1), hn::Set(Integers(), middle));
  });
  if (middle == 32) {
    packNibbleRows(tile.codes, superBlock, 64, tile.packed);
    packPairRows<4>(tile.codes, tile.packed + 128 * lanes);
    return finishBlocks(tile, 192, 0, out);
  }
  packBitRows<2>(tile.codes, tile.packed);
  packPairRows<0>(tile.codes, tile.packed + 32 * lanes);
  finishBlocks(tile, 96, 0, out);
}

void encodeIq4Tile(Tile& tile, std::size_t runs, std::uint8_t* out) {
  const Floats d;
  const std::size_t lanes = hn::Lanes(d);
  const Vector spread = hn::Mul(sumOfSquaresOf(tile.x, 32 * runs), set(2.0f / static_cast<float>(32 * runs)));
  for (std::size_t j = 0; j < runs; ++j) {
    if (tile.important)
      weighRun(tile, 32 * j, 32, spread, tile.weightSum);
    else
      weighBySquare(tile, 32 * j, 32);
    hn::Store(fitIq4Of(tile.x + 32 * j * lanes, tile.w), d, tile.scale + j * lanes);
  }
  for (std::size_t l = 0; l < tile.count; ++l) {
    float scales[8], inverses[8];
    tile.gather(tile.scale, l, runs, scales);
    if (runs == 8) {
      storeIq4Scales(scales, tile.bytesOf(l, out), inverses);
    } else {
      storeHalf(tile.bytesOf(l, out), scales[0]);
      inverses[0] = reciprocalOrZero(scales[0]);
    }
    tile.scatter(inverses, l, runs, tile.scale);
  }
  tile.storeCodes(32 * runs, [&](std::size_t k) HWY_ATTR {
    return iq4CodeOf(hn::Mul(hn::Load(d, tile.scale + k / 32 * lanes), hn::Load(d, tile.x + k * lanes)));
  });
  packNibbleRows(tile.codes, 32 * runs, 16, tile.packed);
  finishBlocks(tile, 16 * runs, runs == 8 ? 8 : 2, out);
}

void encodeTile(Tile& tile, std::uint8_t* out) {
  switch (tile.matrix.type) {
    case BlockType::Q2_K: return encodeMinimaTile(kindQ2_K, tile, out);
    case BlockType::Q4_K: return encodeMinimaTile(kindQ4_K, tile, out);
    case BlockType::Q5_K: return encodeMinimaTile(kindQ5_K, tile, out);
    case BlockType::Q3_K: return encodeSignedTile(tile, 4, out);
    case BlockType::Q6_K: return encodeSignedTile(tile, 32, out);
    case BlockType::IQ4_NL: return encodeIq4Tile(tile, 1, out);
    case BlockType::IQ4_XS: return encodeIq4Tile(tile, 8, out);
    default: return;
  }
}

void encodeSearchedBlocks(const BlockMatrix& matrix, std::size_t begin, std::size_t end, std::uint8_t* out) {
  const std::size_t lanes = hn::Lanes(Floats());
  for (std::size_t first = begin; first < end; first += lanes) {
    Tile tile(matrix, first, std::min(lanes, end - first));
    encodeTile(tile, out);
  }
}

}  // namespace nibble::kernels::simd::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace nibble::kernels::simd {

HWY_EXPORT(encodeSearchedBlocks);

bool encodeBlockRange(const BlockMatrix& matrix, std::size_t begin, std::size_t end, std::uint8_t* out) {
  switch (matrix.type) {
    case BlockType::Q2_K:
    case BlockType::Q3_K:
    case BlockType::Q4_K:
    case BlockType::Q5_K:
    case BlockType::Q6_K:
    case BlockType::IQ4_NL:
    case BlockType::IQ4_XS: HWY_DYNAMIC_DISPATCH(encodeSearchedBlocks)(matrix, begin, end, out); return true;
    case BlockType::Q4_0:
    case BlockType::Q4_1:
    case BlockType::Q5_0:
    case BlockType::Q5_1:
    case BlockType::Q8_0:
      if (matrix.importanceOf(begin) != nullptr) return false;
      encodeLegacyBlocks(matrix, begin, end, out);
      return true;
    default: return false;
  }
}

}  // namespace nibble::kernels::simd
#endif  // HWY_ONCE
