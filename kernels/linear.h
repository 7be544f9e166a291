// SPDX-License-Identifier: GPL-3.0-or-later
// Products of quantized matrices on raw views, for linear layers: by reference loops (host) and by SIMD. All loops run on the
// calling thread; callers cut work into pieces. Integer sums are exact, so that results are equal on both to the bit.
#pragma once
#include <cstddef>
#include <cstdint>

namespace nibble::kernels {

class Backend;

class LinearLoops {
 public:
  virtual ~LinearLoops() = default;
  // out[r, s] = sum over c of a[r, c] b[s, c]: a [aRows, columns], b [bRows, columns], out [aRows, bRows]. At most 131071 columns.
  virtual void integerProducts(const std::int8_t* a, std::size_t aRows, const std::int8_t* b, std::size_t bRows,
                               std::size_t columns, std::int32_t* out) const = 0;
};

// Of a backend; one that has none of its own is served by the default CPU loops.
const LinearLoops& linearLoops(const Backend& backend);
const LinearLoops& hostLinearLoops();
const LinearLoops& simdLinearLoops();

}  // namespace nibble::kernels
