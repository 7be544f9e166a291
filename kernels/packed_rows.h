// SPDX-License-Identifier: GPL-3.0-or-later
// Matrix-vector products on packed codes. Weights are value = scale * code + offset with one scale and offset per output and
// run of consecutive inputs; runs are multiples of 32 inputs, codes unsigned in fields of 4 or 8 bits. Four outputs are a
// block, a block is one stretch of memory that is read once from front to back:
//
//   run 0: scale[4] offset[4] float32 | words of output 0 | of output 1 | of output 2 | of output 3
//   run 1: ...
//
// With f = 16 / bits fields a word of 16 bits, a run of n inputs has W = n / f words an output; field j of word w is the code
// of input j W + w, so that one shift and mask of a whole vector yields neighbouring inputs.
//
//   bytes   y = sum over runs, in order: y += float(I) (scale sx); y += offset X      I = sum code c, exact, in 32 bits
//           x ~ sx c of a run: sx = max |x| / 127, c = rne(x (127 / max |x|)), X = sx sum c
//   floats  y = sum over runs, in order: y += scale D; y += offset X                  X = float(sum x), summed in double
//           D = sum code x by lanes: words go in chunks of 16, or 8 where W is no multiple of 16; lane p adds words 2p of each
//           chunk, fields in order, and words 2p + 1 apart; the two are added, then the lanes as
//           ((0 + 2) + (1 + 3)) + ((4 + 6) + (5 + 7)). Two words are 32 bits: the field that begins at bit s is multiplied
//           where it stands, code 2^s by x 2^-s, so that no shift is needed (but for the last one, which would be negative)
// Every operation is rounded to float32 by itself: host and SIMD loops give the same bits.
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>

namespace nibble::kernels {

class Backend;

struct PackedRun {
  std::uint32_t first = 0, inputs = 0, bits = 4;
  [[nodiscard]] std::size_t fields() const { return bits == 4 ? 4 : 2; }
  [[nodiscard]] std::size_t words() const { return std::size_t{inputs} * bits / 16; }  // of one output
  [[nodiscard]] std::size_t chunk() const { return words() % 16 == 0 ? 16 : 8; }
};

inline constexpr std::size_t packedOutputs = 4, packedParameters = 2 * packedOutputs * sizeof(float);
inline constexpr std::uint32_t mostPackedInputs = 65536;  // of a run: 255 * 127 * 65536 < 2^31

inline std::size_t packedBytes(const PackedRun& run) {
  return packedParameters + packedOutputs * run.words() * 2;
}

struct ByteInputs {
  const std::int16_t* codes;   // [inputs]
  const std::int8_t* pairs;    // [inputs]: of each chunk, as the words' bytes lie: fields 0 and 1, or 0 and 2, then 1 and 3
  const float *scales, *sums;  // [runs]: sx, X
};
struct FloatInputs {
  const float* arranged;  // [inputs]: of each chunk: even words, odd words; field by field; x 2^-s
  const float* sums;      // [runs]: X
};

// Bits by which a field of the even (half 0) or odd words of a pair is left shifted where it is multiplied.
inline int shiftOfField(const PackedRun& run, std::size_t half, std::size_t field) {
  const auto bit = static_cast<int>(16 * half + field * run.bits);
  return bit + static_cast<int>(run.bits) == 32 ? 0 : bit;
}

// codes [4, inputs]; scales, offsets [4, runs].
void packBlock(std::span<const PackedRun> runs, const std::uint8_t* codes, std::size_t codeStep, const float* scales,
               const float* offsets, std::byte* block);
// Both for one token of as many inputs as the runs have.
void quantizeInputs(std::span<const PackedRun> runs, const float* x, std::int16_t* codes, std::int8_t* pairs, float* scales,
                    float* sums);
void arrangeInputs(std::span<const PackedRun> runs, const float* x, float* arranged, float* sums);

class PackedLoops {
 public:
  virtual ~PackedLoops() = default;
  // out[4] of one block.
  virtual void byteProducts(std::span<const PackedRun> runs, const std::byte* block, const ByteInputs& x, float* out) const = 0;
  virtual void floatProducts(std::span<const PackedRun> runs, const std::byte* block, const FloatInputs& x,
                             float* out) const = 0;
};

const PackedLoops& packedLoops(const Backend& backend);
const PackedLoops& hostPackedLoops();
const PackedLoops& simdPackedLoops();

}  // namespace nibble::kernels
