// SPDX-License-Identifier: GPL-3.0-or-later
// device.h's words for nvcc. Included by device.h alone.
#pragma once
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#define NIBBLE_KERNEL __global__ void
#define NIBBLE_DEVICE __device__ inline
// The most threads a block has: ptxas fits the registers to it.
#define NIBBLE_THREADS(threads) __launch_bounds__(threads)

namespace nibble::kernels::cuda {

NIBBLE_DEVICE unsigned threadIndex() {
  return threadIdx.x;
}
NIBBLE_DEVICE unsigned blockSize() {
  return blockDim.x;
}
NIBBLE_DEVICE unsigned blockX() {
  return blockIdx.x;
}
NIBBLE_DEVICE unsigned blockY() {
  return blockIdx.y;
}
NIBBLE_DEVICE unsigned gridX() {
  return gridDim.x;
}
NIBBLE_DEVICE unsigned gridY() {
  return gridDim.y;
}

template <class T>
NIBBLE_DEVICE T load(const T* from) {
  return *from;
}
template <class T>
NIBBLE_DEVICE void store(T* to, T value) {
  *to = value;
}
// What is read or written once and not again: past the first cache.
NIBBLE_DEVICE Quad<std::uint32_t> loadOnce(const Quad<std::uint32_t>* from) {
  const uint4 q = __ldcs(reinterpret_cast<const uint4*>(from));
  return {{q.x, q.y, q.z, q.w}};
}
NIBBLE_DEVICE std::uint32_t loadOnce(const std::uint32_t* from) {
  return __ldcs(from);
}
NIBBLE_DEVICE Quad<float> loadOnce(const Quad<float>* from) {
  const float4 q = __ldcs(reinterpret_cast<const float4*>(from));
  return {{q.x, q.y, q.z, q.w}};
}
NIBBLE_DEVICE float loadOnce(const float* from) {
  return __ldcs(from);
}
NIBBLE_DEVICE void addAtomically(std::uint64_t* to, std::uint64_t value) {
  atomicAdd(reinterpret_cast<unsigned long long*>(to), static_cast<unsigned long long>(value));
}
NIBBLE_DEVICE void leastAtomically(std::uint64_t* to, std::uint64_t value) {
  atomicMin(reinterpret_cast<unsigned long long*>(to), static_cast<unsigned long long>(value));
}

extern __shared__ unsigned char sharedArena[];

// `count` elements of the block's shared memory, from a byte offset on.
template <class T>
class Shared {
 public:
  __device__ Shared(std::size_t offset, std::size_t) : m_data(reinterpret_cast<T*>(sharedArena + offset)) {}
  __device__ T get(std::size_t i) const { return m_data[i]; }
  __device__ void set(std::size_t i, T value) const { m_data[i] = value; }
  __device__ void add(std::size_t i, T value) const { atomicAdd(m_data + i, value); }
  // Sixteen bytes from global memory, asynchronously: there after awaitCopies and a barrier.
  __device__ void copyLater(std::size_t i, const T* from) const {
    static_assert(sizeof(T) == 16);
    const auto to = static_cast<unsigned>(__cvta_generic_to_shared(m_data + i));
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(to), "l"(from) : "memory");
  }

 private:
  T* m_data;
};

NIBBLE_DEVICE void syncThreads() {
  __syncthreads();
}
NIBBLE_DEVICE void syncWarp() {
  __syncwarp();
}
// Copies since the last call form a group; awaitCopies<n> waits until at most n groups are under way.
NIBBLE_DEVICE void closeCopies() {
  asm volatile("cp.async.commit_group;" ::: "memory");
}
template <int pending>
NIBBLE_DEVICE void awaitCopies() {
  asm volatile("cp.async.wait_group %0;" ::"n"(pending) : "memory");
}

template <class T>
NIBBLE_DEVICE T shuffleXor(T value, unsigned distance) {
  return __shfl_xor_sync(wholeWarp, value, distance);
}
template <class T>
NIBBLE_DEVICE T shuffleFrom(T value, unsigned lane) {
  return __shfl_sync(wholeWarp, value, lane);
}
NIBBLE_DEVICE unsigned ballot(bool value) {
  return __ballot_sync(wholeWarp, value);
}

