// SPDX-License-Identifier: GPL-3.0-or-later
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/simd/half_quadratic_simd.cpp"
#include "hwy/foreach_target.h"  // compiles this file once per instruction set

#include "hwy/highway.h"
#include "kernels/math/half_quadratic.h"
#include "kernels/simd/simd_loops.h"
#include "kernels/simd/tiles-inl.h"

#include <algorithm>

HWY_BEFORE_NAMESPACE();
namespace nibble::kernels::simd::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using Floats = hn::CappedTag<float, halfQuadraticLanes>;
using Vector = hn::Vec<Floats>;

// A tile and the parameters of its groups, one per lane.
struct Tile {
  const float* data;
  std::size_t size;
  float maxCode;
  Shrink shrink;
  HWY_ALIGN float inverse[halfQuadraticLanes];
  HWY_ALIGN float scale[halfQuadraticLanes];
  HWY_ALIGN float limit[halfQuadraticLanes];
  HWY_ALIGN float zero[halfQuadraticLanes];
};

struct Sums {
  HWY_ALIGN float error[halfQuadraticLanes];
  HWY_ALIGN float term[halfQuadraticLanes];
};

// Weights begin..end of one lane alone, by the scalar formula with shrink.
void blockOfLane(const Tile& tile, std::size_t begin, std::size_t end, std::size_t lane, Sums& sums) {
  const HalfQuadraticGroup group(tile.inverse[lane], tile.zero[lane], tile.shrink);
  float error = 0, term = 0;
  for (std::size_t k = begin; k < end; ++k) {
    const HalfQuadraticTerm one = halfQuadraticTerm(tile.data[k * halfQuadraticLanes + lane], group, tile.maxCode, tile.shrink);
    error += one.error;
    term += one.term;
  }
  sums.error[lane] = error;
  sums.term[lane] = term;
}

// Weights begin..end of the lanes from `first` on. Residuals beyond the limit send their lane to the scalar formula.
HWY_INLINE void block(const Tile& tile, std::size_t begin, std::size_t end, std::size_t first, Sums& sums) {
  const Floats d;
  const Vector inverse = hn::Load(d, tile.inverse + first), zero = hn::Load(d, tile.zero + first);
  const Vector top = hn::Set(d, tile.maxCode), none = hn::Zero(d);
  Vector error = none, term = none, worst = none;
  for (std::size_t k = begin; k < end; ++k) {
    const Vector scaled = hn::Mul(hn::LoadU(d, tile.data + k * halfQuadraticLanes + first), inverse);
    const Vector x = hn::Add(scaled, zero);
    const Vector code = hn::Round(hn::Min(hn::Max(x, none), top));
    const Vector residual = hn::Abs(hn::Sub(x, code));
    worst = hn::Max(worst, residual);
    error = hn::Add(error, residual);
    term = hn::Add(term, hn::Sub(code, scaled));
  }
  hn::Store(error, d, sums.error + first);
  hn::Store(term, d, sums.term + first);
  const auto beyond = hn::Gt(worst, hn::Load(d, tile.limit + first));
  if (HWY_LIKELY(hn::AllFalse(d, beyond))) return;
  HWY_ALIGN float worsts[halfQuadraticLanes];
  hn::Store(worst, d, worsts);
  for (std::size_t l = 0; l < hn::Lanes(d); ++l)
    if (worsts[l] > tile.limit[first + l]) blockOfLane(tile, begin, end, first + l, sums);
}

// One iteration of the lanes from `first` on: replaces their zeros and errors; whether no zero changed.
HWY_INLINE bool iterate(Tile& tile, std::size_t first, double* errors) {
  const std::size_t last = first + hn::Lanes(Floats());
  double error[halfQuadraticLanes] = {}, sum[halfQuadraticLanes] = {};
  Sums sums;
  for (std::size_t begin = 0; begin < tile.size; begin += halfQuadraticBlock) {
    block(tile, begin, std::min(tile.size, begin + halfQuadraticBlock), first, sums);
    for (std::size_t l = first; l < last; ++l) {
      error[l] += static_cast<double>(sums.error[l]);
      sum[l] += static_cast<double>(sums.term[l]);
    }
  }
  bool same = true;
  for (std::size_t l = first; l < last; ++l) {
    const auto next = static_cast<float>(sum[l] / static_cast<double>(tile.size));
    same = same && next == tile.zero[l];
    tile.zero[l] = next;
    errors[l] = error[l] * static_cast<double>(tile.scale[l]);
  }
  return same;
}

int halfQuadraticTile(const float* data, std::size_t groups, std::size_t size, const HalfQuadraticSettings& settings,
                      const float* inverseScale, float* zero, double* errors) {
  Tile tile{data, size, settings.maxCode, Shrink(settings), {}, {}, {}, {}};
  for (std::size_t l = 0; l < halfQuadraticLanes; ++l) {
    const HalfQuadraticGroup group(l < groups ? inverseScale[l] : 1.0f, l < groups ? zero[l] : 0.0f, tile.shrink);
    tile.inverse[l] = group.inverseScale;
    tile.scale[l] = group.scale;
    tile.limit[l] = group.limit;
    tile.zero[l] = group.zero;
  }
  const std::size_t lanes = hn::Lanes(Floats());
  int rest = 0;
  for (std::size_t first = 0; first < groups; first += lanes) {
    double error[halfQuadraticLanes];
    bool fixed = false;
    int fixedAfter = settings.iterations + 1;
    for (int i = 0; i < settings.iterations; ++i) {
      // At a fixed point every further iteration repeats this one.
      if (!fixed) {
        fixed = iterate(tile, first, error);
        if (fixed) fixedAfter = i;
      }
      for (std::size_t l = first; l < std::min(groups, first + lanes); ++l)
        errors[static_cast<std::size_t>(i) * halfQuadraticLanes + l] += error[l];
    }
    rest = std::max(rest, fixedAfter);
  }
  std::copy(tile.zero, tile.zero + groups, zero);
  return rest;
}

void transposeTile(const float* data, std::size_t groups, std::size_t size, std::size_t stride, float* tile) {
  const float* rows[halfQuadraticLanes];
  for (std::size_t l = 0; l < halfQuadraticLanes; ++l) rows[l] = data + std::min(l, groups - 1) * stride;
  tileOfRows<halfQuadraticLanes>(rows, size, tile);
  for (std::size_t l = groups; l < halfQuadraticLanes; ++l)
    for (std::size_t k = 0; k < size; ++k) tile[k * halfQuadraticLanes + l] = 0;
}

}  // namespace nibble::kernels::simd::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace nibble::kernels::simd {

HWY_EXPORT(halfQuadraticTile);
HWY_EXPORT(transposeTile);

int halfQuadraticTile(const float* tile, std::size_t groups, std::size_t size, const HalfQuadraticSettings& settings,
                      const float* inverseScale, float* zero, double* errors) {
  return HWY_DYNAMIC_DISPATCH(halfQuadraticTile)(tile, groups, size, settings, inverseScale, zero, errors);
}
void transposeTile(const float* data, std::size_t groups, std::size_t size, std::size_t stride, float* tile) {
  HWY_DYNAMIC_DISPATCH(transposeTile)(data, groups, size, stride, tile);
}

}  // namespace nibble::kernels::simd
#endif  // HWY_ONCE
