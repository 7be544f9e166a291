// SPDX-License-Identifier: GPL-3.0-or-later
// The searches of kernels/math/block_search.h and blocks_iq4.h with one block per SIMD lane: every lane adds in the scalar order,
// so every scale is equal to the bit. Weights lie transposed in tiles: element k of lane l at tile[k * lanes + l].
// Rounding adds 1.5 * 2^23 and takes it away again, which is the scalar magicRound below 2^22; where a candidate leaves that
// range, or a run has no extent, its lane is marked odd and the caller encodes that block by the scalar loop.
// Included once per instruction set.
#if defined(NIBBLE_BLOCK_SEARCH_INL) == defined(HWY_TARGET_TOGGLE)
#ifdef NIBBLE_BLOCK_SEARCH_INL
#undef NIBBLE_BLOCK_SEARCH_INL
#else
#define NIBBLE_BLOCK_SEARCH_INL
#endif

#include "hwy/highway.h"
#include "kernels/math/blocks.h"

HWY_BEFORE_NAMESPACE();
namespace nibble::kernels::simd::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

inline constexpr std::size_t mostLanes = 16;
using Floats = hn::CappedTag<float, mostLanes>;
using Vector = hn::Vec<Floats>;
using Mask = hn::Mask<Floats>;
using Integers = hn::RebindToSigned<Floats>;

inline constexpr float roundingShift = 12582912.0f;  // 1.5 * 2^23

HWY_INLINE Vector set(float value) { return hn::Set(Floats(), value); }

// Whole-number codes as floats: rounded half to even and clamped to [low, high]; |value| below 2^22.
struct CodeRange {
  Vector low, high, shift;
  HWY_INLINE CodeRange(int lowest, int highest)
      : low(set(roundingShift + static_cast<float>(lowest))), high(set(roundingShift + static_cast<float>(highest))), shift(set(roundingShift)) {}
  HWY_INLINE Vector operator()(Vector value) const {
    return hn::Sub(hn::Min(hn::Max(hn::Add(value, shift), low), high), shift);
  }
};

// magicRound of any value whatever, clamped.
HWY_INLINE hn::Vec<Integers> roundedInteger(Vector value, int low, int high) {
  const Integers d;
  const auto bits = hn::And(hn::BitCast(d, hn::Add(value, set(roundingShift))), hn::Set(d, 0x007FFFFF));
  return hn::Min(hn::Max(hn::Sub(bits, hn::Set(d, 0x00400000)), hn::Set(d, low)), hn::Set(d, high));
}

HWY_INLINE Mask inRange(Vector value) { return hn::Lt(hn::Abs(value), set(4194304.0f)); }

// The first of largest magnitude, one by one.
HWY_NOINLINE Vector signedExtremeInOrder(const float* x, std::size_t n) {
  const Floats d;
  Vector largest = hn::Zero(d), extreme = hn::Zero(d);
  for (std::size_t i = 0; i < n; ++i) {
    const Vector value = hn::Load(d, x + i * hn::Lanes(d)), magnitude = hn::Abs(value);
    const Mask greater = hn::Gt(magnitude, largest);
    largest = hn::IfThenElse(greater, magnitude, largest);
    extreme = hn::IfThenElse(greater, value, extreme);
  }
  return extreme;
}

// signedExtreme: the order only matters where a lane has two extremes of equal magnitude.
HWY_INLINE Vector signedExtremeOf(const float* x, std::size_t n) {
  const Floats d;
  Vector low = hn::Load(d, x), high = low;
  for (std::size_t i = 1; i < n; ++i) {
    const Vector value = hn::Load(d, x + i * hn::Lanes(d));
    low = hn::Min(low, value);
    high = hn::Max(high, value);
  }
  const Vector opposite = hn::Neg(low);
  if (HWY_UNLIKELY(!hn::AllFalse(d, hn::Eq(high, opposite)))) return signedExtremeInOrder(x, n);
  return hn::IfThenElse(hn::Gt(high, opposite), high, low);
}

