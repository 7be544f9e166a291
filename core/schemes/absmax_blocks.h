// SPDX-License-Identifier: GPL-3.0-or-later
// What NF4 and FP4 share: blocks of consecutive weights in row-major order (the last one shorter), each divided by its largest
// magnitude and mapped to the nearest of 16 levels. Source: bitsandbytes 0.50 quantize_4bit (spec uniform 6.1, 9.4 to 9.6).
//
//   absmax = max |w|, x = w * fl32(1 / absmax), code = codeOfRank[number of thresholds < x], w ~ absmax * level[code]
//
// A block of zeros has absmax 0 and the code of level 0. Nested: absmax minus its mean goes through 8-bit codes of the signed
// dynamic map in blocks of 256; codes of weights are chosen before that, as the reference does.
// Storage: bytes of two codes, the first in the high nibble, then one absmax a block.
#pragma once
#include "core/schemes/scheme.h"

#include <array>
#include <span>
#include <string>

namespace nibble {

struct AbsmaxSettings {
  std::int64_t block = 64;
  bool nested = false;
  std::string params = "f32";
};
const SettingTable<AbsmaxSettings>& absmaxTable();
std::vector<Promise> absmaxPromises(const SettingValues& values);

struct AbsmaxLevels {
  std::array<float, 16> level;            // by code
  std::array<float, 15> thresholds;       // ascending
  std::array<std::uint8_t, 16> codeOfRank;
};

Result<QuantizedTensor> quantizeAbsmaxBlocks(const Tensor& tensor, const AbsmaxLevels& levels, const AbsmaxSettings& settings,
                                             const Context& context);

// The 256 values of bitsandbytes' signed dynamic 8-bit map, ascending.
std::span<const float> signedDynamicMap();

}  // namespace nibble
