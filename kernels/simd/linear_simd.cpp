// SPDX-License-Identifier: GPL-3.0-or-later
// Integer products: bytes widened to 16 bits, multiplied and added in pairs to 32 bits (one instruction on most machines), four
// rows of b against each row of a, so that a load of a serves four sums.
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

}  // namespace nibble::kernels::simd::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace nibble::kernels {
namespace simd {

HWY_EXPORT(integerProducts);

namespace {

class SimdLinearLoops final : public LinearLoops {
 public:
  void integerProducts(const std::int8_t* a, std::size_t aRows, const std::int8_t* b, std::size_t bRows, std::size_t columns,
                       std::int32_t* out) const override {
    HWY_DYNAMIC_DISPATCH(integerProducts)(a, aRows, b, bRows, columns, out);
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