// d += A B for one 16 x 16 tile of halves times a 16 x 8 one, float32 accumulators, fragments as the instruction has them:
// with g = lane / 4 and t = lane % 4, a[0..3] hold the pairs (row g, columns 2t 2t+1), (g + 8, same), (g, + 8), (g + 8, + 8);
// b[0..1] the pairs (rows 2t 2t+1, column g), (rows + 8, g); d[0..3] (g, 2t), (g, 2t+1), (g + 8, 2t), (g + 8, 2t+1).
NIBBLE_DEVICE void multiplyTile(float (&d)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2]) {
  asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
               : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
// The same of signed bytes with 32-bit sums, 16 x 32 times 32 x 8: the pairs above are four bytes, columns 4t .. 4t + 3 and 16
// more.
NIBBLE_DEVICE void multiplyByteTile(std::int32_t (&d)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2]) {
  asm volatile("mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
               : "+r"(d[0]), "+r"(d[1]), "+r"(d[2]), "+r"(d[3])
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

NIBBLE_DEVICE float halfToNumber(std::uint16_t bits) {
  return __half2float(__ushort_as_half(bits));
}
NIBBLE_DEVICE std::uint16_t numberToHalf(float value) {
  return __half_as_ushort(__float2half_rn(value));
}
// scale * code - zero, rounded once to half; scale and zero are halves, code at most 255.
NIBBLE_DEVICE std::uint16_t fusedHalf(std::uint16_t scale, unsigned code, std::uint16_t zero) {
  return __half_as_ushort(__hfma(__uint2half_rn(code), __ushort_as_half(scale), __hneg(__ushort_as_half(zero))));
}
// Two of them at once, each with its own scale and zero: pairs of halves, the first in the low 16 bits. A half with the bits
// 0x6400 + code is 1024 + code.
NIBBLE_DEVICE std::uint32_t fusedHalves(std::uint32_t scales, unsigned code0, unsigned code1, std::uint32_t zeros) {
  const std::uint32_t biased = 0x64006400u | code0 | code1 << 16, bias = 0x64006400u;
  const auto half2Of = [](std::uint32_t bits) { return *reinterpret_cast<const __half2*>(&bits); };
  const __half2 sum = __hfma2(__hsub2(half2Of(biased), half2Of(bias)), half2Of(scales), __hneg2(half2Of(zeros)));
  return *reinterpret_cast<const std::uint32_t*>(&sum);
}
NIBBLE_DEVICE float fused(float a, float b, float c) {
  return __fmaf_rn(a, b, c);
}
// The 32 bits from bit `shift` (0..31) of low, high.
NIBBLE_DEVICE std::uint32_t funnel(std::uint32_t low, std::uint32_t high, unsigned shift) {
  return __funnelshift_r(low, high, shift);
}

// Queues the kernel; a device's refusal comes back at once, what goes wrong inside shows when the stream is waited for.
template <class... Parameters, class... Arguments>
Outcome launch(void (*kernel)(Parameters...), GridSize grid, unsigned block, std::size_t sharedBytes, Stream stream,
               Arguments... arguments) {
  if (stream == nullptr) return Outcome::failed(Fault::BadCall, "a kernel on the default stream");
  cudaLaunchConfig_t config = {};
  config.gridDim = dim3(grid.x, grid.y);
  config.blockDim = dim3(block);
  config.dynamicSmemBytes = sharedBytes;
  config.stream = reinterpret_cast<cudaStream_t>(stream);
  const cudaError_t error = cudaLaunchKernelEx(&config, kernel, static_cast<Parameters>(arguments)...);
  if (error == cudaSuccess) return {};
  return Outcome::failed(error == cudaErrorMemoryAllocation ? Fault::NoMemory : Fault::Lost,
                         std::string("launching a kernel: ") + cudaGetErrorString(error));
}

}  // namespace nibble::kernels::cuda
