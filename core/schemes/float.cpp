// SPDX-License-Identifier: GPL-3.0-or-later
// Plain rounding to a float type: the baseline every other scheme is measured against.
//
//   code = the bits of rne(w) in the type; w ~ the float with those bits
//
// Storage: the numbers themselves, 16 or 32 bits each. Reference: IEEE 754 (float16, float32), bfloat16 as the upper half of
// float32. A weight beyond float16's 65504 would become infinite: refused, with its index.
#include "core/base/text.h"
#include "core/quant/encode.h"
#include "core/quant/layout.h"
#include "core/schemes/scheme.h"

#include <bit>
#include <cmath>

namespace nibble {
namespace {

struct Settings {
  std::string type = "f16";
};

const SettingTable<Settings>& table() {
  static const auto settings = SettingTable<Settings>{}.text(
      "type", &Settings::type, "Type",
      {.choices = {std::string("f16"), std::string("bf16"), std::string("f32")}, .help = "Float type the weights are rounded to."});
  return settings;
}

template <class Code, class Encode>
Result<Codes> encodeAll(const Tensor& tensor, const Context& context, const Encode& encode) {
  std::vector<Code> codes(tensor.size());
  NIBBLE_TRY(forEachStrip(tensor, 1, context, [&](std::uint64_t begin, std::span<const float> weights) -> Status {
    for (std::size_t i = 0; i < weights.size(); ++i) codes[begin + i] = encode(weights[i]);
    return {};
  }));
  return Codes(std::move(codes));
}

Status refuseOverflow(const Tensor& tensor, const Codes& codes) {
  const auto& halves = *codes.as<std::uint16_t>();
  for (std::size_t i = 0; i < halves.size(); ++i)
    if ((halves[i] & 0x7C00u) == 0x7C00u)
      return fail(tensor.name() + ": weight " + text::number(std::uint64_t{i}) + " does not fit float16 (largest 65504); bf16 holds it");
  return {};
}

class FloatScheme final : public Scheme {
 public:
  const SchemeInfo& info() const override {
    static const SchemeInfo about{"float", "Float", "plain rounding to a float type", "IEEE 754, bfloat16", Family::Uniform};
    return about;
  }
  const std::vector<SettingInfo>& settings() const override { return table().infos(); }
  std::vector<Promise> promises(const SettingValues&) const override {
    return {Promise::Deterministic, Promise::ZeroStaysZero, Promise::Idempotent};
  }
  std::optional<std::string> refusal(const SettingValues&, MatrixSize) const override { return std::nullopt; }

  Result<QuantizedTensor> quantize(const Tensor& tensor, const SettingValues& values, const Context& context) const override {
    const std::string type = table().read(values).type;
    auto codes = type == "f16"    ? encodeAll<std::uint16_t>(tensor, context, kernels::floatToHalf)
                 : type == "bf16" ? encodeAll<std::uint16_t>(tensor, context, kernels::floatToBfloat)
                                  : encodeAll<std::int32_t>(tensor, context, [](float w) { return std::bit_cast<std::int32_t>(w); });
    if (!codes) return fail(codes.error());
    if (type == "f16") NIBBLE_TRY(refuseOverflow(tensor, *codes));
    QuantizedTensor result;
    result.rows = tensor.rows();
    result.columns = tensor.columns();
    result.shape = tensor.shape();
    result.codes = *std::move(codes);
    result.levels = Levels::floats(type == "f16" ? FloatType::F16 : type == "bf16" ? FloatType::BF16 : FloatType::F32);
    result.width.uniform = type == "f32" ? 32 : 16;
    result.layout = denseLayout(tensor.size(), result.width.uniform);
    return result;
  }
};

}  // namespace

const Scheme& floatScheme() {
  static const FloatScheme scheme;
  return scheme;
}

}  // namespace nibble
