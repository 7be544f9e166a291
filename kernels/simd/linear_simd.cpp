// SPDX-License-Identifier: GPL-3.0-or-later
// Integer products: bytes widened to 16 bits, multiplied and added in pairs to 32 bits (one instruction on most machines), four
// rows of b against each row of a, so that a load of a serves four sums. Float products likewise; whatever a vector holds,
// sixteen lanes add up, so that the order of sums does not depend on it.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/simd/linear_simd.cpp"
#include "hwy/foreach_target.h"  // compiles this file once per instruction set

#include "hwy/highway.h"
#include "kernels/linear.h"

HWY_BEFORE_NAMESPACE();
namespace nibble::kernels::simd::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using Shorts = hn::ScalableTag<std::int16_t>;
using Words = hn::ScalableTag<std::int32_t>;

HWY_INLINE hn::Vec<Shorts> loadBytes(const std::int8_t* from) {
  const Shorts shorts;
  return hn::PromoteTo(shorts, hn::LoadU(hn::Rebind<std::int8_t, Shorts>(), from));
}

template <std::size_t rows>
void productsOfRow(const std::int8_t* a, const std::int8_t* b, std::size_t columns, std::int32_t* out) {
  const Words words;
  const std::size_t lanes = hn::Lanes(Shorts());
  const auto none = hn::Zero(words);
  auto s0 = none, s1 = none, s2 = none, s3 = none;
  auto t0 = none, t1 = none, t2 = none, t3 = none;  // the odd products, where pairs are not added by one instruction
  std::size_t c = 0;
  for (; c + lanes <= columns; c += lanes) {
    const auto x = loadBytes(a + c);
    s0 = hn::ReorderWidenMulAccumulate(words, x, loadBytes(b + c), s0, t0);
    if constexpr (rows > 1) {
      s1 = hn::ReorderWidenMulAccumulate(words, x, loadBytes(b + columns + c), s1, t1);
      s2 = hn::ReorderWidenMulAccumulate(words, x, loadBytes(b + 2 * columns + c), s2, t2);
      s3 = hn::ReorderWidenMulAccumulate(words, x, loadBytes(b + 3 * columns + c), s3, t3);
    }
  }
  const auto total = [&](auto sum, auto odd, const std::int8_t* row) {
    std::int32_t result = hn::GetLane(hn::SumOfLanes(words, hn::Add(sum, odd)));
    for (std::size_t i = c; i < columns; ++i) result += a[i] * row[i];
    return result;
  };
  out[0] = total(s0, t0, b);
  if constexpr (rows > 1) {
    out[1] = total(s1, t1, b + columns);
    out[2] = total(s2, t2, b + 2 * columns);
    out[3] = total(s3, t3, b + 3 * columns);
  }
}

void integerProducts(const std::int8_t* a, std::size_t aRows, const std::int8_t* b, std::size_t bRows, std::size_t columns,
                     std::int32_t* out) {
  for (std::size_t r = 0; r < aRows; ++r) {
    std::size_t s = 0;
    for (; s + 4 <= bRows; s += 4) productsOfRow<4>(a + r * columns, b + s * columns, columns, out + r * bRows + s);
    for (; s < bRows; ++s) productsOfRow<1>(a + r * columns, b + s * columns, columns, out + r * bRows + s);
  }
}

using Floats = hn::CappedTag<float, productLanes>;

inline float sumOfLanes(float* lanes) {
  for (std::size_t half = productLanes / 2; half > 0; half /= 2)
    for (std::size_t j = 0; j < half; ++j) lanes[j] += lanes[j + half];
  return lanes[0];
}

template <std::size_t rows>
void floatProductsOfRow(const float* a, const float* b, std::size_t columns, float* out) {
  const Floats d;
  constexpr std::size_t lanes = hn::MaxLanes(Floats()), parts = productLanes / lanes;
  hn::Vec<Floats> sums[rows][parts];
  for (std::size_t r = 0; r < rows; ++r)
    for (std::size_t part = 0; part < parts; ++part) sums[r][part] = hn::Zero(d);
  std::size_t c = 0;
  for (; c + productLanes <= columns; c += productLanes) {
    for (std::size_t part = 0; part < parts; ++part) {
      const auto x = hn::LoadU(d, a + c + part * lanes);
      for (std::size_t r = 0; r < rows; ++r)
        sums[r][part] = hn::Add(sums[r][part], hn::Mul(x, hn::LoadU(d, b + r * columns + c + part * lanes)));
    }
  }
  for (std::size_t r = 0; r < rows; ++r) {
    HWY_ALIGN float all[productLanes];
    for (std::size_t part = 0; part < parts; ++part) hn::Store(sums[r][part], d, all + part * lanes);
    for (std::size_t i = c; i < columns; ++i) all[i - c] += a[i] * b[r * columns + i];
    out[r] = sumOfLanes(all);
  }
}

