// SPDX-License-Identifier: GPL-3.0-or-later
#include "core/formats/gptq/plan.h"

#include "core/base/text.h"
#include "core/formats/tools.h"

#include <algorithm>

namespace nibble::formats::gptq {
namespace {

Status checkRule(const QuantizedTensor& tensor, Version version) {
  if (const auto reason = plainRefusal(tensor)) return fail(*reason);
  if (tensor.shape.size() != 2) return fail("GPTQ layers are matrices; this is " + toText(tensor.shape));
  if (tensor.levels.kind != Levels::Kind::Identity) return fail("its levels are not evenly spaced");
  const int bits = tensor.width.uniform;
  if (!storesBits(bits, version))
    return fail((version == Version::Planar ? "gptq_p stores 3, 5, 6 or 7 bits, not " : "GPTQ stores 2, 3, 4 or 8 bits, not ") +
                std::to_string(bits));
  if (tensor.rule != ValueRule::ScaleMinusZero || !tensor.scale || !tensor.zero)
    return fail("GPTQ subtracts an integer zero point before scaling; this does not");
  if (!(tensor.arithmetic == Arithmetic{})) return fail("its values are rounded at each step; GPTQ files hold exact products");
  if (tensor.rows % lanes != 0 || tensor.columns % lanes != 0)
    return fail("both sides must be multiples of 32; this is " + toText(tensor.shape));
  return {};
}

Status placeGroups(const QuantizedTensor& tensor, Plan& plan) {
  const Grouping& grouping = tensor.scale->grouping;
  if (grouping.kind() == Grouping::Kind::Columns) {
    if (!(tensor.zero->grouping == grouping)) return fail("its zero points are grouped otherwise than its scales");
    plan.index = grouping.index();
    plan.groups = grouping.groupCount() / tensor.rows;
    plan.scale = tensor.scale->values;
    plan.zero = tensor.zero->values;
    return {};
  }
  const auto length = tileColumnsOf(grouping);
  if (!length) return fail("its groups (" + grouping.describe() + ") do not run along the input");
  if (*length < tensor.columns && tensor.columns % *length != 0)
    return fail("the last group is shorter: " + text::number(*length) + " does not divide " + text::number(tensor.columns));
  if (*length == 1) return fail("every column has its own scale; GPTQ groups span several inputs");
  plan.groups = tensor.columns / *length;
  for (std::uint64_t column = 0; column < tensor.columns; ++column)
    plan.index.push_back(static_cast<std::uint32_t>(column / *length));
  const auto scale = numbersOn(*tensor.scale, GroupKind::Columns, *length),
             zero = numbersOn(*tensor.zero, GroupKind::Columns, *length);
  if (!scale || !zero) return fail("its zero points are grouped otherwise than its scales");
  plan.scale = *scale;
  plan.zero = *zero;
  return {};
}

}  // namespace

bool storesBits(int bits, Version version) {
  if (version == Version::Planar) return bits == 3 || bits == 5 || bits == 6 || bits == 7;
  return bits == 2 || bits == 3 || bits == 4 || bits == 8;
}

bool Plan::sorted() const {
  const auto length = static_cast<std::uint64_t>(std::count(index.begin(), index.end(), 0u));
  for (std::uint64_t column = 0; column < columns; ++column)
    if (length == 0 || index[column] != column / length) return false;
  return true;
}

// The last group may be shorter than the others; with act-order that is still the one with the highest number.
std::int64_t Plan::configGroup() const {
  return groups == 1 ? -1 : static_cast<std::int64_t>(std::count(index.begin(), index.end(), 0u));
}

bool isSymmetric(const Plan& plan) {
  const auto middle = static_cast<float>(1 << (plan.bits - 1));
  return std::all_of(plan.zero.begin(), plan.zero.end(), [middle](float zero) { return zero == middle; });
}

Result<Plan> planFor(const QuantizedTensor& tensor, Version version) {
  if (auto status = checkRule(tensor, version); !status) return fail(status.error());
  Plan plan;
  plan.bits = tensor.width.uniform;
  plan.rows = tensor.rows;
  plan.columns = tensor.columns;
  if (auto status = placeGroups(tensor, plan); !status) return fail(status.error());
  const auto largest = static_cast<float>((1 << plan.bits) - 1);
  if (!integersWithin(plan.zero, 0, largest)) return fail("its zero points are not whole codes");
  if (version == Version::V1 && !integersWithin(plan.zero, 1, largest))
    return fail("a zero point is 0, which version 1 cannot store (it stores zero - 1); gptq_v2 can");
  if (!exactIn(FloatType::F16, plan.scale)) return fail("its scales are not exact in float16 (use params=f16)");
  return plan;
}

}  // namespace nibble::formats::gptq
