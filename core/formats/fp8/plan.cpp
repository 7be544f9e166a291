// SPDX-License-Identifier: GPL-3.0-or-later
#include "core/formats/fp8/plan.h"

#include "core/base/text.h"
#include "core/formats/parts.h"

#include <bit>
#include <cmath>

namespace nibble::formats::fp8 {
namespace {

Status checkRule(const QuantizedTensor& tensor) {
  if (const auto reason = plainRefusal(tensor)) return fail(*reason);
  if (tensor.shape.size() != 2) return fail("FP8 layers are matrices; this is " + toText(tensor.shape));
  const auto element = tensor.levels.smallFloat();
  if (element != FloatType::F8E4M3 && element != FloatType::F8E5M2) return fail("its codes are not 8-bit floats");
  if (tensor.rule != ValueRule::Scale) return fail("8-bit floats have no zero point");
  if (!tensor.scale) return fail("it has no scales");
  if (tensor.scale->nested) return fail("its scales are quantized themselves");
  const Arithmetic& arithmetic = tensor.arithmetic;
  if (arithmetic.step != FloatType::F32 || arithmetic.fused || arithmetic.divides || arithmetic.factor != 1)
    return fail("its values are rounded at each step; FP8 loaders multiply in float32");
  if (arithmetic.result != FloatType::F32) return fail("FP8 files do not say the type their values are rounded to");
  return {};
}

std::uint64_t tilesOf(std::uint64_t side, std::uint64_t tile) {
  return (side + tile - 1) / tile;
}

// A weights file does not say how large its tiles are: where there are several along a side, they must be the power of two
// that makes as many.
Status placeTiles(const Grouping& grouping, Plan& plan) {
  plan.scales = Scales::Tile;
  plan.tileRows = grouping.tileRows();
  plan.tileColumns = grouping.tileColumns();
  plan.scaleShape = {tilesOf(plan.rows, plan.tileRows), tilesOf(plan.columns, plan.tileColumns)};
  const bool rowsSaid = plan.scaleShape[0] == 1 || std::has_single_bit(plan.tileRows);
  const bool columnsSaid = plan.scaleShape[1] == 1 || std::has_single_bit(plan.tileColumns);
  return rowsSaid && columnsSaid ? Status{} : fail("its tiles (" + grouping.describe() + ") are not powers of two");
}

Status placeScales(const QuantizedTensor& tensor, Plan& plan) {
  const Grouping& grouping = tensor.scale->grouping;
  plan.scale = tensor.scale->values;
  if (grouping.kind() != Grouping::Kind::Blocks) return fail("its groups (" + grouping.describe() + ") are no tiles");
  const bool square = grouping.tileRows() == grouping.tileColumns() && std::has_single_bit(grouping.tileRows());
  if (grouping.groupCount() == 1 && !square) {
    plan.scales = Scales::Tensor;
    plan.scaleShape = {1};
    return {};
  }
  if (grouping.tileRows() == 1 && grouping.tileColumns() >= plan.columns) {
    plan.scales = Scales::Row;
    plan.scaleShape = {plan.rows, 1};
    return {};
  }
  return placeTiles(grouping, plan);
}

Status takeScaleType(const QuantizedTensor& tensor, Plan& plan) {
  switch (tensor.scale->stored) {
    case Stored::F8E8M0:
      plan.scaleType = DType::F8E8M0;
      return {};
    case Stored::F16:
      plan.scaleType = DType::F16;
      return {};
    case Stored::BF16:
      plan.scaleType = DType::BF16;
      return {};
    case Stored::F32:
      plan.scaleType = DType::F32;
      return {};
    default:
      return fail("its scales are neither floats nor powers of two");
  }
}

}  // namespace

Result<Plan> planFor(const QuantizedTensor& tensor) {
  NIBBLE_TRY(checkRule(tensor));
  Plan plan;
  plan.element = *tensor.levels.smallFloat();
  plan.rows = tensor.rows;
  plan.columns = tensor.columns;
  NIBBLE_TRY(placeScales(tensor, plan));
  NIBBLE_TRY(takeScaleType(tensor, plan));
  return plan;
}

std::vector<RawTensor> arraysOf(const Plan& plan, const ExportLayer& layer) {
  const std::string p = moduleName(layer.name) + ".";
  std::vector<RawTensor> arrays;
  arrays.push_back(rawBytes(p + "weight", dtypeOf(plan.element), {plan.rows, plan.columns},
                            denseLayout(plan.rows * plan.columns, 8)->pack(layer.tensor->codes)));
  const std::string name = p + (plan.scales == Scales::Tile ? "weight_scale_inv" : "weight_scale");
  if (plan.scaleType == DType::F8E8M0) {
    std::vector<std::int64_t> exponents;
    for (const float power : plan.scale) exponents.push_back(std::ilogb(power) + 127);
    arrays.push_back(rawIntegers(name, plan.scaleType, plan.scaleShape, exponents));
  } else {
    arrays.push_back(rawFloats(name, *floatTypeOf(plan.scaleType), plan.scaleShape, plan.scale));
  }
  if (layer.bias) arrays.push_back(rawBias(p + "bias", *layer.bias, FloatType::F32));
  return arrays;
}

}  // namespace nibble::formats::fp8
