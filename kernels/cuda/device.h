// SPDX-License-Identifier: GPL-3.0-or-later
// The words kernels are written in: indices, memory, shared memory, barriers, warp operations, the launch. One kernel source
// serves twice: nvcc compiles it over device_gpu.h, any C++ compiler over device_host.h, where tests run it under an emulator
// that checks and counts every access. Kernels use nothing else, and have no conditional compilation in their bodies.
// Blocks are one-dimensional, grids two-dimensional, a warp has 32 threads.
#pragma once
#include "kernels/cuda/outcome.h"
#include "kernels/math/both.h"

#include <cstddef>
#include <cstdint>

// Where kernels and the host code over them live: the same sources make both.
#ifdef NIBBLE_EMULATED
#define NIBBLE_CUDA_SPACE emulated
#else
#define NIBBLE_CUDA_SPACE cuda
#endif

namespace nibble::kernels::NIBBLE_CUDA_SPACE {

// Two and four numbers that are loaded and stored at once.
template <class T>
struct alignas(2 * sizeof(T)) Pair {
  T v[2];
};
template <class T>
struct alignas(4 * sizeof(T)) Quad {
  T v[4];
};

inline constexpr unsigned warpSize32 = 32, wholeWarp = 0xFFFFFFFFu;

inline bool isAligned(const void* pointer, std::size_t bytes) {
  return reinterpret_cast<std::uintptr_t>(pointer) % bytes == 0;
}
NIBBLE_BOTH constexpr std::size_t ceilDiv(std::size_t a, std::size_t b) {
  return (a + b - 1) / b;
}

}  // namespace nibble::kernels::NIBBLE_CUDA_SPACE

// Host code that only calls launches needs neither.
#ifdef __CUDACC__
#include "kernels/cuda/device_gpu.h"
#elif defined(NIBBLE_EMULATED)
#include "kernels/cuda/device_host.h"
#endif