HWY_INLINE Vector sumOfSquaresOf(const float* x, std::size_t n) {
  const Floats d;
  Vector sum = hn::Zero(d);
  for (std::size_t i = 0; i < n; ++i) {
    const Vector value = hn::Load(d, x + i * hn::Lanes(d));
    sum = hn::Add(sum, hn::Mul(value, value));
  }
  return sum;
}

struct Fit {
  Vector scale, minimum;
  Vector inverse, origin;  // what the codes follow from: rne(inverse * (x - origin))
  Mask odd;
};

struct BestFit {
  Vector scale, best, inverse;
  HWY_INLINE void offer(Vector products, Vector squares, Vector candidate) {
    const Floats d;
    const Mask better = hn::And(hn::Gt(squares, hn::Zero(d)), hn::Gt(hn::Mul(products, products), hn::Mul(best, squares)));
    if (hn::AllFalse(d, better)) return;
    const Vector found = hn::Div(products, squares);
    scale = hn::IfThenElse(better, found, scale);
    best = hn::IfThenElse(better, hn::Mul(found, products), best);
    inverse = hn::IfThenElse(better, candidate, inverse);
  }
};

// `count` inverse scales at once: products and squares of each.
template <int count>
HWY_INLINE void signedSums(const float* x, const float* w, std::size_t n, const CodeRange& range, const Vector* inverse, Vector* products,
                           Vector* squares) {
  const Floats d;
  for (int c = 0; c < count; ++c) products[c] = squares[c] = hn::Zero(d);
  for (std::size_t i = 0; i < n; ++i) {
    const Vector value = hn::Load(d, x + i * hn::Lanes(d)), weight = hn::Load(d, w + i * hn::Lanes(d));
    const Vector product = hn::Mul(weight, value);
    for (int c = 0; c < count; ++c) {
      const Vector code = range(hn::Mul(inverse[c], value));
      products[c] = hn::Add(products[c], hn::Mul(product, code));
      squares[c] = hn::Add(squares[c], hn::Mul(hn::Mul(weight, code), code));
    }
  }
}

// fitSigned; odd where the run is all zero.
HWY_INLINE Fit fitSignedOf(const float* x, const float* w, std::size_t n, int top) {
  constexpr int together = 3;
  const Floats d;
  const CodeRange range(-top, top - 1);
  const Vector extreme = signedExtremeOf(x, n);
  Vector inverse[together], products[together], squares[together];
  inverse[0] = hn::Div(set(static_cast<float>(-top)), extreme);
  signedSums<1>(x, w, n, range, inverse, products, squares);
  BestFit best;
  best.scale = hn::IfThenElse(hn::Eq(squares[0], hn::Zero(d)), hn::Zero(d), hn::Div(products[0], squares[0]));
  best.best = hn::Mul(best.scale, products[0]);
  best.inverse = inverse[0];
  for (int first = -9; first <= 9; first += together) {
    if (first == 0) ++first;
    for (int c = 0; c < together; ++c)
      inverse[c] = hn::Div(set(-(static_cast<float>(top) + 0.1f * static_cast<float>(first + c))), extreme);
    signedSums<together>(x, w, n, range, inverse, products, squares);
    for (int c = 0; c < together; ++c) best.offer(products[c], squares[c], inverse[c]);
  }
  return {best.scale, hn::Zero(d), best.inverse, hn::Zero(d), hn::Lt(hn::Abs(extreme), set(blockEpsilon))};
}

// fitSignedByDescent. Few runs move at all (a fifth, of normally distributed weights), and those that do make others wait: so
// the first round is done for every run as if nothing moved, and only runs in which something would are done again, gathered.

