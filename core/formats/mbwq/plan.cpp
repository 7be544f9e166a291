// SPDX-License-Identifier: GPL-3.0-or-later
#include "core/formats/mbwq/plan.h"

#include "core/base/text.h"
#include "core/formats/input_groups.h"
#include "core/formats/tools.h"

#include <algorithm>

namespace nibble::formats::mbwq {
namespace {

constexpr std::uint64_t inputStep = 32, mostInputs = 65535;

Status checkRule(const QuantizedTensor& tensor) {
  if (tensor.rule != ValueRule::ScalePlusBias || !tensor.zero)
    return fail("MBWQ subtracts a scaled zero after the product; this tensor does not");
  if (!(tensor.arithmetic == Arithmetic{FloatType::F16, FloatType::F16, true}))
    return fail("MBWQ rounds code times scale less zero once, to float16; this tensor's values are rounded otherwise");
  if (tensor.columns % inputStep != 0) return fail("its " + text::number(tensor.columns) + " inputs are not a multiple of 32");
  if (tensor.columns > mostInputs)
    return fail("its " + text::number(tensor.columns) + " inputs are more than the 65535 that MBWQ can number");
  if (!isOne(tensor.channelScale) && !tensor.channelScaleMultiplies)
    return fail("its inputs are divided by a channel scale; MBWQ multiplies them");
  return {};
}

}  // namespace

std::uint64_t uniformGroup(const std::vector<WidthGroup>& groups) {
  const bool equal =
      std::all_of(groups.begin(), groups.end(), [&](const WidthGroup& group) { return group == groups.front(); });
  return equal && !groups.empty() ? groups.front().inputs : 0;
}

Result<Plan> planFor(const QuantizedTensor& tensor) {
  if (auto status = checkRule(tensor); !status) return fail(status.error());
  auto groups = inputGroupsOf(tensor);
  if (!groups) return fail(groups.error());
  if (!exactIn(FloatType::F16, groups->scale)) return fail("its scales are not exact in float16 (use params=f16)");
  if (!exactIn(FloatType::F16, groups->zero)) return fail("its offsets are not exact in float16 (use params=f16)");
  if (!exactIn(FloatType::F16, tensor.channelScale)) return fail("its channel scale is not exact in float16");
  Plan plan;
  plan.rows = tensor.rows;
  plan.columns = tensor.columns;
  plan.groups = std::move(groups->groups);
  plan.scale = std::move(groups->scale);
  plan.zero = std::move(groups->zero);
  for (float& zero : plan.zero) zero = zero == 0 ? 0.0f : -zero;
  plan.order = tensor.order.empty() ? identityOrder(tensor.columns) : tensor.order;
  plan.channelScale.assign(tensor.columns, 1.0f);
  for (std::size_t k = 0; k < tensor.channelScale.size(); ++k) plan.channelScale[plan.order[k]] = tensor.channelScale[k];
  const std::uint8_t bits = plan.groups.front().bits;
  plan.mixed = uniformGroup(plan.groups) == 0 || (bits != 2 && bits != 4);
  return plan;
}

}  // namespace nibble::formats::mbwq
