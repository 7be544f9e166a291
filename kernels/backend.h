// SPDX-License-Identifier: GPL-3.0-or-later
// The backends: the same arithmetic on raw views, by reference loops (host), by SIMD and threads (simd), by CUDA (cuda).
// Codes, ranges and every sum that decides a code are equal on all of them to the bit; error sums agree to 1e-12 relative.
// Tests, the command line and the window loop over `allBackends()`. All calls are synchronous, thread-safe and re-entrant.
// Rounding is half to even. Inputs are finite (callers check with firstNonFinite).
#pragma once
#include "kernels/block_type.h"

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace nibble::kernels {

class Products;

// Groups of weights in a flat array: element k of group g is data[g * groupStride + k * elementStride].
// Contiguous groups: strides (size, 1). Columns of a matrix and HQQ axis 0: strides (1, groups).
struct GroupView {
  const float* data = nullptr;
  std::size_t groups = 0;
  std::size_t size = 0;
  std::size_t groupStride = 0;
  std::size_t elementStride = 1;
  static GroupView contiguous(const float* data, std::size_t groups, std::size_t size) { return {data, groups, size, size, 1}; }
  static GroupView strided(const float* data, std::size_t groups, std::size_t size) { return {data, groups, size, 1, groups}; }
};

// How a code comes out of a weight w, a scale s and a zero z of its group; all float32, each operation rounded, then clamped to
// [0, maxCode]. Whether a scheme divides or multiplies is part of its formula (a few codes per million differ).
enum class CodeRule : std::uint8_t {
  DivideRoundAdd,       // rne(w / s) + z          affine integers
  DivideAddRound,       // rne(w / s + z)          document 001's per-tensor weights
  SubtractDivideRound,  // rne((w - z) / s)        document 000: z is the group's minimum
  MultiplyAddRound,     // rne(w * s + z)          HQQ: s is the inverse scale, z in code units
};

// How a code becomes a weight again, float32, each operation rounded.
enum class AffineValue : std::uint8_t {
  ScaleMinusZero,  // scale * (code - offset)
  ScalePlusBias,   // scale * code + offset
};

// Sums over weights w and their reconstruction r, e = w - r and all sums in double. Mergeable. Four sums say all: those with r
// follow from r = w - e.
struct ErrorSums {
  std::uint64_t count = 0;
  double error = 0, errorSquared = 0;         // sum e, e^2
  double weightSquared = 0, weightError = 0;  // sum w^2, w e
  float maxError = 0;                         // max |e|, the difference rounded to float32
  ErrorSums& operator+=(const ErrorSums& more);
  [[nodiscard]] double product() const { return weightSquared - weightError; }  // sum w r
  [[nodiscard]] double reconstructedSquared() const {                           // sum r^2
    const double sum = weightSquared - 2 * weightError + errorSquared;
    return sum > 0 ? sum : 0;  // where r is nearly nothing, rounding is what is left
  }
};

// A histogram of errors to count into: see errorHistogram. No counts: none is wanted.
struct ErrorBins {
  float low = 0, high = 0;
  std::span<std::uint64_t> counts;
};

struct HalfQuadraticSettings {
  float p = 0.7f, beta = 10.0f;
  int iterations = 20;
  float maxCode = 15;
};

class Backend {
 public:
  virtual ~Backend() = default;
  [[nodiscard]] virtual std::string_view name() const = 0;         // "host", "simd", "cuda"
  [[nodiscard]] virtual std::string_view description() const = 0;  // "AVX2, 2 threads"
  // Empty when it can run on this machine, else why not.
  [[nodiscard]] virtual std::string_view unusableReason() const { return {}; }
  // Empty, or what people should hear about work done so far: that parts of it, or all from some time on, were done elsewhere.
  // Results are the same.
  [[nodiscard]] virtual std::string notice() const { return {}; }

  // Runs body(begin, end) over [0, count) in pieces of `grain` (the last one shorter), in parallel where the backend has
  // threads.
  virtual void parallelFor(std::size_t count, std::size_t grain, const struct RangeBody& body) const = 0;

  // Smallest and largest element of each group.
  virtual void ranges(const GroupView& view, float* low, float* high) const = 0;
  // One code per element, stored where the element stands (same strides as the view).
  virtual void encodeAffine(const GroupView& view, CodeRule rule, const float* scale, const float* zero, int maxCode,
                            std::uint8_t* codes) const = 0;
  // x = w * multiplier[group]; code = codeOfRank[number of thresholds < x]. At most 255 ascending thresholds.
  virtual void encodeThresholds(const GroupView& view, const float* multiplier, std::span<const float> thresholds,
                                std::span<const std::uint8_t> codeOfRank, std::uint8_t* codes) const = 0;
  // HQQ's proximal iterations (math/half_quadratic.h) on some groups: `zero` goes from the first zeros to those after
  // settings.iterations iterations. The loop ends early on the error of the *whole* tensor, which a caller that sees all groups
  // decides (halfQuadraticStop) and, where groups were still moving, runs again with fewer iterations. For that it gets
  // chunkErrors[c * iterations + i], the sum of |w - reconstruction| of chunk c (256 groups) seen by iteration i, and
  // restAfter[g], a number of iterations after which zero g no longer changes (more than settings.iterations: not at rest).
  virtual void halfQuadratic(const GroupView& view, const HalfQuadraticSettings& settings, const float* inverseScale,
                             float* zero, double* chunkErrors, int* restAfter) const = 0;

  // GGUF blocks (math/blocks.h) of a [rows, columns] matrix, row by row. columns is a multiple of the type's weights per block;
  // out holds rows * columns / weights * bytes. importance: one number >= 0 per column, or null. The types with a blockEncoder.
  virtual void encodeBlocks(BlockType type, const float* weights, std::size_t rows, std::size_t columns,
                            const float* importance, std::uint8_t* out) const = 0;

  // value = scale * (code - zero) of `size` elements of each contiguous group, float32 with each step rounded; scale, zero one
  // per group.
  virtual void decodeScaleMinusZero(const std::uint8_t* codes, std::size_t groups, std::size_t size, const float* scale,
                                    const float* zero, float* out) const = 0;
  // value = scale * code + bias.
  virtual void decodeScalePlusBias(const std::uint8_t* codes, std::size_t groups, std::size_t size, const float* scale,
                                   const float* bias, float* out) const = 0;
  // value = scale * table[code].
  virtual void decodeTable(const std::uint8_t* codes, std::size_t groups, std::size_t size, const float* scale,
                           std::span<const float> table, float* out) const = 0;

  [[nodiscard]] virtual ErrorSums errorSums(const float* weights, const float* reconstructed, std::size_t count) const = 0;
  // encodeAffine of contiguous groups, and the errorSums of what the codes decode to, while all is in registers. The value is
  // spelled with valueScale (which differs from `scale` where a rule multiplies by an inverse) and `zero` as its offset. The
  // errors are counted into `bins` on the way, where any are given.
  [[nodiscard]] virtual ErrorSums encodeAffineMeasured(const GroupView& view, CodeRule rule, AffineValue spelling,
                                                       const float* scale, const float* zero, int maxCode,
                                                       const float* valueScale, std::uint8_t* codes,
                                                       const ErrorBins& bins) const = 0;
  // counts[bin] += 1 for bin = floor((value - low) * bins / (high - low)), computed in float32, values at `high` in the last
  // bin; values outside are counted in the first or last bin.
  virtual void histogram(const float* values, std::size_t count, float low, float high,
                         std::span<std::uint64_t> counts) const = 0;
  // histogram of weights[i] - reconstructed[i].
  virtual void errorHistogram(const float* weights, const float* reconstructed, std::size_t count, float low, float high,
                              std::span<std::uint64_t> counts) const = 0;
  // counts[code] += 1.
  virtual void occupancy(const std::uint8_t* codes, std::size_t count, std::span<std::uint64_t> counts) const = 0;
  // Index of the first NaN or infinity, or `count`.
  [[nodiscard]] virtual std::size_t firstNonFinite(const float* values, std::size_t count) const = 0;
  // 16-bit floats to float32, exact.
  virtual void widenHalf(const std::uint16_t* in, std::size_t count, float* out) const = 0;
  virtual void widenBfloat(const std::uint16_t* in, std::size_t count, float* out) const = 0;

  // Whole products (kernels/products.h); null: there are none, or none now, and the loops of kernels/linear.h multiply.
  [[nodiscard]] virtual const Products* products() const { return nullptr; }
};

// A borrowed callable, so that kernel headers need no std::function.
struct RangeBody {
  void* object;
  void (*call)(void* object, std::size_t begin, std::size_t end);
  template <class F>
  RangeBody(F& body)
      : object(const_cast<void*>(static_cast<const void*>(&body))),
        call([](void* o, std::size_t b, std::size_t e) { (*static_cast<F*>(o))(b, e); }) {}
};

// host, simd, cuda: in this order, usable or not.
std::span<const Backend* const> allBackends();
// The fastest for weights in memory: simd.
const Backend& defaultBackend();
// By name ("auto" is the default one); null when there is none of that name.
const Backend* findBackend(std::string_view name);
// How many threads parallel work uses; 0 = one per core. Process-wide; set once at start.
void setThreadCount(int threads);
int threadCount();

}  // namespace nibble::kernels