// What the fit without one weight says of its level; `sums` are of all weights.
struct SignedStep {
  Vector value, w, level, next, without, squaresWithout;
  Mask proposed;
  HWY_INLINE SignedStep(const float* x, const float* levels, Vector products, Vector squares, int top) {
    const Floats d;
    value = hn::Load(d, x);
    level = hn::Load(d, levels);
    w = hn::Mul(value, value);
    without = hn::Sub(products, hn::Mul(hn::Mul(w, value), level));
    squaresWithout = hn::Sub(squares, hn::Mul(hn::Mul(w, level), level));
    next = hn::ConvertTo(d, roundedInteger(hn::Div(hn::Mul(value, squaresWithout), without), -top, top - 1));
    proposed = hn::And(hn::Gt(without, hn::Zero(d)), hn::Ne(next, level));
  }
};

struct SignedSums {
  Vector products, squares;
  Mask odd;
  [[nodiscard]] HWY_INLINE Vector scale() const {
    const Vector zero = hn::Zero(Floats());
    return hn::IfThenElse(hn::Gt(squares, zero), hn::Div(products, squares), zero);
  }
};

// Levels of a run by its extreme, and their sums.
HWY_INLINE SignedSums startDescent(const float* x, std::size_t n, int top, float* levels) {
  const Floats d;
  const Vector zero = hn::Zero(d), extreme = signedExtremeOf(x, n), inverse = hn::Div(set(static_cast<float>(-top)), extreme);
  const CodeRange range(-top, top - 1);
  SignedSums sums{zero, zero, hn::Lt(hn::Abs(extreme), set(blockEpsilon))};
  for (std::size_t i = 0; i < n; ++i) {
    const Vector value = hn::Load(d, x + i * hn::Lanes(d)), w = hn::Mul(value, value), level = range(hn::Mul(inverse, value));
    hn::Store(level, d, levels + i * hn::Lanes(d));
    sums.products = hn::Add(sums.products, hn::Mul(hn::Mul(w, value), level));
    sums.squares = hn::Add(sums.squares, hn::Mul(hn::Mul(w, level), level));
  }
  return sums;
}

// Whether a level of the run would move, which may then turn out not to.
HWY_INLINE Mask wouldMove(const float* x, std::size_t n, int top, const float* levels, const SignedSums& sums) {
  const Floats d;
  Mask any = hn::Lt(hn::Zero(d), hn::Zero(d));
  for (std::size_t i = 0; i < n; ++i)
    any = hn::Or(any, SignedStep(x + i * hn::Lanes(d), levels + i * hn::Lanes(d), sums.products, sums.squares, top).proposed);
  return any;
}

// Some runs side by side, n weights each, one after the other: every step waits for the one before, so that one run alone would
// leave the machine idle. Branches on what moves would be mispredicted.
template <int runs>
struct Descent {
  const float* x;
  std::size_t n;
  int top;
  float* levels;
  SignedSums sums[runs];

  [[nodiscard]] HWY_INLINE std::size_t placeOf(int run, std::size_t i) const {
    return (static_cast<std::size_t>(run) * n + i) * hn::Lanes(Floats());
  }
  // Takes what improves; which lanes did.
  HWY_INLINE Mask step(int run, std::size_t i) {
    const Floats d;
    SignedSums& sum = sums[run];
    const SignedStep step(x + placeOf(run, i), levels + placeOf(run, i), sum.products, sum.squares, top);
    const Vector products = hn::Add(step.without, hn::Mul(hn::Mul(step.w, step.value), step.next));
    const Vector squares = hn::Add(step.squaresWithout, hn::Mul(hn::Mul(step.w, step.next), step.next));
    const Mask better =
        hn::Gt(hn::Mul(hn::Mul(products, products), sum.squares), hn::Mul(hn::Mul(sum.products, sum.products), squares));
    const Mask move = hn::And(step.proposed, hn::And(hn::Gt(squares, hn::Zero(d)), better));
    hn::Store(hn::IfThenElse(move, step.next, step.level), d, levels + placeOf(run, i));
    sum.products = hn::IfThenElse(move, products, sum.products);
    sum.squares = hn::IfThenElse(move, squares, sum.squares);
    return move;
  }
  // Five rounds at most. A run at rest stays as it is.
  HWY_INLINE void run() {
    const Floats d;
    for (int r = 0; r < runs; ++r) sums[r] = startDescent(x + placeOf(r, 0), n, top, levels + placeOf(r, 0));
    for (int round = 0; round < 5; ++round) {
      Mask moved = hn::Lt(hn::Zero(d), hn::Zero(d));
      for (std::size_t i = 0; i < n; ++i)
        for (int r = 0; r < runs; ++r) moved = hn::Or(moved, step(r, i));
      if (hn::AllFalse(d, moved)) return;
    }
  }
};

