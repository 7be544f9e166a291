// SPDX-License-Identifier: GPL-3.0-or-later
// MLX's affine groups along a row, code for code what mlx.core.quantize gives.
//
//   e = the end of [min, max] that lies further from 0, s = max((max - min) / (2^bits - 1), 1e-7), negative where e = max
//   q = rne(e / s); where q is not 0: s = e / q, bias = e; else bias = 0
//   code = clamp(rne((w - bias) / s), 0, 2^bits - 1), w ~ T(T(s code) + bias)
//
// so that 0 lies on a level. Codes are chosen with the float32 s and bias; stored are both rounded to T (`params`: the type a
// model computes in), and the value is rounded to T after the product and after the sum, as the runtime computes it.
// Storage: 32-bit words, each row one little-endian string of codes | scales T [rows, groups] | biases T [rows, groups]; 4.5 bits
// a weight at 4 bits in groups of 64. Reference: mlx 0.32 quantize (affine mode), CPU.
#include "core/base/text.h"
#include "core/quant/encode.h"
#include "core/quant/row_layout.h"
#include "core/schemes/scheme.h"

#include <algorithm>
#include <cmath>

namespace nibble {
namespace {

struct Settings {
  std::int64_t bits = 4, group = 64;
  std::string params = "f16";
};

const SettingTable<Settings>& table() {
  const auto whole = [](std::initializer_list<std::int64_t> list) { return std::vector<SettingValue>(list.begin(), list.end()); };
  static const auto settings = SettingTable<Settings>{}
                                   .integer("bits", &Settings::bits, "Bits", {.choices = whole({2, 3, 4, 5, 6, 8}), .unit = "bits", .help = "Bits per code."})
                                   .integer("group", &Settings::group, "Group",
                                            {.choices = whole({32, 64, 128}),
                                             .unit = "weights",
                                             .help = "Consecutive weights of a row that share a scale and a bias."})
                                   .text("params", &Settings::params, "Parameters",
                                         {.choices = {std::string("f16"), std::string("bf16"), std::string("f32")},
                                          .help = "Stored type of scale and bias, and what the value is rounded to."});
  return settings;
}

struct Affine {
  float scale, bias;
};

Affine affineOf(std::span<const float> group, float maxCode) {
  const auto [low, high] = std::minmax_element(group.begin(), group.end());
  const bool below = std::fabs(*low) > std::fabs(*high);
  const float step = std::max((*high - *low) / maxCode, 1e-7f), scale = below ? step : -step, edge = below ? *low : *high;
  const float code = std::nearbyint(edge / scale);
  return code == 0 ? Affine{scale, 0} : Affine{edge / code, edge};
}

std::uint8_t codeOf(float weight, Affine affine, float maxCode) {
  return static_cast<std::uint8_t>(std::clamp(std::nearbyint((weight - affine.bias) / affine.scale), 0.0f, maxCode));
}

class AffineScheme final : public Scheme {
 public:
  const SchemeInfo& info() const override {
    static const SchemeInfo about{"affine", "Affine (MLX)", "groups along a row with scale and bias, 16-bit arithmetic, as MLX quantizes",
                                  "mlx 0.32 quantize, affine mode", Family::Uniform};
    return about;
  }
  const std::vector<SettingInfo>& settings() const override { return table().infos(); }
  std::vector<Promise> promises(const SettingValues&) const override { return {Promise::Deterministic}; }
  std::optional<std::string> refusal(const SettingValues& values, MatrixSize size) const override {
    const auto group = static_cast<std::uint64_t>(table().read(values).group);
    if (size.columns % group == 0) return std::nullopt;
    return "groups of " + text::number(group) + " do not divide " + text::number(size.columns) + " columns";
  }
  Result<QuantizedTensor> quantize(const Tensor& tensor, const SettingValues& values, const Context& context) const override;
};

Result<QuantizedTensor> AffineScheme::quantize(const Tensor& tensor, const SettingValues& values, const Context& context) const {
  const Settings settings = table().read(values);
  const auto size = static_cast<std::uint64_t>(settings.group);
  const Stored stored = storedFromName(settings.params);
  const auto maxCode = static_cast<float>((1 << settings.bits) - 1);
  const Grouping grouping = Grouping::blocks(tensor.rows(), tensor.columns(), 1, size);
  std::vector<float> scale(grouping.groupCount()), bias(grouping.groupCount());
  std::vector<std::uint8_t> codes(tensor.size());
  NIBBLE_TRY(forEachStrip(tensor, size, context, [&](std::uint64_t begin, std::span<const float> weights) -> Status {
    const std::uint64_t first = begin / size, count = weights.size() / size;
    for (std::uint64_t g = 0; g < count; ++g) {
      const auto group = weights.subspan(g * size, size);
      const Affine affine = affineOf(group, maxCode);
      scale[first + g] = affine.scale;
      bias[first + g] = affine.bias;
      for (std::uint64_t i = 0; i < size; ++i) codes[begin + g * size + i] = codeOf(group[i], affine, maxCode);
    }
    NIBBLE_TRY(roundOffsets(std::span(scale).subspan(first, count), stored, first, "scale"));
    return roundOffsets(std::span(bias).subspan(first, count), stored, first, "bias");
  }));

  QuantizedTensor result;
  result.rows = tensor.rows();
  result.columns = tensor.columns();
  result.shape = tensor.shape();
  result.codes = Codes(std::move(codes));
  result.width.uniform = static_cast<std::uint8_t>(settings.bits);
  result.rule = ValueRule::ScalePlusBias;
  result.scale = Plane::numbers(grouping, std::move(scale), stored);
  result.zero = Plane::numbers(grouping, std::move(bias), stored);
  const FloatType type = stored == Stored::F16 ? FloatType::F16 : stored == Stored::BF16 ? FloatType::BF16 : FloatType::F32;
  result.arithmetic = {type, type, false};
  result.layout = rowStreamLayout(tensor.rows(), tensor.columns(), static_cast<int>(settings.bits));
  return result;
}

}  // namespace

const Scheme& affineScheme() {
  static const AffineScheme scheme;
  return scheme;
}

}  // namespace nibble
