// SPDX-License-Identifier: GPL-3.0-or-later
#include "core/schemes/square_search.h"

#include "core/base/text.h"
#include "core/quant/square_scales.h"

#include <algorithm>
#include <cmath>

namespace nibble {
namespace {

constexpr int steps = 96;
constexpr float smallestStep = 0.70f, range = 0.50f, tiny = 1e-12f, roots = 16.0f;

float factorAt(int i) {
  return smallestStep + range * static_cast<float>(i) / static_cast<float>(steps);
}

// Nearest whole number, ties to even, of |value| below 2^22: the sum's last bit is 1. The compiler can make vectors of this.
float nearest(float value) {
  constexpr float shift = 12582912.0f;
  return (value + shift) - shift;
}

// Sum of |error|^3.5 in units of top^3.5: the power of a small weight's error would be no float.
double errorUnder(std::span<const float> weights, std::span<const float> ideal, float factor, int bits, float top,
                  std::vector<float>& scale, std::vector<double>& sums) {
  const std::size_t outputs = ideal.size();
  const auto low = -static_cast<float>(1 << (bits - 1)), high = static_cast<float>((1 << (bits - 1)) - 1);
  for (std::size_t n = 0; n < outputs; ++n) scale[n] = ideal[n] * factor;
  std::fill(sums.begin(), sums.end(), 0.0);
  const float* const s = scale.data();
  double* const sum = sums.data();
  for (std::size_t at = 0; at < weights.size(); at += outputs) {
    const float* const w = weights.data() + at;
    for (std::size_t n = 0; n < outputs; ++n) {
      const float ratio = w[n] / s[n];
      const float level = nearest(ratio < low ? low : ratio > high ? high : ratio);
      const float error = std::fabs(level * s[n] - w[n]) / top;
      sum[n] += static_cast<double>(error * error * error * std::sqrt(error));
    }
  }
  double total = 0;
  for (const double part : sums) total += part;
  return total;
}

}  // namespace

Result<GroupScales> searchSquareScales(std::span<const float> weights, std::uint64_t outputs, int bits) {
  std::vector<float> ideal(outputs, 0.0f), scale(outputs);
  for (std::size_t at = 0; at < weights.size(); at += outputs)
    for (std::uint64_t n = 0; n < outputs; ++n) ideal[n] = std::max(ideal[n], std::fabs(weights[at + n]));
  for (float& base : ideal) base = 2 * ((base + tiny) / static_cast<float>((1 << bits) - 1));
  const float top = *std::max_element(ideal.begin(), ideal.end());
  GroupScales found;
  found.codes.resize(outputs);
  found.scale.resize(outputs);
  for (std::uint64_t n = 0; n < outputs; ++n) {
    const float root = std::clamp(std::nearbyint(roots * std::sqrt(ideal[n] / top)), 1.0f, roots);
    found.codes[n] = static_cast<std::uint8_t>(root - 1);
    ideal[n] = top * (root / roots) * (root / roots);
  }
  std::vector<double> sums(outputs);
  int best = 0;
  double least = HUGE_VAL;
  for (int i = 0; i <= steps; ++i) {
    const double error = errorUnder(weights, ideal, factorAt(i), bits, top, scale, sums);
    if (error < least) {
      least = error;
      best = i;
    }
  }
  found.maximum = kernels::floatToHalf(top * factorAt(best));
  const float unit = squareScaleUnit(found.maximum);
  if (!std::isfinite(kernels::halfToFloat(found.maximum)))
    return fail("scale " + text::number(top * factorAt(best)) + " does not fit float16 (largest 65504)");
  for (std::uint64_t n = 0; n < outputs; ++n) found.scale[n] = squareScale(unit, found.codes[n]);
  return found;
}

std::uint8_t squareCode(float weight, float scale, int bits) {
  const auto middle = static_cast<float>(1 << (bits - 1));
  if (scale == 0) return static_cast<std::uint8_t>(middle);
  return static_cast<std::uint8_t>(std::clamp(std::nearbyint(weight / scale) + middle, 0.0f, 2 * middle - 1));
}

}  // namespace nibble
