// SPDX-License-Identifier: GPL-3.0-or-later
// GGUF's k-quants and iq4, one block per SIMD lane: as many blocks as there are lanes are transposed into tiles, searched side by
// side, and stored one by one by the scalar code of kernels/math. Blocks whose lane is odd (block_search-inl.h), or where a run's
// stored scale is 0, go to the scalar loop whole: they are rare, and their codes come from the search.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/simd/blocks_simd.cpp"
#include "hwy/foreach_target.h"  // compiles this file once per instruction set

#include "hwy/highway.h"
#include "kernels/simd/block_search-inl.h"
#include "kernels/simd/simd_loops.h"

#include <algorithm>

HWY_BEFORE_NAMESPACE();
namespace nibble::kernels::simd::HWY_NAMESPACE {

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
  std::uint32_t odd = 0;  // a bit per lane

  Tile(const BlockMatrix& of, std::size_t begin, std::size_t blocks)
      : matrix(of), first(begin), count(blocks), important(of.importanceOf(begin) != nullptr) {
    const std::size_t lanes = hn::Lanes(Floats()), n = matrix.shape().weights;
    for (std::size_t l = 0; l < lanes; ++l) {
      const std::size_t block = first + std::min(l, count - 1);
      const float* from = matrix.weights + block * n;
      for (std::size_t k = 0; k < n; ++k) x[k * lanes + l] = from[k];
      if (!important) continue;
      const float* weights = matrix.importanceOf(block);
      for (std::size_t k = 0; k < n; ++k) importance[k * lanes + l] = weights[k];
    }
  }
  void mark(Mask mask) {
    const Floats d;
    HWY_ALIGN float ones[mostLanes];
    hn::Store(hn::IfThenElseZero(mask, set(1.0f)), d, ones);
    for (std::size_t l = 0; l < hn::Lanes(d); ++l) odd |= (ones[l] != 0.0f ? 1u : 0u) << l;
  }
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
  void codesOf(std::size_t lane, std::size_t n, std::uint8_t* contiguous) const {
    for (std::size_t k = 0; k < n; ++k) contiguous[k] = codes[k * hn::Lanes(Floats()) + lane];
  }
  void storeCodes(std::size_t k, hn::Vec<Integers> values) {
    const hn::Rebind<std::uint8_t, Floats> bytes;
    hn::StoreU(hn::DemoteTo(bytes, values), bytes, codes + k * hn::Lanes(Floats()));
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

// Hands odd lanes to the scalar loop and calls body(lane, bytes) for the others.
template <class Body>
void forEachLane(const Tile& tile, std::uint8_t* out, const Body& body) {
  for (std::size_t l = 0; l < tile.count; ++l) {
    if (tile.isOdd(l))
      kernels::encodeBlockRange(tile.matrix, tile.first + l, tile.first + l + 1, out);
    else
      body(l, tile.bytesOf(l, out));
  }
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
  for (std::size_t k = 0; k < superBlock; ++k) {
    const std::size_t j = k / kind.run * lanes;
    const Vector shifted = hn::Add(hn::Load(d, tile.x + k * lanes), hn::Load(d, tile.minimum + j));
    tile.storeCodes(k, roundedInteger(hn::Div(shifted, hn::Load(d, tile.scale + j)), 0, kind.top));
  }
  forEachLane(tile, out, [&](std::size_t l, std::uint8_t* bytes) {
    std::uint8_t codes[superBlock];
    tile.codesOf(l, superBlock, codes);
    packCodes(kind, codes, bytes);
  });
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
    const bool descent = middle == 4 && !tile.important;
    const Fit fit = descent ? fitByDescentOf(x, 16, middle, tile.codesOfRun) : fitSignedOf(x, w, 16, middle);
    hn::Store(fit.scale, d, tile.scale + j * lanes);
    tile.mark(fit.odd);
  }
}

void encodeSignedTile(Tile& tile, int middle, std::uint8_t* out) {
  const Floats d;
  const std::size_t lanes = hn::Lanes(d);
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
  for (std::size_t k = 0; k < superBlock; ++k) {
    const Vector quotient = hn::Div(hn::Load(d, tile.x + k * lanes), hn::Load(d, tile.scale + k / 16 * lanes));
    tile.storeCodes(k, hn::Add(roundedInteger(quotient, -middle, middle - 1), hn::Set(Integers(), middle)));
  }
  forEachLane(tile, out, [&](std::size_t l, std::uint8_t* bytes) {
    std::uint8_t codes[superBlock];
    tile.codesOf(l, superBlock, codes);
    if (middle == 32) return packSixBitCodes(codes, bytes, bytes + 128);
    packBitPlane(codes, 2, bytes);
    packPairs(codes, 0, bytes + 32);
  });
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
  for (std::size_t k = 0; k < 32 * runs; ++k)
    tile.storeCodes(k, iq4CodeOf(hn::Mul(hn::Load(d, tile.scale + k / 32 * lanes), hn::Load(d, tile.x + k * lanes))));
  forEachLane(tile, out, [&](std::size_t l, std::uint8_t* bytes) {
    std::uint8_t codes[superBlock];
    tile.codesOf(l, 32 * runs, codes);
    packNibbles(codes, 32 * runs, 16, bytes + (runs == 8 ? 8 : 2));
  });
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
