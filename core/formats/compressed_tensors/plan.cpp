// SPDX-License-Identifier: GPL-3.0-or-later
#include "core/formats/compressed_tensors/plan.h"

#include "core/base/text.h"
#include "core/formats/parts.h"
#include "core/quant/row_layout.h"

#include <algorithm>
#include <cmath>

namespace nibble::formats::compressed_tensors {
namespace {

// Below this many inputs several widths fill the same number of words, and a file could not be read without its config.
constexpr std::uint64_t fewestInputs = 32;

bool isE2m1(const Levels& levels) {
  return levels.kind == Levels::Kind::Table && levels.dimension == 1 && !levels.grouping && levels.table == e2m1Values();
}

bool isE4m3(const Levels& levels) {
  return levels.kind != Levels::Kind::Identity && levels.type == FloatType::F8E4M3;
}

bool isSignedBytes(const Levels& levels) {
  return levels.kind == Levels::Kind::Table && levels.dimension == 1 && !levels.grouping && levels.table == signedBytes().table;
}

Status checkRule(const QuantizedTensor& tensor) {
  if (const auto reason = plainRefusal(tensor)) return fail(*reason);
  if (tensor.shape.size() != 2) return fail("compressed-tensors layers are matrices; this is " + toText(tensor.shape));
  const Arithmetic& arithmetic = tensor.arithmetic;
  if (arithmetic.step != FloatType::F32 || arithmetic.fused || arithmetic.divides || arithmetic.factor != 1)
    return fail("its values are rounded at each step; compressed-tensors rounds once, at the end");
  if (arithmetic.result != FloatType::F32 && arithmetic.result != FloatType::F16 && arithmetic.result != FloatType::BF16)
    return fail("its values are neither float32, float16 nor bfloat16");
  if (!tensor.scale) return fail("it has no scales");
  if (tensor.rule == ValueRule::ScalePlusBias)
    return fail("it adds a minimum after scaling; compressed-tensors subtracts a zero point before");
  return {};
}

// Scales as one number, one per row, or one per group of a row.
Status placeRows(const QuantizedTensor& tensor, Plan& plan, bool oneForAll) {
  const Grouping& grouping = tensor.scale->grouping;
  if (oneForAll && grouping.groupCount() == 1) {
    plan.strategy = Strategy::Tensor;
    plan.scaleShape = {1};
    plan.scale = tensor.scale->values;
    return {};
  }
  const auto length = tileColumnsOf(grouping);
  if (!length || (*length == 1 && plan.columns > 1))
    return fail("its groups (" + grouping.describe() + ") do not run along the input");
  if (*length < plan.columns && plan.columns % *length != 0)
    return fail("the last group is shorter: " + text::number(*length) + " does not divide " + text::number(plan.columns));
  const auto numbers = numbersOn(*tensor.scale, GroupKind::Columns, *length);
  if (!numbers) return fail("its groups (" + grouping.describe() + ") are not runs of one row");
  plan.strategy = *length >= plan.columns ? Strategy::Channel : Strategy::Group;
  plan.group = *length;
  plan.scaleShape = {plan.rows, plan.strategy == Strategy::Channel ? 1 : plan.columns / *length};
  plan.scale = *numbers;
  return {};
}

bool isPowerOfTwo(std::uint64_t side) {
  return side != 0 && (side & (side - 1)) == 0;
}

Status placeTiles(const QuantizedTensor& tensor, Plan& plan) {
  const Grouping& grouping = tensor.scale->grouping;
  if (grouping.kind() != Grouping::Kind::Blocks || grouping.groupCount() == 1 || grouping.tileRows() == 1)
    return placeRows(tensor, plan, true);
  if (!isPowerOfTwo(grouping.tileRows()) || !isPowerOfTwo(grouping.tileColumns()))
    return fail("its tiles (" + grouping.describe() + ") are not powers of two");
  plan.strategy = Strategy::Block;
  plan.blockRows = grouping.tileRows();
  plan.blockColumns = grouping.tileColumns();
  plan.scaleShape = {(plan.rows + plan.blockRows - 1) / plan.blockRows,
                     (plan.columns + plan.blockColumns - 1) / plan.blockColumns};
  plan.scale = tensor.scale->values;
  return {};
}

Status takeScaleType(const QuantizedTensor& tensor, Plan& plan) {
  plan.scaleType = tensor.arithmetic.result;
  if (tensor.scale->nested) return fail("its scales are quantized themselves");
  if (!exactIn(plan.scaleType, plan.scale)) return fail("its scales are not exact in " + std::string(typeName(plan.scaleType)));
  return {};
}

Status planIntegers(const QuantizedTensor& tensor, Plan& plan) {
  if (plan.bits < 2 || plan.bits > 8) return fail("compressed-tensors packs 2 to 8 bits, not " + std::to_string(plan.bits));
  if (plan.columns < fewestInputs) return fail("fewer than 32 inputs do not say how wide their codes are");
  if (tensor.rule != ValueRule::ScaleMinusZero || !tensor.zero) return fail("its codes have no zero point");
  NIBBLE_TRY(placeRows(tensor, plan, false));
  const auto zero = numbersOn(*tensor.zero, GroupKind::Columns, plan.group);
  if (!zero) return fail("its zero points are grouped otherwise than its scales");
  if (!integersWithin(*zero, 0, static_cast<float>((1 << plan.bits) - 1))) return fail("its zero points are not whole codes");
  plan.zero = *zero;
  const auto middle = static_cast<float>(1 << (plan.bits - 1));
  plan.symmetric = std::all_of(zero->begin(), zero->end(), [middle](float value) { return value == middle; });
  if (plan.bits == 8 && plan.symmetric && plan.strategy == Strategy::Channel) plan.kind = Kind::Int8;
  return takeScaleType(tensor, plan);
}

Status planBytes(const QuantizedTensor& tensor, Plan& plan) {
  const bool hasZero =
      tensor.zero && std::any_of(tensor.zero->values.begin(), tensor.zero->values.end(), [](float z) { return z != 0; });
  if (hasZero) return fail("int-quantized layers with zero points are not written");
  plan.kind = Kind::Int8;
  plan.bits = 8;
  NIBBLE_TRY(placeRows(tensor, plan, false));
  return takeScaleType(tensor, plan);
}

bool arePowersOfTwo(const Plane& plane) {
  return plane.stored == Stored::F8E8M0;
}

Status planFloat8(const QuantizedTensor& tensor, Plan& plan) {
  if (tensor.rule != ValueRule::Scale) return fail("8-bit floats have no zero point");
  if (!arePowersOfTwo(*tensor.scale)) {
    plan.kind = Kind::Float8;
    NIBBLE_TRY(placeTiles(tensor, plan));
    return takeScaleType(tensor, plan);
  }
  plan.kind = Kind::Mxfp8;
  NIBBLE_TRY(placeRows(tensor, plan, false));
  return plan.group == 32 ? Status{} : fail("MXFP8 groups are 32 inputs, not " + text::number(plan.group));
}

// How the E4M3 numbers of an NVFP4 scale plane are divided: the file has the divisor, a description may have its inverse.
Result<float> divisorOf(const QuantizedTensor& scales, const std::vector<std::uint8_t>& codes) {
  if (!scales.scale) return 1.0f;
  const float number = scales.scale->values.front();
  if (scales.arithmetic.divides) return number;
  const float nearest = 1.0f / number;
  for (const float divisor : {nearest, std::nextafter(nearest, 0.0f), std::nextafter(nearest, HUGE_VALF)}) {
    const bool same = std::all_of(codes.begin(), codes.end(), [&](std::uint8_t code) {
      const float scale = kernels::float8ToFloat<4>(code);
      return scale / divisor == number * scale;
    });
    if (same) return divisor;
  }
  return fail("no float32 divides its scales to the same numbers as its global scale multiplies them to");
}

Status planNvfp4(const QuantizedTensor& tensor, Plan& plan) {
  plan.kind = Kind::Nvfp4;
  const Plane& plane = *tensor.scale;
  if (!plane.nested) {
    if (plane.stored != Stored::F8E4M3) return fail("its scales are not E4M3 numbers");
    for (const float value : plane.values) plan.codes8.push_back(kernels::floatToFloat8<4>(value));
  } else {
    const QuantizedTensor& scales = *plane.nested;
    const auto* codes = scales.codes.as<std::uint8_t>();
    if (!isE4m3(scales.levels) || codes == nullptr || scales.rule != ValueRule::Scale || plainRefusal(scales) ||
        (scales.scale && scales.scale->grouping.groupCount() != 1))
      return fail("its scales are not E4M3 numbers under one global scale");
    plan.codes8 = *codes;
    auto divisor = divisorOf(scales, plan.codes8);
    if (!divisor) return fail(divisor.error());
    plan.global = *divisor;
  }
  const bool whole = plane.grouping.kind() == Grouping::Kind::Blocks && plane.grouping.tileRows() == 1;
  if (!whole || plane.grouping.tileColumns() != 16 || plan.columns % 16 != 0)
    return fail("NVFP4 groups are 16 inputs of a row");
  plan.strategy = Strategy::Group;
  plan.group = 16;
  plan.scaleShape = {plan.rows, plan.columns / 16};
  if (tensor.arithmetic.result != FloatType::F32) return fail("NVFP4 files do not say the type their values are rounded to");
  return {};
}

Status planFloat4(const QuantizedTensor& tensor, Plan& plan) {
  if (tensor.rule != ValueRule::Scale) return fail("4-bit floats have no zero point");
  if (!arePowersOfTwo(*tensor.scale)) return planNvfp4(tensor, plan);
  plan.kind = Kind::Mxfp4;
  NIBBLE_TRY(placeRows(tensor, plan, false));
  return plan.group == 32 ? Status{} : fail("MXFP4 groups are 32 inputs, not " + text::number(plan.group));
}

std::vector<std::int64_t> exponents(const std::vector<float>& powers) {
  std::vector<std::int64_t> bytes;
  for (const float power : powers) bytes.push_back(std::ilogb(power) + 127);
  return bytes;
}

std::vector<std::byte> bytesOf(const std::vector<std::uint8_t>& codes) {
  const auto* first = reinterpret_cast<const std::byte*>(codes.data());
  return {first, first + codes.size()};
}

// Codes as signed bytes: already so, or counted from 0.
std::vector<std::byte> signedCodes(const QuantizedTensor& tensor) {
  std::vector<std::byte> bytes = denseLayout(tensor.weightCount(), 8)->pack(tensor.codes);
  if (tensor.levels.kind == Levels::Kind::Identity)
    for (std::byte& code : bytes) code ^= std::byte{0x80};
  return bytes;
}

}  // namespace

std::string_view formatName(Kind kind) {
  switch (kind) {
    case Kind::Packed:
      return "pack-quantized";
    case Kind::Int8:
      return "int-quantized";
    case Kind::Float8:
      return "float-quantized";
    case Kind::Mxfp8:
      return "mxfp8-quantized";
    case Kind::Mxfp4:
      return "mxfp4-pack-quantized";
    case Kind::Nvfp4:
      return "nvfp4-pack-quantized";
  }
  return {};
}

Result<Plan> planFor(const QuantizedTensor& tensor) {
  if (auto status = checkRule(tensor); !status) return fail(status.error());
  Plan plan;
  plan.bits = tensor.width.uniform;
  plan.rows = tensor.rows;
  plan.columns = tensor.columns;
  Status planned;
  if (isE4m3(tensor.levels))
    planned = planFloat8(tensor, plan);
  else if (isE2m1(tensor.levels) && plan.bits == 4)
    planned = planFloat4(tensor, plan);
  else if (isSignedBytes(tensor.levels))
    planned = planBytes(tensor, plan);
  else if (tensor.levels.kind == Levels::Kind::Identity)
    planned = planIntegers(tensor, plan);
  else
    planned = fail("its levels are neither evenly spaced nor E4M3 or E2M1 floats");
  if (!planned) return fail(planned.error());
  return plan;
}

std::shared_ptr<const Layout> layoutOf(const Plan& plan) {
  if (plan.kind == Kind::Packed) return rowStreamLayout(plan.rows, plan.columns, plan.bits);
  return denseLayout(plan.rows * plan.columns, plan.bits);
}

std::vector<RawTensor> arraysOf(const Plan& plan, const ExportLayer& layer) {
  const QuantizedTensor& tensor = *layer.tensor;
  const std::string p = moduleName(layer.name) + ".";
  std::vector<RawTensor> arrays;
  std::vector<std::byte> codes = plan.kind == Kind::Int8 ? signedCodes(tensor) : layoutOf(plan)->pack(tensor.codes);
  const std::uint64_t words = codes.size() / 4;
  switch (plan.kind) {
    case Kind::Packed:
      arrays.push_back(rawBytes(p + "weight_packed", DType::I32, {plan.rows, words / plan.rows}, std::move(codes)));
      break;
    case Kind::Mxfp4:
    case Kind::Nvfp4:
      arrays.push_back(rawBytes(p + "weight_packed", DType::U8, {plan.rows, plan.columns / 2}, std::move(codes)));
      break;
    case Kind::Int8:
      arrays.push_back(rawBytes(p + "weight", DType::I8, {plan.rows, plan.columns}, std::move(codes)));
      break;
    case Kind::Float8:
    case Kind::Mxfp8:
      arrays.push_back(rawBytes(p + "weight", DType::F8E4M3, {plan.rows, plan.columns}, std::move(codes)));
      break;
  }
  if (plan.kind == Kind::Mxfp4 || plan.kind == Kind::Mxfp8) {
    arrays.push_back(rawIntegers(p + "weight_scale", DType::U8, plan.scaleShape, exponents(plan.scale)));
  } else if (plan.kind == Kind::Nvfp4) {
    arrays.push_back(rawBytes(p + "weight_scale", DType::F8E4M3, plan.scaleShape, bytesOf(plan.codes8)));
    arrays.push_back(rawFloats(p + "weight_global_scale", FloatType::F32, {1}, std::span(&plan.global, 1)));
  } else {
    arrays.push_back(rawFloats(p + "weight_scale", plan.scaleType, plan.scaleShape, plan.scale));
  }
  if (plan.kind == Kind::Packed && !plan.symmetric) {
    const auto zeros = columnStreamLayout(plan.rows, plan.groups(), plan.bits);
    const Shape shape{zeros->sizeBytes() / 4 / plan.groups(), plan.groups()};
    arrays.push_back(rawBytes(p + "weight_zero_point", DType::I32, shape,
                              zeros->pack(Codes(std::vector<std::uint8_t>(plan.zero.begin(), plan.zero.end())))));
  }
  if (plan.kind == Kind::Packed) {
    const std::vector<std::int64_t> sides(tensor.shape.begin(), tensor.shape.end());
    arrays.push_back(rawIntegers(p + "weight_shape", DType::I64, {2}, sides));
  }
  if (layer.bias) arrays.push_back(rawBias(p + "bias", *layer.bias, plan.scaleType));
  return arrays;
}

}  // namespace nibble::formats::compressed_tensors
