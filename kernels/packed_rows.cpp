// SPDX-License-Identifier: GPL-3.0-or-later
#include "kernels/packed_rows.h"

#include "kernels/backend.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

namespace nibble::kernels {

void packBlock(std::span<const PackedRun> runs, const std::uint8_t* codes, std::size_t codeStep, const float* scales,
               const float* offsets, std::byte* block) {
  for (std::size_t r = 0; r < runs.size(); ++r) {
    const PackedRun& run = runs[r];
    float parameters[2 * packedOutputs];
    for (std::size_t n = 0; n < packedOutputs; ++n) {
      parameters[n] = scales[n * runs.size() + r];
      parameters[packedOutputs + n] = offsets[n * runs.size() + r];
    }
    std::memcpy(block, parameters, packedParameters);
    block += packedParameters;
    for (std::size_t n = 0; n < packedOutputs; ++n) {
      const std::uint8_t* from = codes + n * codeStep + run.first;
      for (std::size_t w = 0; w < run.words(); ++w, block += 2) {
        unsigned word = 0;
        for (std::size_t j = 0; j < run.fields(); ++j)
          word |= static_cast<unsigned>(from[j * run.words() + w]) << (j * run.bits);
        const auto bits = static_cast<std::uint16_t>(word);
        std::memcpy(block, &bits, 2);
      }
    }
  }
}

namespace {

// The largest magnitude of a multiple of 8 numbers. Eight maxima: one would wait for itself.
float largestOf(const float* x, std::size_t count) {
  constexpr std::size_t lanes = 8;
  float largest[lanes] = {};
  for (std::size_t k = 0; k < count; k += lanes)
    for (std::size_t lane = 0; lane < lanes; ++lane) largest[lane] = std::max(largest[lane], std::fabs(x[k + lane]));
  return *std::max_element(largest, largest + lanes);
}

// To the nearest whole number, half to even, for |value| < 2^22: beside 1.5 * 2^23 a float has no room for fractions. Without a
// call, which nearbyint is on a plain x86-64.
float roundedSmall(float value) { return (value + 0x1.8p23f) - 0x1.8p23f; }

}  // namespace

void quantizeInputs(std::span<const PackedRun> runs, const float* x, std::int16_t* codes, std::int8_t* pairs, float* scales,
                    float* sums) {
  for (std::size_t r = 0; r < runs.size(); ++r) {
    const PackedRun& run = runs[r];
    const float largest = largestOf(x + run.first, run.inputs);
    // Where all inputs are 0, or so small that float32 has no inverse of the largest, they count as 0.
    const bool vanish = !(127.0f / largest <= std::numeric_limits<float>::max());
    const float scale = vanish ? 0 : largest / 127.0f, inverse = vanish ? 0 : 127.0f / largest;
    std::int32_t sum = 0;
    for (std::size_t k = run.first; k < run.first + run.inputs; ++k) {
      codes[k] = static_cast<std::int16_t>(std::clamp(roundedSmall(x[k] * inverse), -127.0f, 127.0f));
      sum += codes[k];
    }
    scales[r] = scale;
    sums[r] = scale * static_cast<float>(sum);
    std::int8_t* to = pairs + run.first;
    const std::size_t half = run.fields() / 2;  // bytes of a word hold fields j and j + half
    for (std::size_t c = 0; c < run.words(); c += run.chunk())
      for (std::size_t j = 0; j < half; ++j)
        for (std::size_t w = c; w < c + run.chunk(); ++w)
          for (const std::size_t field : {j, j + half})
            *to++ = static_cast<std::int8_t>(codes[run.first + field * run.words() + w]);
  }
}

void arrangeInputs(std::span<const PackedRun> runs, const float* x, float* arranged, float* sums) {
  for (std::size_t r = 0; r < runs.size(); ++r) {
    const PackedRun& run = runs[r];
    double sum = 0;
    for (std::size_t k = run.first; k < run.first + run.inputs; ++k) sum += static_cast<double>(x[k]);
    sums[r] = static_cast<float>(sum);
    for (std::size_t c = 0; c < run.words(); c += run.chunk())
      for (std::size_t half = 0; half < 2; ++half)
        for (std::size_t j = 0; j < run.fields(); ++j)
          for (std::size_t w = half; w < run.chunk(); w += 2)
            *arranged++ =
                x[run.first + j * run.words() + c + w] * (1.0f / static_cast<float>(1u << shiftOfField(run, half, j)));
  }
}

const PackedLoops& packedLoops(const Backend& backend) {
  return backend.name() == "host" ? hostPackedLoops() : simdPackedLoops();
}

}  // namespace nibble::kernels
