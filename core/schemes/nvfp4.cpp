// SPDX-License-Identifier: GPL-3.0-or-later
// NVFP4: E2M1 codes, one E4M3 scale for 16 weights, and one float32 scale for the tensor.
//
//   g = amax of the tensor / (448 * 6), s = e4m3(clamp(amax / 6 / g, 2^-6, 448)), code = e2m1(clamp(w * (1 / g / s), -6, 6))
//   w ~ (g * s) * level[code]          global=false: g = 1
//   inverse: w ~ (s / d) * level[code] with d = 1 / g in float32, which is what loaders that divide by the tensor's scale need
//   ggml: s = amax / 6 with 3 fraction bits, rounded half up, from about 248 on 448; no g; ties to the smaller magnitude
//
// A tensor of zeros has g = 1. Without g, blocks whose largest weight is beyond 2688 saturate: a note says how many.
// Storage: bytes of two codes, the first in the low nibble (ggml: byte j of a run of 16 holds weights j and j + 8), one E4M3
// byte a block, 4 bytes for g. Reference: torchao 0.18, ggml 0.25 (spec uniform 6.3, spec ggml).
#include "core/base/text.h"
#include "core/schemes/micro_blocks.h"
#include "kernels/backend.h"

#include <algorithm>
#include <cmath>
#include <mutex>

