// SPDX-License-Identifier: GPL-3.0-or-later
#include "core/formats/exl2/plan.h"

#include "core/base/text.h"
#include "core/formats/input_groups.h"
#include "core/formats/tools.h"

namespace nibble::formats::exl2 {
namespace {

constexpr std::uint64_t padding = 32, mostInputs = 65535;

Status checkRule(const QuantizedTensor& tensor) {
  if (!isOne(tensor.channelScale)) return fail("its input channels are scaled");
  if (tensor.rule != ValueRule::ScaleMinusZero || !tensor.zero) return fail("EXL2 codes count from the middle; these do not");
  if (!(tensor.arithmetic == Arithmetic{FloatType::F16, FloatType::F16, false}))
    return fail("EXL2 rounds scale times code to float16; this tensor's values are rounded otherwise");
  if (tensor.columns % padding != 0) return fail("its " + text::number(tensor.columns) + " inputs are not a multiple of 32");
  if (tensor.columns > mostInputs)
    return fail("its " + text::number(tensor.columns) + " inputs are more than the 65535 that EXL2 can number");
  return {};
}

}  // namespace

Result<Plan> planFor(const QuantizedTensor& tensor) {
  if (auto status = checkRule(tensor); !status) return fail(status.error());
  auto groups = inputGroupsOf(tensor);
  if (!groups) return fail(groups.error());
  const std::uint64_t count = groups->groups.size();
  for (std::size_t i = 0; i < groups->zero.size(); ++i)
    if (groups->zero[i] != static_cast<float>(1 << (groups->groups[i % count].bits - 1)))
      return fail("EXL2 codes count from the middle; a zero point here is " + text::number(groups->zero[i]));
  auto scales = squareScalesOf(*tensor.scale, count);
  if (!scales) scales = fitSquareScales(groups->scale, tensor.rows, count);
  if (!scales) return fail("its scales are not squares of 4-bit numbers under one maximum per group");
  Plan plan;
  plan.rows = tensor.rows;
  plan.outputs = (tensor.rows + padding - 1) / padding * padding;
  plan.columns = tensor.columns;
  plan.groups = std::move(groups->groups);
  plan.scales = std::move(*scales);
  plan.order = tensor.order.empty() ? identityOrder(tensor.columns) : tensor.order;
  return plan;
}

}  // namespace nibble::formats::exl2
