// SPDX-License-Identifier: GPL-3.0-or-later
// Products of many rows (more than mostSkinnyRows): the weights are decoded to halves once, then a library multiplies. The
// activations are rounded to halves; sums are float32, in the library's order. All pointers are the device's.
#pragma once
#include "kernels/cuda/columns.h"
#include "kernels/cuda/gemm.h"

namespace nibble::kernels::NIBBLE_CUDA_SPACE {

inline constexpr std::size_t mostLargeRows = 65535;

// 16-bit numbers of scratch: the weights and the activations (or gradients).
std::size_t largeHalves(const PackedColumns& packed, std::size_t rows);
// y = x W + bias as launchVectorProduct. parts: rows x outputs floats of scratch, used where there is a bias.
Outcome launchLargeProduct(const PackedColumns& packed, const float* x, std::size_t rows, const float* bias, DeviceGemm& gemm,
                           std::uint16_t* halves, float* parts, float* y, Stream stream);
// dx = dy W^T as launchBackwardProduct.
Outcome launchLargeBackward(const PackedColumns& packed, const float* dy, std::size_t rows, DeviceGemm& gemm,
                            std::uint16_t* halves, float* dx, Stream stream);

}  // namespace nibble::kernels::NIBBLE_CUDA_SPACE
