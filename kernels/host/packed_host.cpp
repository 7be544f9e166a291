// SPDX-License-Identifier: GPL-3.0-or-later
#include "kernels/packed_rows.h"

#include <cstring>

namespace nibble::kernels {
namespace {

float parameter(const std::byte* block, std::size_t i) {
  float value = 0;
  std::memcpy(&value, block + i * sizeof(float), sizeof(float));
  return value;
}

std::uint16_t wordAt(const std::byte* words, std::size_t i) {
  std::uint16_t word = 0;
  std::memcpy(&word, words + 2 * i, 2);
  return word;
}

std::int32_t byteProduct(const PackedRun& run, const std::byte* words, const std::int16_t* x) {
  const int mask = (1 << run.bits) - 1;
  std::int32_t sum = 0;
  for (std::size_t w = 0; w < run.words(); ++w)
    for (std::size_t j = 0; j < run.fields(); ++j)
      sum += (wordAt(words, w) >> (j * run.bits) & mask) * x[run.first + j * run.words() + w];
  return sum;
}

float floatProduct(const PackedRun& run, const std::byte* words, const float* x) {
  const int mask = (1 << run.bits) - 1;
  float lanes[8] = {}, odd[8] = {};
  for (std::size_t c = 0; c < run.words(); c += run.chunk())
    for (std::size_t half = 0; half < 2; ++half)
      for (std::size_t j = 0; j < run.fields(); ++j)
        for (std::size_t p = 0; p < run.chunk() / 2; ++p, ++x)
          (half == 0 ? lanes : odd)[p] +=
              *x * static_cast<float>((wordAt(words, c + 2 * p + half) >> (j * run.bits) & mask) << shiftOfField(run, half, j));
  for (std::size_t p = 0; p < 8; ++p) lanes[p] += odd[p];
  return ((lanes[0] + lanes[2]) + (lanes[1] + lanes[3])) + ((lanes[4] + lanes[6]) + (lanes[5] + lanes[7]));
}

class HostPackedLoops final : public PackedLoops {
 public:
  void byteProducts(std::span<const PackedRun> runs, const std::byte* block, const ByteInputs& x, float* out) const override {
    for (std::size_t n = 0; n < packedOutputs; ++n) out[n] = 0;
    for (std::size_t r = 0; r < runs.size(); block += packedBytes(runs[r]), ++r) {
      for (std::size_t n = 0; n < packedOutputs; ++n) {
        const std::int32_t sum = byteProduct(runs[r], block + packedParameters + 2 * n * runs[r].words(), x.codes);
        out[n] += static_cast<float>(sum) * (parameter(block, n) * x.scales[r]);
        out[n] += parameter(block, packedOutputs + n) * x.sums[r];
      }
    }
  }

  void floatProducts(std::span<const PackedRun> runs, const std::byte* block, const FloatInputs& x, float* out) const override {
    for (std::size_t n = 0; n < packedOutputs; ++n) out[n] = 0;
    for (std::size_t r = 0; r < runs.size(); block += packedBytes(runs[r]), ++r) {
      for (std::size_t n = 0; n < packedOutputs; ++n) {
        out[n] += parameter(block, n) *
                  floatProduct(runs[r], block + packedParameters + 2 * n * runs[r].words(), x.arranged + runs[r].first);
        out[n] += parameter(block, packedOutputs + n) * x.sums[r];
      }
    }
  }
};

}  // namespace

const PackedLoops& hostPackedLoops() {
  static const HostPackedLoops loops;
  return loops;
}

}  // namespace nibble::kernels