void floatProducts(const float* a, std::size_t aRows, const float* b, std::size_t bRows, std::size_t columns, float* out) {
  for (std::size_t r = 0; r < aRows; ++r) {
    std::size_t s = 0;
    for (; s + 4 <= bRows; s += 4) floatProductsOfRow<4>(a + r * columns, b + s * columns, columns, out + r * bRows + s);
    for (; s < bRows; ++s) floatProductsOfRow<1>(a + r * columns, b + s * columns, columns, out + r * bRows + s);
  }
}

// Columns [c, c + width) of one row of out, in registers while all rows of b go by.
template <std::size_t vectors>
void addProductsAt(const float* a, std::size_t aStep, const float* b, std::size_t bStep, std::size_t bRows, float* out) {
  const hn::ScalableTag<float> d;
  const std::size_t lanes = hn::Lanes(d);
  hn::Vec<hn::ScalableTag<float>> sums[vectors];
  for (std::size_t v = 0; v < vectors; ++v) sums[v] = hn::LoadU(d, out + v * lanes);
  for (std::size_t s = 0; s < bRows; ++s) {
    const auto factor = hn::Set(d, a[s * aStep]);
    for (std::size_t v = 0; v < vectors; ++v) sums[v] = hn::Add(sums[v], hn::Mul(factor, hn::LoadU(d, b + s * bStep + v * lanes)));
  }
  for (std::size_t v = 0; v < vectors; ++v) hn::StoreU(sums[v], d, out + v * lanes);
}

void addProducts(Strided<const float> a, std::size_t aRows, Strided<const float> b, std::size_t bRows, std::size_t columns,
                 Strided<float> out) {
  const std::size_t lanes = hn::Lanes(hn::ScalableTag<float>());
  for (std::size_t r = 0; r < aRows; ++r) {
    const float* factors = a.data + r * a.rowStep;
    float* to = out.data + r * out.rowStep;
    std::size_t c = 0;
    for (; c + 8 * lanes <= columns; c += 8 * lanes)
      addProductsAt<8>(factors, a.columnStep, b.data + c, b.rowStep, bRows, to + c);
    for (; c + lanes <= columns; c += lanes) addProductsAt<1>(factors, a.columnStep, b.data + c, b.rowStep, bRows, to + c);
    for (; c < columns; ++c)
      for (std::size_t s = 0; s < bRows; ++s) to[c] += factors[s * a.columnStep] * b.data[s * b.rowStep + c];
  }
}

}  // namespace nibble::kernels::simd::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace nibble::kernels {
namespace simd {

HWY_EXPORT(integerProducts);
HWY_EXPORT(floatProducts);
HWY_EXPORT(addProducts);

namespace {

class SimdLinearLoops final : public LinearLoops {
 public:
  void integerProducts(const std::int8_t* a, std::size_t aRows, const std::int8_t* b, std::size_t bRows, std::size_t columns,
                       std::int32_t* out) const override {
    HWY_DYNAMIC_DISPATCH(integerProducts)(a, aRows, b, bRows, columns, out);
  }
  void floatProducts(const float* a, std::size_t aRows, const float* b, std::size_t bRows, std::size_t columns,
                     float* out) const override {
    HWY_DYNAMIC_DISPATCH(floatProducts)(a, aRows, b, bRows, columns, out);
  }
  void addProducts(Strided<const float> a, std::size_t aRows, Strided<const float> b, std::size_t bRows, std::size_t columns,
                   Strided<float> out) const override {
    HWY_DYNAMIC_DISPATCH(addProducts)(a, aRows, b, bRows, columns, out);
  }
};

}  // namespace
}  // namespace simd

const LinearLoops& simdLinearLoops() {
  static const simd::SimdLinearLoops loops;
  return loops;
}

}  // namespace nibble::kernels
#endif  // HWY_ONCE
