// SPDX-License-Identifier: GPL-3.0-or-later
// NF4 (bitsandbytes): blocks scaled by absmax, 16 levels at the quantiles of a normal distribution. Formula and storage:
// absmax_blocks.h. Levels and thresholds: spec uniform 6.1.
#include "core/schemes/absmax_blocks.h"

namespace nibble {
namespace {

constexpr AbsmaxLevels levels{
    {-1.0f, -0.6961928009986877f, -0.5250730514526367f, -0.39491748809814453f, -0.28444138169288635f, -0.18477343022823334f,
     -0.09105003625154495f, 0.0f, 0.07958029955625534f, 0.16093020141124725f, 0.24611230194568634f, 0.33791524171829224f,
     0.44070982933044434f, 0.5626170039176941f, 0.7229568362236023f, 1.0f},
    {-0.8480964004993439f, -0.6106329262256622f, -0.4599952697753906f, -0.33967943489551544f, -0.23460740596055984f,
     -0.13791173323988914f, -0.045525018125772476f, 0.03979014977812767f, 0.1202552504837513f, 0.2035212516784668f,
     0.2920137718319893f, 0.3893125355243683f, 0.5016634166240692f, 0.6427869200706482f, 0.8614784181118011f},
    {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}};

class Nf4Scheme final : public Scheme {
 public:
  const SchemeInfo& info() const override {
    static const SchemeInfo about{"nf4", "NF4", "16 normal-quantile levels times the block's absmax", "bitsandbytes 0.50 (QLoRA, NF4)",
                                  Family::Codebook};
    return about;
  }
  const std::vector<SettingInfo>& settings() const override { return absmaxTable().infos(); }
  std::vector<Promise> promises(const SettingValues& values) const override { return absmaxPromises(values); }
  std::optional<std::string> refusal(const SettingValues&, MatrixSize) const override { return std::nullopt; }
  Result<QuantizedTensor> quantize(const Tensor& tensor, const SettingValues& values, const Context& context) const override {
    return quantizeAbsmaxBlocks(tensor, levels, absmaxTable().read(values), context);
  }
};

}  // namespace

const Scheme& nf4Scheme() {
  static const Nf4Scheme scheme;
  return scheme;
}

}  // namespace nibble
