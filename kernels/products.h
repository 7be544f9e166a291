// SPDX-License-Identifier: GPL-3.0-or-later
// Products that a backend does by itself, whole, where it has memory of its own: a device. The CPU's backends have none;
// callers multiply by the loops of kernels/linear.h, piece by piece. A product that is not done leaves its output undefined,
// and the caller's loops do all of it: it was too small to be worth a device, or the backend's notice says why (memory, a lost
// device). All calls are synchronous and thread-safe.
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

namespace nibble::kernels {

// A group of stored rows as files have it.
struct ColumnGroup {
  unsigned bits = 0, rows = 0;  // 2, 3, 4, 5, 6 or 8; a multiple of 32
};

// Weights [inputs, outputs] packed down their columns, as EXL2, MBWQ and GPTQ (without its order) store them: in 32-bit words,
// down one column the codes of a group as a bit stream, low bits first.
//     w[k, n] = scale[g(k), n] * code[k, n] - zero[g(k), n]      halves, one rounding (MBWQ; EXL2 with zero = scale *
//     2^(bits-1))
struct ColumnWeights {
  std::size_t outputs = 0;
  std::span<const ColumnGroup> groups;
  std::span<const std::byte> words;          // [word rows, outputs], 32 bits each
  std::span<const std::byte> scales, zeros;  // [groups, outputs], halves
  std::span<const std::uint32_t> order;      // the input of each stored row; empty: as they stand
};

enum class ProductPath : std::uint8_t {
  Packed,   // from the packed bytes, as long as there are few rows
  Decoded,  // all weights as halves first, then a library's product, where there is one
};

// Weights that a backend holds. x, dy, y and dx are float32, row by row; x and dy are rounded to halves, unless they are ones.
// Errors, against exact sums of the same numbers: at most 2^-23 (terms / 2 + 8) sum |x w|, in an order of the backend's own.
class ColumnProducts {
 public:
  virtual ~ColumnProducts() = default;
  // y[m, n] = sum over k of x[m, order[k]] w[k, n], plus bias[n] where there is one. false: not done.
  virtual bool multiply(const float* x, std::size_t rows, const float* bias, ProductPath path, float* y) const = 0;
  // dx[m, order[k]] = sum over n of dy[m, n] w[k, n].
  virtual bool multiplyBack(const float* dy, std::size_t rows, float* dx) const = 0;
};

class Products {
 public:
  virtual ~Products() = default;
  // Copies the weights to where they are multiplied; what it returns goes before the backend does. Null: not held.
  virtual std::unique_ptr<const ColumnProducts> hold(const ColumnWeights& weights) const = 0;
  // out[r, s] = sum over c of a[r, c] b[s, c], exact: a [aRows, columns], b [bRows, columns], out [aRows, bRows]. At most
  // 131071 columns. false: not done.
  virtual bool integerProducts(const std::int8_t* a, std::size_t aRows, const std::int8_t* b, std::size_t bRows,
                               std::size_t columns, std::int32_t* out) const = 0;
};

}  // namespace nibble::kernels
