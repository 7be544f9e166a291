// SPDX-License-Identifier: GPL-3.0-or-later
// Codes out of weights: affine rules with given parameters, round to nearest with parameters of the group's own range, levels
// by thresholds. Codes, scales and zeros equal the host's to the bit; sums as in measure.h. All pointers are the device's.
#pragma once
#include "kernels/backend.h"
#include "kernels/cuda/device.h"
#include "kernels/cuda/sum_parts.h"

namespace nibble::kernels::NIBBLE_CUDA_SPACE {

// What is measured on the way, where anything is: parts of sums (encodeScratch doubles), their total where one is wanted, error
// bins.
struct Measure {
  double* parts = nullptr;
  double* sums = nullptr;
  std::uint64_t* counts = nullptr;  // none: no histogram
  std::size_t bins = 0;
  float low = 0, high = 0;
};
std::size_t encodeScratch(const GroupView& view);

struct AffineCodes {
  CodeRule rule = CodeRule::SubtractDivideRound;
  AffineValue spelling = AffineValue::ScalePlusBias;
  float maxCode = 15;
};

// Backend::encodeAffine and, for groups side by side in memory, encodeAffineMeasured.
Outcome launchEncode(const GroupView& view, const AffineCodes& how, const float* scale, const float* zero,
                     const float* valueScale, std::uint8_t* codes, const Measure* measure, Stream stream);

// The same with scale and zero from the range of each group, which is read once: minmaxScale and the group's minimum where the
// rule subtracts (document 000), affineScale and -rne(low / scale) where it divides (document 001). At most
// longestQuantizeGroup elements a group, side by side. Stores the parameters.
inline constexpr std::size_t longestQuantizeGroup = 1024;
Outcome launchQuantize(const GroupView& view, const AffineCodes& how, float* scale, float* zero, std::uint8_t* codes,
                       const Measure& measure, Stream stream);

// Backend::encodeThresholds: at most 255 thresholds.
Outcome launchEncodeThresholds(const GroupView& view, const float* multiplier, const float* thresholds, std::size_t count,
                               const std::uint8_t* codeOfRank, std::uint8_t* codes, Stream stream);

}  // namespace nibble::kernels::NIBBLE_CUDA_SPACE
