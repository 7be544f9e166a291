// SPDX-License-Identifier: GPL-3.0-or-later
// Blocks of GGUF (math/blocks_legacy.h, blocks_k.h) and words of AWQ to float32 weights, each step rounded: scale of the run
// first, then times the code, then the minimum. All pointers are the device's.
#pragma once
#include "kernels/block_type.h"
#include "kernels/cuda/device.h"

namespace nibble::kernels::NIBBLE_CUDA_SPACE {

// `blocks` blocks one after another, as many weights each as blockShape says. q4_0, q4_1, q5_0, q5_1, q8_0 and q2_k .. q6_k; out
// on 16 bytes, blocks on 2. Others are refused.
Outcome launchDecodeBlocks(BlockType type, const std::uint8_t* blocks, std::size_t count, float* out, Stream stream);

// AWQ "gemm": out[k, n] = scales[k / groupRows, n] (code[k, n] - zero[k / groupRows, n]) with words [inputs, outputs / 8] whose
// nibbles, low ones first, are columns 0 2 4 6 1 3 5 7; zeros likewise, scales halves. outputs is a multiple of 8.
struct AwqMatrix {
  const std::uint32_t* words = nullptr;
  const std::uint32_t* zeros = nullptr;
  const std::uint16_t* scales = nullptr;
  std::size_t inputs = 0, outputs = 0, groupRows = 128;
};
Outcome launchDecodeAwq(const AwqMatrix& packed, float* out, Stream stream);

}  // namespace nibble::kernels::NIBBLE_CUDA_SPACE
