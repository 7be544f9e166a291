// SPDX-License-Identifier: GPL-3.0-or-later
#include "core/schemes/absmax_blocks.h"

#include "core/quant/encode.h"
#include "core/quant/layout.h"
#include "core/quant/thresholds.h"
#include "kernels/backend.h"

#include <algorithm>
#include <cmath>

namespace nibble {
namespace {

constexpr std::uint64_t nestedBlock = 256;

// 1 / absmax where that is finite. A denormal block has no reciprocal: it is divided weight by weight (encodeDenormal).
float reciprocal(float absmax) { return absmax >= 0x1p-126f ? 1.0f / absmax : 0.0f; }

void encodeDenormal(const kernels::Backend& backend, std::span<const float> weights, float absmax, const AbsmaxLevels& levels,
                    std::uint8_t* codes) {
  std::vector<float> scaled(weights.begin(), weights.end());
  for (float& value : scaled) value /= absmax;
  const float one = 1.0f;
  backend.encodeThresholds(kernels::GroupView::contiguous(scaled.data(), 1, scaled.size()), &one, levels.thresholds,
                           levels.codeOfRank, codes);
}

struct Encoder {
  const kernels::Backend& backend;
  const AbsmaxLevels& levels;
  Stored stored;
  std::span<float> absmax;
  std::span<std::uint8_t> codes;

