// SPDX-License-Identifier: GPL-3.0-or-later
// Group-wise minimum and step over the flattened tensor (reference document 000).
//
//   low = min of the group, step = (max - low) / (2^bits - 1), code = clamp(rne((w - low) / step), 0, 2^bits - 1)
//   w ~ step * code + low
//
// Groups are runs of `group` weights in row-major order that ignore row boundaries. The last group may be shorter: filling it
// with copies of the last weight, as the document means to, changes neither its range nor its codes. A constant group has step
// 1 and codes 0. Step and low are rounded to their stored type before codes are chosen.
//
// Storage: 32-bit words of floor(32 / bits) codes, the first code highest; at 3 bits
//     31 30 | 29..27 26..24 23..21 20..18 17..15 14..12 11..9 8..6 5..3 2..0
//      0  0 |   c0     c1     c2     c3     c4     c5    c6   c7   c8   c9
#include "core/quant/encode.h"
#include "core/quant/layout.h"
#include "core/schemes/scheme.h"
#include "kernels/backend.h"
#include "kernels/math/affine.h"

#include <algorithm>

namespace nibble {
namespace {

struct Settings {
  std::int64_t bits = 3, group = 64;
  std::string params = "f16";
};

const SettingTable<Settings>& table() {
  static const auto settings =
      SettingTable<Settings>{}
          .integer("bits", &Settings::bits, "Bits",
                   {.low = 1,
                    .high = 8,
                    .offers = {std::int64_t{2}, std::int64_t{3}, std::int64_t{4}, std::int64_t{8}},
                    .unit = "bits",
                    .help = "Bits per code."})
          .integer("group", &Settings::group, "Group",
                   {.low = 1,
                    .high = 1 << 20,
                    .offers = {std::int64_t{32}, std::int64_t{64}, std::int64_t{128}},
                    .unit = "weights",
                    .help = "Consecutive weights of the flattened tensor that share a minimum and a step."})
          .text("params", &Settings::params, "Parameters",
                {.choices = {std::string("f16"), std::string("f32"), std::string("bf16")},
                 .help = "Stored type of minimum and step."});
  return settings;
}

class MinmaxScheme final : public Scheme {
 public:
  const SchemeInfo& info() const override {
    static const SchemeInfo about{"minmax", "Min-max", "group minimum and step over the flattened tensor",
                                  "reference document 000 (group-wise quantization of the QDoRA reference)", Family::Uniform};
    return about;
  }
  const std::vector<SettingInfo>& settings() const override { return table().infos(); }
  std::vector<Promise> promises(const SettingValues&) const override { return {Promise::Deterministic, Promise::NearestLevel}; }
  std::optional<std::string> refusal(const SettingValues&, MatrixSize) const override { return std::nullopt; }
  Result<QuantizedTensor> quantize(const Tensor& tensor, const SettingValues& values, const Context& context) const override;
};

Result<QuantizedTensor> MinmaxScheme::quantize(const Tensor& tensor, const SettingValues& values,
                                               const Context& context) const {
  const Settings settings = table().read(values);
  const auto size = static_cast<std::uint64_t>(settings.group);
  const Stored stored = storedFromName(settings.params);
  const int maxCode = (1 << settings.bits) - 1;
  const Grouping grouping = Grouping::flat(tensor.rows(), tensor.columns(), size);
  std::vector<float> scale(grouping.groupCount()), low(grouping.groupCount());
  std::vector<std::uint8_t> codes(tensor.size());

  const auto encodeGroups = [&](std::uint64_t first, const kernels::GroupView& view, std::uint8_t* out) -> Status {
    const std::span<float> scales = std::span(scale).subspan(first, view.groups),
                           lows = std::span(low).subspan(first, view.groups);
    context.backend->ranges(view, lows.data(), scales.data());
    for (std::size_t g = 0; g < view.groups; ++g)
      scales[g] = kernels::minmaxScale({lows[g], scales[g]}, static_cast<float>(maxCode));
    NIBBLE_TRY(roundScales(scales, stored, first));
    NIBBLE_TRY(roundOffsets(lows, stored, first, "minimum"));
    context.backend->encodeAffine(view, kernels::CodeRule::SubtractDivideRound, scales.data(), lows.data(), maxCode, out);
    return {};
  };
  NIBBLE_TRY(forEachStrip(tensor, size, context, [&](std::uint64_t begin, std::span<const float> weights) -> Status {
    const std::uint64_t whole = weights.size() / size, rest = weights.size() % size;
    if (whole != 0)
      NIBBLE_TRY(encodeGroups(begin / size, kernels::GroupView::contiguous(weights.data(), whole, size), codes.data() + begin));
    if (rest == 0) return {};
    return encodeGroups(begin / size + whole, kernels::GroupView::contiguous(weights.data() + whole * size, 1, rest),
                        codes.data() + begin + whole * size);
  }));

  QuantizedTensor result;
  result.rows = tensor.rows();
  result.columns = tensor.columns();
  result.shape = tensor.shape();
  result.codes = Codes(std::move(codes));
  result.width.uniform = static_cast<std::uint8_t>(settings.bits);
  result.rule = ValueRule::ScalePlusBias;
  result.scale = Plane::numbers(grouping, std::move(scale), stored);
  result.zero = Plane::numbers(grouping, std::move(low), stored);
  result.layout = wordLayout(tensor.size(), static_cast<int>(settings.bits));
  return result;
}

}  // namespace

const Scheme& minmaxScheme() {
  static const MinmaxScheme scheme;
  return scheme;
}

}  // namespace nibble