struct MinimumRun {
  const float* x;
  const float* w;
  std::size_t n;
  float* codes;  // room for n * lanes floats
};

HWY_INLINE Vector errorOfRun(const MinimumRun& run, Vector scale, Vector shift, bool absolute) {
  const Floats d;
  Vector error = hn::Zero(d);
  for (std::size_t i = 0; i < run.n; ++i) {
    const std::size_t at = i * hn::Lanes(d);
    const Vector difference =
        hn::Sub(hn::Add(hn::Mul(scale, hn::Load(d, run.codes + at)), shift), hn::Load(d, run.x + at));
    error = hn::Add(error, hn::Mul(hn::Load(d, run.w + at), absolute ? hn::Abs(difference) : hn::Mul(difference, difference)));
  }
  return error;
}

// fitWithMinimum; odd where a run has no extent or a candidate leaves the range in which floats round as magicRound does.
HWY_INLINE Fit fitWithMinimumOf(const MinimumRun& run, const MinimumSearch& search) {
  const Floats d;
  const std::size_t lanes = hn::Lanes(d);
  const Vector zero = hn::Zero(d);
  const CodeRange range(0, search.top);
  Vector smallest = hn::Load(d, run.x), largest = smallest, weightSum = hn::Load(d, run.w), sum = hn::Mul(weightSum, smallest);
  for (std::size_t i = 1; i < run.n; ++i) {
    const Vector value = hn::Load(d, run.x + i * lanes), w = hn::Load(d, run.w + i * lanes);
    smallest = hn::IfThenElse(hn::Lt(value, smallest), value, smallest);
    largest = hn::IfThenElse(hn::Gt(value, largest), value, largest);
    weightSum = hn::Add(weightSum, w);
    sum = hn::Add(sum, hn::Mul(w, value));
  }
  Vector shift = hn::IfThenElse(hn::Gt(smallest, zero), zero, smallest);
  Mask odd = hn::Eq(largest, shift);
  const auto watch = [&](Vector inverse) {
    const Mask both = hn::And(inRange(hn::Mul(inverse, hn::Sub(smallest, shift))), inRange(hn::Mul(inverse, hn::Sub(largest, shift))));
    odd = hn::Or(odd, hn::Not(both));
  };
  Fit best{zero, zero, hn::Div(set(static_cast<float>(search.top)), hn::Sub(largest, shift)), shift, odd};
  watch(best.inverse);
  for (std::size_t i = 0; i < run.n; ++i)
    hn::Store(range(hn::Mul(best.inverse, hn::Sub(hn::Load(d, run.x + i * lanes), shift))), d, run.codes + i * lanes);
  best.scale = hn::Div(set(1.0f), best.inverse);
  Vector bestError = errorOfRun(run, best.scale, shift, search.absolute);
  for (int c = 0; c <= search.count; ++c) {
    const float numerator = search.first + search.step * static_cast<float>(c) + static_cast<float>(search.top);
    const Vector inverse = hn::Div(set(numerator), hn::Sub(largest, shift));
    watch(inverse);
    Vector codes = zero, squares = zero, products = zero;
    for (std::size_t i = 0; i < run.n; ++i) {
      const Vector value = hn::Load(d, run.x + i * lanes);
      const Vector code = range(hn::Mul(inverse, hn::Sub(value, shift)));
      hn::Store(code, d, run.codes + i * lanes);
      const Vector weighted = hn::Mul(hn::Load(d, run.w + i * lanes), code);
      codes = hn::Add(codes, weighted);
      squares = hn::Add(squares, hn::Mul(weighted, code));
      products = hn::Add(products, hn::Mul(weighted, value));
    }
    const Vector determinant = hn::Sub(hn::Mul(weightSum, squares), hn::Mul(codes, codes));
    Vector scale = hn::Div(hn::Sub(hn::Mul(weightSum, products), hn::Mul(sum, codes)), determinant);
    Vector newShift = hn::Div(hn::Sub(hn::Mul(squares, sum), hn::Mul(codes, products)), determinant);
    const Mask positive = hn::Gt(newShift, zero);
    scale = hn::IfThenElse(positive, hn::Div(products, squares), scale);
    newShift = hn::IfThenElse(positive, zero, newShift);
    const Vector error = errorOfRun(run, scale, newShift, search.absolute);
    const Mask better = hn::And(hn::Gt(determinant, zero), hn::Lt(error, bestError));
    bestError = hn::IfThenElse(better, error, bestError);
    best.inverse = hn::IfThenElse(better, inverse, best.inverse);
    best.origin = hn::IfThenElse(better, shift, best.origin);
    best.scale = hn::IfThenElse(better, scale, best.scale);
    shift = hn::IfThenElse(better, newShift, shift);
  }
  best.minimum = hn::Neg(shift);
  best.odd = odd;
  return best;
}

