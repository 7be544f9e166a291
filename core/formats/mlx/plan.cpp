// SPDX-License-Identifier: GPL-3.0-or-later
#include "core/formats/mlx/plan.h"

#include "core/base/text.h"
#include "core/formats/parts.h"

#include <algorithm>
#include <cmath>

namespace nibble::formats::mlx {
namespace {

Status checkRule(const QuantizedTensor& tensor) {
  if (const auto reason = plainRefusal(tensor)) return fail(*reason);
  if (tensor.shape.size() != 2) return fail("MLX layers are matrices; this is " + toText(tensor.shape));
  if (!tensor.scale) return fail("it has no scales");
  const Arithmetic& arithmetic = tensor.arithmetic;
  if (arithmetic.fused || arithmetic.divides || arithmetic.factor != 1) return fail("its rounding is not MLX's");
  return {};
}

// Groups as runs of one row that fill it.
Status placeGroups(const QuantizedTensor& tensor, Plan& plan) {
  const auto length = tileColumnsOf(tensor.scale->grouping);
  if (!length) return fail("its groups (" + tensor.scale->grouping.describe() + ") do not run along the input");
  plan.group = *length;
  if (plan.columns % plan.group != 0)
    return fail("the last group is shorter: " + text::number(plan.group) + " does not divide " + text::number(plan.columns));
  return {};
}

// scale * (code - zero) as scale * code + bias: whether both round to the same float32 for every code.
bool sameForAllCodes(float scale, float zero, float bias, int bits) {
  for (int code = 0; code < 1 << bits; ++code) {
    const auto q = static_cast<float>(code);
    const float product = scale * q;
    if (product + bias != (q - zero) * scale) return false;
  }
  return true;
}

Status turnZeros(const std::vector<float>& zero, Plan& plan) {
  plan.bias.resize(zero.size());
  for (std::size_t i = 0; i < zero.size(); ++i) {
    plan.bias[i] = 0.0f - plan.scale[i] * zero[i];
    if (!sameForAllCodes(plan.scale[i], zero[i], plan.bias[i], plan.bits))
      return fail("scale * (code - zero) is not scale * code + bias in float32 (params=f16 or bf16 is)");
  }
  return {};
}

Status planAffine(const QuantizedTensor& tensor, Plan& plan) {
  static constexpr int widths[] = {2, 3, 4, 5, 6, 8};
  if (std::find(std::begin(widths), std::end(widths), plan.bits) == std::end(widths))
    return fail("MLX stores 2, 3, 4, 5, 6 or 8 bits, not " + std::to_string(plan.bits));
  if (plan.group != 32 && plan.group != 64 && plan.group != 128)
    return fail("MLX groups are 32, 64 or 128 inputs, not " + text::number(plan.group));
  if (!tensor.zero || tensor.rule == ValueRule::Scale) return fail("it has neither a bias nor a zero point");
  const auto scale = numbersOn(*tensor.scale, GroupKind::Columns, plan.group),
             zero = numbersOn(*tensor.zero, GroupKind::Columns, plan.group);
  if (!scale) return fail("its groups (" + tensor.scale->grouping.describe() + ") are not runs of one row");
  if (!zero) return fail("its zero points or biases are grouped otherwise than its scales");
  plan.scale = *scale;
  const FloatType type = tensor.arithmetic.step;
  if (tensor.arithmetic.result != type) return fail("its values are rounded once, at the end; MLX rounds the product too");
  if (type != FloatType::F32 && type != FloatType::F16 && type != FloatType::BF16)
    return fail("MLX computes in float32, float16 or bfloat16");
  plan.type = type;
  if (tensor.rule == ValueRule::ScaleMinusZero) {
    if (type != FloatType::F32)
      return fail("it subtracts a zero point before scaling, in " + std::string(typeName(type)) + "; MLX adds a bias after");
    return turnZeros(*zero, plan);
  }
  plan.bias = *zero;
  if (!exactIn(type, plan.scale) || !exactIn(type, plan.bias))
    return fail("its scales or biases are not exact in " + std::string(typeName(type)));
  return {};
}

// One byte for each group, from numbers that are stored as such.
Status byteScales(const QuantizedTensor& tensor, Stored stored, Plan& plan) {
  const Plane& plane = *tensor.scale;
  const auto scale = numbersOn(plane, GroupKind::Columns, plan.group);
  if (!scale) return fail("its groups are not runs of one row");
  for (const float value : *scale) {
    const auto code = stored == Stored::F8E4M3 ? kernels::floatToFloat8<4>(value)
                                               : static_cast<std::uint8_t>(value > 0 ? std::ilogb(value) + 127 : 0);
    const float back = stored == Stored::F8E4M3 ? kernels::float8ToFloat<4>(code) : std::ldexp(1.0f, code - 127);
    if (back != value)
      return fail("its scales are not " + std::string(stored == Stored::F8E4M3 ? "E4M3 numbers" : "powers of two") +
                  " (MLX has no global scale)");
    plan.scaleCodes.push_back(code);
  }
  return {};
}

Status planFloats(const QuantizedTensor& tensor, bool nibbles, Plan& plan) {
  if (tensor.rule != ValueRule::Scale) return fail("float codes have no zero point in MLX");
  if (tensor.arithmetic.step != FloatType::F32 || tensor.arithmetic.result != FloatType::F32)
    return fail("its values are rounded; MLX's are exact products");
  if (plan.group == 32 && tensor.scale->stored == Stored::F8E8M0) {
    plan.mode = nibbles ? Mode::Mxfp4 : Mode::Mxfp8;
    return byteScales(tensor, Stored::F8E8M0, plan);
  }
  if (plan.group != 16 || !nibbles)
    return fail("MLX's float modes are mxfp4 and mxfp8 in groups of 32 and nvfp4 in groups of 16");
  plan.mode = Mode::Nvfp4;
  return byteScales(tensor, Stored::F8E4M3, plan);
}

}  // namespace

std::string_view modeName(Mode mode) {
  switch (mode) {
    case Mode::Affine:
      return "affine";
    case Mode::Mxfp4:
      return "mxfp4";
    case Mode::Mxfp8:
      return "mxfp8";
    case Mode::Nvfp4:
      return "nvfp4";
  }
  return {};
}

Result<Plan> planFor(const QuantizedTensor& tensor) {
  if (auto status = checkRule(tensor); !status) return fail(status.error());
  Plan plan;
  plan.bits = tensor.width.uniform;
  plan.rows = tensor.rows;
  plan.columns = tensor.columns;
  if (auto status = placeGroups(tensor, plan); !status) return fail(status.error());
  const Levels& levels = tensor.levels;
  Status planned;
  if (levels.kind == Levels::Kind::Identity)
    planned = planAffine(tensor, plan);
  else if (levels.kind != Levels::Kind::Identity && levels.type == FloatType::F8E4M3)
    planned = planFloats(tensor, false, plan);
  else if (levels.kind == Levels::Kind::Table && !levels.grouping && levels.table == e2m1Values() && plan.bits == 4)
    planned = planFloats(tensor, true, plan);
  else
    planned = fail("its levels are neither evenly spaced nor E2M1 or E4M3 floats");
  if (!planned) return fail(planned.error());
  if (plan.columns * static_cast<std::uint64_t>(plan.bits) % 32 != 0) return fail("its rows do not fill whole words");
  return plan;
}

}  // namespace nibble::formats::mlx