namespace nibble {
namespace {

constexpr std::uint64_t block = 16;
constexpr float largestCode = 6.0f, largestScale = 448.0f, smallestScale = 0x1p-6f;

struct Settings {
  bool global = true;
  std::string variant = "ocp";
  bool inverse = false;
};

const SettingTable<Settings>& table() {
  static const auto settings =
      SettingTable<Settings>{}
          .boolean("global", &Settings::global, "Tensor scale",
                   {.help = "One float32 scale for the tensor, so that block scales use all of E4M3's range.",
                    .onlyKey = "variant",
                    .onlyValues = {std::string("ocp")}})
          .text("variant", &Settings::variant, "Variant",
                {.choices = {std::string("ocp"), std::string("ggml")},
                 .help = "ggml: codes and bytes as in GGUF (no tensor scale, ties to the smaller magnitude)."})
          .boolean("inverse", &Settings::inverse, "Divide by it",
                   {.help = "Store 1 / the tensor scale and divide by it, as some loaders do; differs by float32 rounding.",
                    .onlyKey = "variant",
                    .onlyValues = {std::string("ocp")}});
  return settings;
}

Result<float> absMaxOf(const Tensor& tensor, const Context& context) {
  std::mutex mutex;
  float largest = 0;
  NIBBLE_TRY(forEachStrip(tensor, 1, context, [&](std::uint64_t, std::span<const float> weights) -> Status {
    float low = 0, high = 0;
    context.backend->ranges(kernels::GroupView::contiguous(weights.data(), 1, weights.size()), &low, &high);
    const std::lock_guard lock(mutex);
    largest = std::max({largest, -low, high});
    return {};
  }));
  return largest;
}

// The E4M3 scale as ggml rounds it: half up, the top binade only as 448, below 2^-6 in steps of 2^-9.
float ggmlScale(float value) {
  if (!(value > 0.0f)) return 0.0f;
  const int exponent = std::ilogb(value);
  if (exponent < -6) return std::min(std::floor(value * 512.0f + 0.5f), 7.0f) / 512.0f;
  const float rounded = std::floor(std::ldexp(value, 3 - exponent) + 0.5f);
  const float scale = std::ldexp(rounded, exponent - 3);
  return scale >= 256.0f ? largestScale : scale;
}

// g as the scale of the block scales: they are a quantized tensor themselves.
Plane scalePlane(const Grouping& grouping, const std::vector<float>& stored, std::optional<float> global, bool divides) {
  if (!global) return Plane::numbers(grouping, stored, Stored::F8E4M3);
  auto nested = std::make_shared<QuantizedTensor>();
  std::vector<std::uint8_t> codes(stored.size());
  std::transform(stored.begin(), stored.end(), codes.begin(), kernels::floatToMini<4, 3>);
  nested->rows = 1;
  nested->columns = stored.size();
  nested->shape = {1, stored.size()};
  nested->codes = Codes(std::move(codes));
  nested->width.uniform = 8;
  nested->levels = Levels::floats(FloatType::F8E4M3);
  nested->scale = Plane::numbers(Grouping::tensor(1, stored.size()), {divides ? 1.0f / *global : *global}, Stored::F32);
  nested->arithmetic.divides = divides;
  nested->layout = denseLayout(stored.size(), 8);
  return Plane::quantized(grouping, std::move(nested));
}

class Nvfp4Scheme final : public Scheme {
 public:
  [[nodiscard]] const SchemeInfo& info() const override {
    static const SchemeInfo about{"nvfp4", "NVFP4", "4-bit floats, an 8-bit float scale for 16 weights",
                                  "NVIDIA FP4, torchao 0.18; ggml 0.25 (nvfp4)", Family::Micro};
    return about;
  }
  [[nodiscard]] const std::vector<SettingInfo>& settings() const override { return table().infos(); }
  [[nodiscard]] std::vector<Promise> promises(const SettingValues&) const override {
    return {Promise::Deterministic, Promise::ZeroStaysZero, Promise::NearestLevel};
  }
  [[nodiscard]] std::optional<std::string> refusal(const SettingValues& values, MatrixSize size) const override {
    return refuseColumns(size, table().read(values).variant == "ggml" ? 64 : block);
  }
  [[nodiscard]] Result<QuantizedTensor> quantize(const Tensor& tensor, const SettingValues& values,
                                                 const Context& context) const override;
};

Result<QuantizedTensor> Nvfp4Scheme::quantize(const Tensor& tensor, const SettingValues& values, const Context& context) const {
  const Settings settings = table().read(values);
  const bool ggml = settings.variant == "ggml";
  std::optional<float> global;
  if (settings.global && !ggml) {
    const auto largest = absMaxOf(tensor, context);
    if (!largest) return fail(largest.error());
    global = *largest / (largestScale * largestCode);
    // Below the smallest normal number 1 / g would not be finite.
    if (*global < 0x1p-126f) global = *largest == 0.0f ? 1.0f : 0x1p-126f;
  }
  const float g = global.value_or(1.0f), inverse = 1.0f / g;
  auto blocks =
      encodeMicroBlocks(tensor, block, context, [&](std::span<const float> weights, float absMax, std::uint8_t* codes) {
        if (ggml) {
          const float scale = ggmlScale(absMax / largestCode);
          for (std::size_t i = 0; i < weights.size(); ++i)
            codes[i] = scale == 0.0f ? 0 : nearestFourBitSmaller(weights[i], scale);
          return MicroBlock{scale, scale};
        }
        const float wanted = std::clamp(absMax / largestCode / g, smallestScale, largestScale);
        const float scale = kernels::roundTo(FloatType::F8E4M3, wanted), multiplier = inverse / scale;
        const bool finite = std::isfinite(multiplier);  // not for denormal tensors: there in two steps
        for (std::size_t i = 0; i < weights.size(); ++i)
          codes[i] = kernels::floatToMini<2, 1>(finite ? weights[i] * multiplier : weights[i] * inverse / scale);
        return MicroBlock{absMax, scale};
      });
  if (!blocks) return fail(blocks.error());
  QuantizedTensor result = microTensor(tensor, std::move(blocks->codes), Levels::floats(FloatType::F4E2M1), 4);
  result.scale =
      scalePlane(Grouping::blocks(tensor.rows(), tensor.columns(), 1, block), blocks->parameter, global, settings.inverse);
  if (ggml) result.layout = halvesLayout(tensor.size(), block);
  const auto saturated = std::count_if(blocks->scale.begin(), blocks->scale.end(),
                                       [&](float absMax) { return !ggml && !global && absMax > largestScale * largestCode; });
  if (saturated != 0)
    result.notes.push_back(text::number(static_cast<std::uint64_t>(saturated)) +
                           " blocks exceed 2688 and saturate; global=true holds them");
  return result;
}

}  // namespace

const Scheme& nvfp4Scheme() {
  static const Nvfp4Scheme scheme;
  return scheme;
}

}  // namespace nibble
