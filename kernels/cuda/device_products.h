// SPDX-License-Identifier: GPL-3.0-or-later
// A device's products (kernels/products.h): weights held in its memory, numbers through slots, the kernels by the number of
// rows:
//   up to 4     vector_product.cu
//   up to 64    skinny_product.cu and backward_product.cu
//   more        decoded once for each strip, then the maker's library; without it in strips of 64
#pragma once
#include "kernels/cuda/columns.h"
#include "kernels/cuda/device_work.h"
#include "kernels/products.h"

namespace nibble::kernels::NIBBLE_CUDA_SPACE {

class DeviceProducts final : public Products {
 public:
  // Fewer multiplications than `least` are left to the CPU. `work` outlives this and what it holds.
  DeviceProducts(DeviceWork& work, std::size_t least) : m_work(work), m_least(least) {}
  std::unique_ptr<const ColumnProducts> hold(const ColumnWeights& weights) const override;
  bool integerProducts(const std::int8_t* a, std::size_t aRows, const std::int8_t* b, std::size_t bRows, std::size_t columns,
                       std::int32_t* out) const override;

 private:
  DeviceWork& m_work;
  std::size_t m_least;
};

}  // namespace nibble::kernels::NIBBLE_CUDA_SPACE
