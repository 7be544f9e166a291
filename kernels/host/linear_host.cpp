// SPDX-License-Identifier: GPL-3.0-or-later
#include "kernels/linear.h"

namespace nibble::kernels {
namespace {

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
};

}  // namespace

const LinearLoops& hostLinearLoops() {
  static const HostLinearLoops loops;
  return loops;
}

}  // namespace nibble::kernels
