// SPDX-License-Identifier: GPL-3.0-or-later
#include "kernels/linear.h"

namespace nibble::kernels {
namespace {

float dot(const float* a, const float* b, std::size_t columns) {
  float lanes[productLanes] = {};
  for (std::size_t c = 0; c < columns; ++c) lanes[c % productLanes] += a[c] * b[c];
  for (std::size_t half = productLanes / 2; half > 0; half /= 2)
    for (std::size_t j = 0; j < half; ++j) lanes[j] += lanes[j + half];
  return lanes[0];
}

class HostLinearLoops final : public LinearLoops {
 public:
  void integerProducts(const std::int8_t* a, std::size_t aRows, const std::int8_t* b, std::size_t bRows, std::size_t columns,
                       std::int32_t* out) const override {
    for (std::size_t r = 0; r < aRows; ++r) {
      for (std::size_t s = 0; s < bRows; ++s) {
        std::int32_t sum = 0;
        for (std::size_t c = 0; c < columns; ++c) sum += a[r * columns + c] * b[s * columns + c];
        out[r * bRows + s] = sum;
      }
    }
  }

  void floatProducts(const float* a, std::size_t aRows, const float* b, std::size_t bRows, std::size_t columns,
                     float* out) const override {
    for (std::size_t r = 0; r < aRows; ++r)
      for (std::size_t s = 0; s < bRows; ++s) out[r * bRows + s] = dot(a + r * columns, b + s * columns, columns);
  }

  void addProducts(Strided<const float> a, std::size_t aRows, Strided<const float> b, std::size_t bRows, std::size_t columns,
                   Strided<float> out) const override {
    for (std::size_t r = 0; r < aRows; ++r) {
      for (std::size_t s = 0; s < bRows; ++s) {
        const float factor = a.data[r * a.rowStep + s * a.columnStep];
        for (std::size_t c = 0; c < columns; ++c) out.data[r * out.rowStep + c] += factor * b.data[s * b.rowStep + c];
      }
    }
  }
};

}  // namespace

const LinearLoops& hostLinearLoops() {
  static const HostLinearLoops loops;
  return loops;
}

}  // namespace nibble::kernels