  // Blocks [first, first + count) of `size` weights each, from `weights`.
  Status encode(std::uint64_t first, std::uint64_t count, std::uint64_t size, std::span<const float> weights,
                std::uint64_t codeBegin) const {
    const kernels::GroupView view = kernels::GroupView::contiguous(weights.data(), count, size);
    std::vector<float> low(count), high(count), multiplier(count);
    backend.ranges(view, low.data(), high.data());
    for (std::uint64_t i = 0; i < count; ++i) {
      float& largest = absmax[first + i];
      largest = std::max(-low[i], high[i]);
      if (largest != 0.0f) NIBBLE_TRY(roundScales({&largest, 1}, stored, first + i));
      multiplier[i] = reciprocal(largest);
    }
    backend.encodeThresholds(view, multiplier.data(), levels.thresholds, levels.codeOfRank, codes.data() + codeBegin);
    for (std::uint64_t i = 0; i < count; ++i)
      if (multiplier[i] == 0.0f && absmax[first + i] != 0.0f)
        encodeDenormal(backend, weights.subspan(i * size, size), absmax[first + i], levels, codes.data() + codeBegin + i * size);
    return {};
  }
};

std::shared_ptr<const QuantizedTensor> nest(const std::vector<float>& absmax, const Context& context) {
  double sum = 0;
  for (const float value : absmax) sum += value;
  const auto mean = static_cast<float>(sum / static_cast<double>(absmax.size()));
  std::vector<float> centred(absmax.size());
  std::transform(absmax.begin(), absmax.end(), centred.begin(), [mean](float value) { return value - mean; });
  const std::uint64_t count = centred.size(), blocks = (count + nestedBlock - 1) / nestedBlock;
  const std::vector<float> thresholds = nearestThresholds(signedDynamicMap());
  std::vector<std::uint8_t> identity(256), codes(count);
  for (std::size_t i = 0; i < identity.size(); ++i) identity[i] = static_cast<std::uint8_t>(i);
  std::vector<float> scale(blocks);
  for (std::uint64_t block = 0; block < blocks; ++block) {
    const std::uint64_t begin = block * nestedBlock, size = std::min(nestedBlock, count - begin);
    for (std::uint64_t i = begin; i < begin + size; ++i) scale[block] = std::max(scale[block], std::fabs(centred[i]));
    const float multiplier = reciprocal(scale[block]);
    context.backend->encodeThresholds(kernels::GroupView::contiguous(centred.data() + begin, 1, size), &multiplier, thresholds,
                                      identity, codes.data() + begin);
  }
  QuantizedTensor nested;
  nested.rows = 1;
  nested.columns = count;
  nested.shape = {count};
  nested.codes = Codes(std::move(codes));
  nested.width.uniform = 8;
  nested.levels = Levels::fixedTable({signedDynamicMap().begin(), signedDynamicMap().end()});
  nested.rule = ValueRule::ScalePlusBias;
  nested.scale = Plane::numbers(Grouping::flat(1, count, nestedBlock), std::move(scale), Stored::F32);
  nested.zero = Plane::numbers(Grouping::tensor(1, count), {mean}, Stored::F32);
  nested.layout = denseLayout(count, 8);
  return std::make_shared<const QuantizedTensor>(std::move(nested));
}

}  // namespace

const SettingTable<AbsmaxSettings>& absmaxTable() {
  static const auto settings =
      SettingTable<AbsmaxSettings>{}
          .integer("block", &AbsmaxSettings::block, "Block",
                   {.choices = {std::int64_t{32}, std::int64_t{64}, std::int64_t{128}, std::int64_t{256}, std::int64_t{512},
                                std::int64_t{1024}, std::int64_t{2048}, std::int64_t{4096}},
                    .offers = {std::int64_t{32}, std::int64_t{64}, std::int64_t{128}, std::int64_t{256}},
                    .unit = "weights",
                    .help = "Consecutive weights in row-major order that share one absmax."})
          .boolean("nested", &AbsmaxSettings::nested, "Nested",
                   {.help = "Double quantization: the absmax values are themselves stored in 8 bits."})
          .text("params", &AbsmaxSettings::params, "Parameters",
                {.choices = {std::string("f32"), std::string("f16"), std::string("bf16")},
                 .help = "Stored type of absmax.",
                 .onlyKey = "nested",
                 .onlyValues = {false}});
  return settings;
}

std::vector<Promise> absmaxPromises(const SettingValues& values) {
  std::vector<Promise> promises{Promise::Deterministic, Promise::ZeroStaysZero};
  if (absmaxTable().read(values).nested) return promises;
  promises.push_back(Promise::Idempotent);
  if (absmaxTable().read(values).params == "f32") promises.push_back(Promise::ScaleEquivariant);
  return promises;
}

Result<QuantizedTensor> quantizeAbsmaxBlocks(const Tensor& tensor, const AbsmaxLevels& levels, const AbsmaxSettings& settings,
                                             const Context& context) {
  const auto size = static_cast<std::uint64_t>(settings.block);
  const Grouping grouping = Grouping::flat(tensor.rows(), tensor.columns(), size);
  const Stored stored = settings.nested ? Stored::F32 : storedFromName(settings.params);
  std::vector<float> absmax(grouping.groupCount());
  std::vector<std::uint8_t> codes(tensor.size());
  const Encoder encoder{*context.backend, levels, stored, absmax, codes};
  NIBBLE_TRY(forEachStrip(tensor, size, context, [&](std::uint64_t begin, std::span<const float> weights) -> Status {
    const std::uint64_t whole = weights.size() / size, rest = weights.size() % size;
    if (whole != 0) NIBBLE_TRY(encoder.encode(begin / size, whole, size, weights.first(whole * size), begin));
    if (rest == 0) return {};
    return encoder.encode(begin / size + whole, 1, rest, weights.last(rest), begin + whole * size);
  }));
  QuantizedTensor result;
  result.rows = tensor.rows();
  result.columns = tensor.columns();
  result.shape = tensor.shape();
  result.codes = Codes(std::move(codes));
  result.width.uniform = 4;
  result.levels = Levels::fixedTable({levels.level.begin(), levels.level.end()});
  result.scale = settings.nested ? Plane::quantized(grouping, nest(absmax, context)) : Plane::numbers(grouping, std::move(absmax), stored);
  result.layout = highNibbleLayout(tensor.size());
  return result;
}

std::span<const float> signedDynamicMap() {
  // For i = 0..6: the 2^i midpoints of linspace(0.1, 1, 2^i + 1), times +-10^(i - 6); plus 0 and 1. All in float32, the upper
  // half of the linspace counted back from its end, as the reference's tensor library does it: the last bits are part of the map.
  static const std::vector<float> map = [] {
    std::vector<float> values{0.0f, 1.0f};
    for (int i = 0; i < 7; ++i) {
      const int count = 1 << i;
      const float step = (1.0f - 0.1f) / static_cast<float>(count);
      const auto border = [&](int k) {  // fused: the product is exact in double, one rounding to float32
        return static_cast<float>(k < (count + 1) / 2 ? static_cast<double>(0.1f) + static_cast<double>(step) * k
                                                      : 1.0 - static_cast<double>(step) * (count - k));
      };
      for (int k = 0; k < count; ++k) {
        const float value = (border(k) + border(k + 1)) / 2.0f * static_cast<float>(std::pow(10.0, i - 6));
        values.push_back(value);
        values.push_back(-value);
      }
    }
    std::sort(values.begin(), values.end());
    return values;
  }();
  return map;
}

}  // namespace nibble
