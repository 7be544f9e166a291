// SPDX-License-Identifier: GPL-3.0-or-later
// The one product that is not ours: halves times halves into float32, by a library of the device's maker. A table, so that
// tests can stand in for it and programs start without it.
#pragma once
#include "kernels/cuda/outcome.h"

#include <cstddef>
#include <cstdint>
#include <memory>

namespace nibble::kernels {

class DeviceGemm {
 public:
  virtual ~DeviceGemm() = default;
  // out[m, n] = sum over k of a[m, k] b[k, n], float32 sums; `transposed`: b is stored [n, k]. Row by row, on the device.
  virtual Outcome multiply(const std::uint16_t* a, std::size_t m, const std::uint16_t* b, std::size_t k, std::size_t n,
                           bool transposed, float* out, Stream stream) = 0;
};

// cuBLAS 13, 12 or 11, loaded when this is called (nvidia_gemm.cpp). NotBuilt, with what was looked for, if there is none.
Outcome nvidiaGemm(std::unique_ptr<DeviceGemm>* gemm);

}  // namespace nibble::kernels
