// SPDX-License-Identifier: GPL-3.0-or-later
// FP4 (bitsandbytes' own, not E2M1): blocks scaled by absmax; magnitudes {0, 0.0625, 8, 12, 4, 6, 2, 3} / 12 by code, sign in
// bit 3. Formula and storage: absmax_blocks.h.
// The sign bit is set exactly for x < 0, the rule of the library's GPU kernel; its CPU backend swaps codes 0 and 8 for tiny
// values (spec uniform 9.4). Both decode to the same floats.
#include "core/schemes/absmax_blocks.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace nibble {
namespace {

AbsmaxLevels makeLevels() {
  // Magnitudes above a threshold take the next code of the list; strictly above, for both signs.
  constexpr std::array<float, 7> above{0.00260417f, 0.0859375f, 0.20833333f, 0.29166667f, 0.4166667f, 0.583333f, 0.8333333f};
  constexpr std::array<std::uint8_t, 8> ascending{0, 1, 6, 7, 4, 5, 2, 3};
  AbsmaxLevels levels{};
  constexpr std::array<float, 8> magnitude{0.0f,        0.005208333333f, 0.66666667f, 1.0f,
                                           0.33333333f, 0.5f,            0.16666667f, 0.25f};
  for (std::size_t code = 0; code < 8; ++code) {
    levels.level[code] = magnitude[code];
    levels.level[code + 8] = code == 0 ? 0.0f : -magnitude[code];
  }
  for (std::size_t i = 0; i < 7; ++i) {
    // x > the float below -t is x >= -t: at -t itself the magnitude is not above t.
    levels.thresholds[i] = std::nextafter(-above[6 - i], -HUGE_VALF);
    levels.thresholds[8 + i] = above[i];
  }
  levels.thresholds[7] = -std::numeric_limits<float>::denorm_min();
  for (std::size_t i = 0; i < 8; ++i) {
    levels.codeOfRank[i] = static_cast<std::uint8_t>(8 + ascending[7 - i]);
    levels.codeOfRank[8 + i] = ascending[i];
  }
  return levels;
}

class Fp4Scheme final : public Scheme {
 public:
  const SchemeInfo& info() const override {
    static const SchemeInfo about{"fp4", "FP4", "16 floating-point-like levels times the block's absmax", "bitsandbytes 0.50 (FP4)",
                                  Family::Codebook};
    return about;
  }
  const std::vector<SettingInfo>& settings() const override { return absmaxTable().infos(); }
  std::vector<Promise> promises(const SettingValues& values) const override { return absmaxPromises(values); }
  std::optional<std::string> refusal(const SettingValues&, MatrixSize) const override { return std::nullopt; }
  Result<QuantizedTensor> quantize(const Tensor& tensor, const SettingValues& values, const Context& context) const override {
    static const AbsmaxLevels levels = makeLevels();
    return quantizeAbsmaxBlocks(tensor, levels, absmaxTable().read(values), context);
  }
};

}  // namespace

const Scheme& fp4Scheme() {
  static const Fp4Scheme scheme;
  return scheme;
}

}  // namespace nibble