// The level nearest to each lane's value (iq4Code): the last one, less the gaps to those that lie beyond a midpoint above it.
HWY_INLINE Vector iq4LevelOf(Vector x) {
  Vector level = set(static_cast<float>(iq4Levels[15]));
  for (int k = 0; k < 15; ++k) {
    const Mask below = hn::Lt(x, set(0.5f * static_cast<float>(iq4Levels[k] + iq4Levels[k + 1])));
    level = hn::Sub(level, hn::IfThenElseZero(below, set(static_cast<float>(iq4Levels[k + 1] - iq4Levels[k]))));
  }
  return level;
}

HWY_INLINE hn::Vec<Integers> iq4CodeOf(Vector x) {
  const Integers d;
  auto code = hn::Set(d, 15);
  for (int k = 0; k < 15; ++k) {
    const Mask below = hn::Lt(x, set(0.5f * static_cast<float>(iq4Levels[k] + iq4Levels[k + 1])));
    code = hn::Add(code, hn::VecFromMask(d, hn::RebindMask(d, below)));
  }
  return code;
}

// fitIq4; 0 where the run is all zero.
HWY_INLINE Vector fitIq4Of(const float* x, const float* w) {
  const Floats d;
  const std::size_t lanes = hn::Lanes(d);
  const Vector zero = hn::Zero(d), extreme = signedExtremeOf(x, 32), lowest = set(static_cast<float>(iq4Levels[0]));
  Vector products, squares;
  const auto sum = [&](Vector inverse) {
    products = squares = zero;
    for (std::size_t i = 0; i < 32; ++i) {
      const Vector value = hn::Load(d, x + i * lanes), level = iq4LevelOf(hn::Mul(inverse, value));
      const Vector weighted = hn::Mul(hn::Load(d, w + i * lanes), level);
      products = hn::Add(products, hn::Mul(weighted, value));
      squares = hn::Add(squares, hn::Mul(weighted, level));
    }
  };
  sum(hn::Div(set(1.0f), hn::Div(hn::Neg(extreme), lowest)));
  BestFit best;
  best.scale = hn::IfThenElse(hn::Gt(squares, zero), hn::Div(products, squares), zero);
  best.best = hn::Mul(best.scale, products);
  best.inverse = zero;
  for (int i = -iq4Tries; i <= iq4Tries; ++i) {
    sum(hn::Div(hn::Add(set(static_cast<float>(i)), lowest), extreme));
    best.offer(products, squares, zero);
  }
  return hn::IfThenElse(hn::Lt(hn::Abs(extreme), set(blockEpsilon)), zero, best.scale);
}

}  // namespace nibble::kernels::simd::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
