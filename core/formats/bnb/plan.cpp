// SPDX-License-Identifier: GPL-3.0-or-later
#include "core/formats/bnb/plan.h"

#include "core/base/text.h"
#include "core/formats/tools.h"

#include <algorithm>
#include <cmath>

namespace nibble::formats::bnb {
namespace {

constexpr std::uint64_t nestedBlock = 256;

Status checkRule(const QuantizedTensor& tensor) {
  if (const auto reason = plainRefusal(tensor)) return fail(*reason);
  if (tensor.levels.kind != Levels::Kind::Table || tensor.levels.grouping || tensor.levels.levelCount != 16)
    return fail("bitsandbytes stores NF4 or FP4 levels");
  if (tensor.rule != ValueRule::Scale || !tensor.scale)
    return fail("bitsandbytes scales by the block's largest magnitude and adds nothing");
  const Arithmetic& arithmetic = tensor.arithmetic;
  if (arithmetic.fused || (arithmetic.step != FloatType::F32 && arithmetic.step != arithmetic.result))
    return fail("its rounding is not that of bitsandbytes (one product, rounded once)");
  const FloatType type = arithmetic.result;
  if (type != FloatType::F32 && type != FloatType::F16 && type != FloatType::BF16)
    return fail("bitsandbytes gives float32, float16 or bfloat16 weights");
  return {};
}

Result<Nested> nestedOf(const QuantizedTensor& scales) {
  const std::array<float, 256>& map = dynamicMap();
  const bool mapped = scales.levels.kind == Levels::Kind::Table && scales.levels.table.size() == map.size() &&
                      !scales.levels.grouping && std::equal(map.begin(), map.end(), scales.levels.table.begin());
  const auto* codes = scales.codes.as<std::uint8_t>();
  if (!mapped || codes == nullptr || scales.rule != ValueRule::ScalePlusBias || !scales.scale || !scales.zero ||
      !(scales.arithmetic == Arithmetic{}))
    return fail("its scales are quantized otherwise than by bitsandbytes");
  const auto block = runLengthOf(scales.scale->grouping);
  const auto offset = numbersOn(*scales.zero, GroupKind::Runs, scales.weightCount());
  if (!block || !offset) return fail("its scales are grouped otherwise than by bitsandbytes");
  // One block that spans them all is the same as one of 256.
  const bool one = scales.scale->values.size() == 1 && *block <= nestedBlock;
  if (!one && *block != nestedBlock) return fail("its scales are quantized in blocks of " + text::number(*block) + ", not 256");
  return Nested{*codes, scales.scale->values, offset->front()};
}

}  // namespace

const std::array<float, 16> nf4Table = {-1.0f,
                                        -0.6961928009986877f,
                                        -0.5250730514526367f,
                                        -0.39491748809814453f,
                                        -0.28444138169288635f,
                                        -0.18477343022823334f,
                                        -0.09105003625154495f,
                                        0.0f,
                                        0.07958029955625534f,
                                        0.16093020141124725f,
                                        0.24611230194568634f,
                                        0.33791524171829224f,
                                        0.44070982933044434f,
                                        0.5626170039176941f,
                                        0.7229568362236023f,
                                        1.0f};
// Sign in bit 3, magnitudes in twelfths: 0, 1/16, 8, 12, 4, 6, 2, 3.
const std::array<float, 16> fp4Table = {0.0f, 0.0625f / 12,  8.0f / 12,  1.0f,  4.0f / 12,  0.5f,  2.0f / 12,  0.25f,
                                        0.0f, -0.0625f / 12, -8.0f / 12, -1.0f, -4.0f / 12, -0.5f, -2.0f / 12, -0.25f};

// Seven decades, decade i with the 2^i midpoints of an even division of [0.1, 1], both signs, and 0 and 1. The division is
// torch.linspace's in float32: fused steps from either end to the middle.
const std::array<float, 256>& dynamicMap() {
  static const std::array<float, 256> map = [] {
    constexpr std::array<float, 7> powers = {1e-6f, 1e-5f, 1e-4f, 1e-3f, 1e-2f, 1e-1f, 1.0f};
    std::array<float, 256> values{};
    std::size_t at = 0;
    for (int decade = 0; decade < 7; ++decade) {
      const int count = 1 << decade;
      const float step = (1.0f - 0.1f) / static_cast<float>(count);
      const auto boundary = [&](int i) {
        return i < (count + 1) / 2 ? std::fma(step, static_cast<float>(i), 0.1f)
                                   : std::fma(-step, static_cast<float>(count - i), 1.0f);
      };
      for (int i = 0; i < count; ++i) {
        const float value = (boundary(i) + boundary(i + 1)) / 2 * powers[static_cast<std::size_t>(decade)];
        values[at++] = value;
        values[at++] = -value;
      }
    }
    values[at++] = 0.0f;
    values[at++] = 1.0f;
    std::sort(values.begin(), values.end());
    return values;
  }();
  return map;
}

Result<Plan> planFor(const QuantizedTensor& tensor) {
  if (auto status = checkRule(tensor); !status) return fail(status.error());
  Plan plan;
  plan.type = tensor.arithmetic.result;
  plan.nf4 = std::equal(nf4Table.begin(), nf4Table.end(), tensor.levels.table.begin());
  if (!plan.nf4 && !std::equal(fp4Table.begin(), fp4Table.end(), tensor.levels.table.begin()))
    return fail("its 16 levels are neither NF4's nor FP4's");
  const auto length = runLengthOf(tensor.scale->grouping);
  if (!length) return fail("its groups (" + tensor.scale->grouping.describe() + ") are not blocks of consecutive weights");
  plan.block = *length;
  const bool power = plan.block >= 32 && plan.block <= 4096 && (plan.block & (plan.block - 1)) == 0;
  if (!power) return fail("bitsandbytes has blocks of 32, 64, ... 4096 weights, not " + text::number(plan.block));
  plan.absmax = tensor.scale->values;
  if (tensor.scale->nested) {
    auto nested = nestedOf(*tensor.scale->nested);
    if (!nested) return fail(nested.error());
    plan.nested = std::move(*nested);
  }
  return plan;
}

}  // namespace nibble::formats::bnb
