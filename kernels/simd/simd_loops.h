// SPDX-License-Identifier: GPL-3.0-or-later
// The SIMD loops of one thread, each dispatched at run time to the best instruction set of the machine. simd_backend.cpp cuts
// work into pieces and calls these. Arithmetic is that of kernels/math, operation by operation, so results are bit-equal to it.
#pragma once
#include "kernels/backend.h"

#include <string_view>
#include <vector>

namespace nibble::kernels {
struct BlockMatrix;
}

namespace nibble::kernels::simd {

// Groups one after another: element k of group g at data[g * groupStride + k].
void rangesContiguous(const float* data, std::size_t groups, std::size_t size, std::size_t groupStride, float* low,
                      float* high);
// Groups side by side: element k of group g at data[g + k * elementStride].
void rangesStrided(const float* data, std::size_t groups, std::size_t size, std::size_t elementStride, float* low, float* high);

void encodeAffineContiguous(const GroupView& view, CodeRule rule, const float* scale, const float* zero, float maxCode,
                            std::uint8_t* codes);
// One weight per group: scale and zero advance with the weights.
void encodeAffineEach(const float* weights, std::size_t count, CodeRule rule, const float* scale, const float* zero,
                      float maxCode, std::uint8_t* codes);
void encodeThresholdsContiguous(const GroupView& view, const float* multiplier, std::span<const float> thresholds,
                                std::span<const std::uint8_t> codeOfRank, std::uint8_t* codes);
void encodeThresholdsEach(const float* weights, std::size_t count, const float* multiplier, std::span<const float> thresholds,
                          std::span<const std::uint8_t> codeOfRank, std::uint8_t* codes);

// The proximal iterations on up to 16 groups whose weights lie transposed: element k of group l at tile[k * 16 + l].
// Adds each iteration's error of group l to errors[iteration * 16 + l]; returns after how many iterations every zero had come
// to rest, or more than settings.iterations.
int halfQuadraticTile(const float* tile, std::size_t groups, std::size_t size, const HalfQuadraticSettings& settings,
                      const float* inverseScale, float* zero, double* errors);
// Transposes `groups` (at most 16) runs of `size` weights, `stride` apart, into a tile; missing groups are 0.
void transposeTile(const float* data, std::size_t groups, std::size_t size, std::size_t stride, float* tile);

void decodeScaleMinusZero(const std::uint8_t* codes, std::size_t groups, std::size_t size, const float* scale,
                          const float* zero, float* out);
void decodeScalePlusBias(const std::uint8_t* codes, std::size_t groups, std::size_t size, const float* scale, const float* bias,
                         float* out);
void decodeTable(const std::uint8_t* codes, std::size_t groups, std::size_t size, const float* scale,
                 std::span<const float> table, float* out);

// Blocks [begin, end) of a matrix as math/blocks.h encodes them, the same bytes; false: there is no SIMD loop for this type.
bool encodeBlockRange(const BlockMatrix& matrix, std::size_t begin, std::size_t end, std::uint8_t* out);
// The types of 32 weights, without importance.
void encodeLegacyBlocks(const BlockMatrix& matrix, std::size_t begin, std::size_t end, std::uint8_t* out);

ErrorSums errorSums(const float* weights, const float* reconstructed, std::size_t count);
ErrorSums encodeAffineMeasured(const GroupView& view, CodeRule rule, AffineValue spelling, const float* scale,
                               const float* zero, float maxCode, const float* valueScale, std::uint8_t* codes,
                               const ErrorBins& bins);
// `reconstructed` null: of the values themselves.
void histogram(const float* values, const float* reconstructed, std::size_t count, float low, float high,
               std::span<std::uint64_t> counts);
std::size_t firstNonFinite(const float* values, std::size_t count);
void widenHalf(const std::uint16_t* in, std::size_t count, float* out);
void widenBfloat(const std::uint16_t* in, std::size_t count, float* out);

// Does nothing but read: the xor of all words. What everything else's speed is compared with.
std::uint64_t readAll(const float* values, std::size_t count);

std::string_view targetName();
// For tests: the instruction sets built in that run here, and the choice of one (0: back to the best).
std::vector<std::int64_t> targets();
std::string_view targetName(std::int64_t target);
void useTarget(std::int64_t target);

}  // namespace nibble::kernels::simd
