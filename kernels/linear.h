// SPDX-License-Identifier: GPL-3.0-or-later
// Products of matrices on raw views, for linear layers: by reference loops (host) and by SIMD. All loops run on the calling
// thread; callers cut work into pieces. Integer sums are exact; float sums have one order, written below, and every product and
// sum is rounded by itself: results are equal on both to the bit.
#pragma once
#include <cstddef>
#include <cstdint>

namespace nibble::kernels {

class Backend;

// A float matrix that is read or written in part: element (r, c) is data[r * rowStep + c * columnStep].
template <class T>
struct Strided {
  T* data = nullptr;
  std::size_t rowStep = 0, columnStep = 1;
};

inline constexpr std::size_t productLanes = 16;

class LinearLoops {
 public:
  virtual ~LinearLoops() = default;
  // out[r, s] = sum over c of a[r, c] b[s, c]: a [aRows, columns], b [bRows, columns], out [aRows, bRows]. At most 131071
  // columns.
  virtual void integerProducts(const std::int8_t* a, std::size_t aRows, const std::int8_t* b, std::size_t bRows,
                               std::size_t columns, std::int32_t* out) const = 0;
  // The same in float32: lane j of 16 adds the products of columns j, j + 16, ... in this order, then lane j takes lane j + 8,
  // j + 4, j + 2 and j + 1.
  virtual void floatProducts(const float* a, std::size_t aRows, const float* b, std::size_t bRows, std::size_t columns,
                             float* out) const = 0;
  // out[r, c] += sum over s of a[r, s] b[s, c], s ascending, one addition to out's element each: a [aRows, bRows],
  // b [bRows, columns], out [aRows, columns]; the column steps of b and out are 1.
  virtual void addProducts(Strided<const float> a, std::size_t aRows, Strided<const float> b, std::size_t bRows,
                           std::size_t columns, Strided<float> out) const = 0;
};

// Of a backend; one that has none of its own is served by the default CPU loops.
const LinearLoops& linearLoops(const Backend& backend);
const LinearLoops& hostLinearLoops();
const LinearLoops& simdLinearLoops();

}  // namespace nibble::kernels
