// SPDX-License-Identifier: GPL-3.0-or-later
// DiffQ's arithmetic of bits (spec section 5.2, 5.5): what a logit stands for, and how large a tensor is. With t the logistic
// function of the logit,
//   Param::Bits   b = max t + min (1 - t),                 noise scale v = 1 / (2^b - 1)
//   Param::Noise  v = exp(t ln v_min + (1 - t) ln v_max),  b = log2(1 + 1 / v);  v_min = 1 / (2^max - 1), v_max of min
// Sizes are in bits and include what says the bits: length x sum of b + 64 (the range) + 8 + groups x ceil(log2(1 + B)), B =
// the largest b, rounded half to even, less the smallest that may be.
#pragma once
#include "core/train/train_settings.h"

#include <span>

namespace nibble::train {

inline constexpr double bitsPerMb = 8.0 * 1048576;

class BitScale {
 public:
  explicit BitScale(const DiffqSettings& settings);
  [[nodiscard]] double logitOf(double bits) const;  // min < bits < max
  [[nodiscard]] double bits(double logit) const;
  [[nodiscard]] double noise(double logit) const;
  // Derivatives by the logit.
  [[nodiscard]] double bitsSlope(double logit) const;
  [[nodiscard]] double noiseSlope(double logit) const;

 private:
  DiffqSettings::Param m_param;
  double m_min, m_max, m_logLow, m_logHigh;  // ln of the noise scales at the most and at the fewest bits
};

// What true quantization makes of a number of bits (extra bits included): 1..15.
int trueBits(double bits);
// `bits` of each group of `length` weights, extra bits included. The size as the loss has it, and the true one.
double sizeInBits(std::span<const double> bits, std::uint64_t length, double minBits);
double trueSizeInBits(std::span<const double> bits, std::uint64_t length, double minBits);

// Whether a tensor of that name and size stays float: at most minSizeMb as float32, or a pattern of `exclude` matches its full
// name or what follows the name's last dot. A name without a dot counts as ".name".
bool leftFloat(const DiffqSettings& settings, const std::string& name, std::uint64_t size);
// Python's fnmatch: * ? [seq] [!seq], the whole text.
bool globMatches(std::string_view pattern, std::string_view text);

// Numbers that cannot be: fewest, first and most bits out of order or beyond 1..15, a rate below 0.
Status check(const DiffqSettings& settings);

}  // namespace nibble::train
