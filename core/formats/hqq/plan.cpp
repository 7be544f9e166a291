// SPDX-License-Identifier: GPL-3.0-or-later
#include "core/formats/hqq/plan.h"

#include "core/base/text.h"
#include "core/formats/tools.h"

namespace nibble::formats::hqq {
namespace {

Status checkRule(const QuantizedTensor& tensor) {
  if (const auto reason = plainRefusal(tensor)) return fail(*reason);
  if (tensor.shape.size() != 2) return fail("HQQ layers are matrices; this is " + toText(tensor.shape));
  if (tensor.levels.kind != Levels::Kind::Identity) return fail("its levels are not evenly spaced");
  if (tensor.rule == ValueRule::ScalePlusBias)
    return fail("it adds a minimum after scaling; HQQ subtracts a zero point before");
  if (!tensor.scale) return fail("it has no scales");
  if (tensor.scale->nested || (tensor.zero && tensor.zero->nested))
    return fail("its scales or zero points are quantized themselves, which hqq 0.2 no longer loads");
  const FloatType step = tensor.arithmetic.step;
  if (tensor.arithmetic.fused || step != tensor.arithmetic.result)
    return fail("its rounding is not HQQ's (each step in one type)");
  if (step != FloatType::F32 && step != FloatType::F16 && step != FloatType::BF16)
    return fail("HQQ computes in float32, float16 or bfloat16");
  return {};
}

Status placeGroups(const QuantizedTensor& tensor, Plan& plan) {
  const std::uint64_t count = tensor.weightCount();
  const Grouping& grouping = tensor.scale->grouping;
  if (const auto length = runLengthOf(grouping)) {
    plan.axis = 1;
    plan.group = grouping.groupCount() == 1 ? tensor.columns : *length;  // one number for all: repeated for each row
    if (count % plan.group != 0)
      return fail("the last group is shorter: " + text::number(plan.group) + " does not divide " + text::number(count));
    plan.groups = count / plan.group;
  } else if (const auto modulo = moduloOf(grouping)) {
    plan.axis = 0;
    plan.groups = *modulo;
    if (count % plan.groups != 0) return fail("its groups differ in size");
    plan.group = count / plan.groups;
  } else {
    return fail("its groups (" + grouping.describe() + ") are neither runs along the input nor HQQ's axis 0");
  }
  return {};
}

Status placeNumbers(const QuantizedTensor& tensor, Plan& plan) {
  const GroupKind kind = plan.axis == 1 ? GroupKind::Runs : GroupKind::Modulo;
  const std::uint64_t n = plan.axis == 1 ? plan.group : plan.groups;
  const auto scale = numbersOn(*tensor.scale, kind, n);
  const auto zero = tensor.rule == ValueRule::ScaleMinusZero && tensor.zero
                        ? numbersOn(*tensor.zero, kind, n)
                        : std::optional(std::vector<float>(plan.groups, 0.0f));
  if (!scale || !zero) return fail("its zero points are grouped otherwise than its scales");
  if (!exactIn(plan.compute, *scale) || !exactIn(plan.compute, *zero))
    return fail("its scales or zero points are not exact in " + std::string(typeName(plan.compute)));
  const Stored type = tensor.scale->stored;
  plan.stored = plan.compute != FloatType::F32 ? plan.compute
                : type == Stored::F16          ? FloatType::F16
                : type == Stored::BF16         ? FloatType::BF16
                                               : FloatType::F32;
  if (!exactIn(plan.stored, *scale) || !exactIn(plan.stored, *zero)) plan.stored = plan.compute;
  plan.scale = *scale;
  plan.zero = *zero;
  return {};
}

// "group=0" in a choice is the library's group_size=None, which it quantizes at 3 bits and then fails to decode.
bool choiceHasNoGroup(const std::string& choice) {
  const std::size_t at = choice.find("group=0");
  return at != std::string::npos && (at + 7 == choice.size() || choice[at + 7] == ',');
}

}  // namespace

std::optional<Packing> packingOf(int bits) {
  switch (bits) {
    case 8:
    case 6:
    case 5:
      return Packing{"8bit_u8", 8, 1, DType::U8};
    case 4:
      return Packing{"4bit_u8", 4, 2, DType::U8};
    case 3:
      return Packing{"3bit_32", 3, 10, DType::I32};
    case 2:
      return Packing{"2bit_u8", 2, 4, DType::U8};
    case 1:
      return Packing{"1bit_u8", 1, 8, DType::U8};
    default:
      return std::nullopt;
  }
}

Result<Plan> planFor(const QuantizedTensor& tensor) {
  if (auto status = checkRule(tensor); !status) return fail(status.error());
  Plan plan;
  plan.bits = tensor.width.uniform;
  plan.compute = tensor.arithmetic.step;
  const auto packing = packingOf(plan.bits);
  if (!packing) return fail("HQQ stores 8, 6, 5, 4, 3, 2 or 1 bits, not " + std::to_string(plan.bits));
  plan.packing = *packing;
  if (auto status = placeGroups(tensor, plan); !status) return fail(status.error());
  if (plan.bits == 3 && choiceHasNoGroup(tensor.scheme)) return fail("HQQ cannot decode 3 bits without a group size");
  if (plan.packing.type == DType::U8 && plan.groupedRows() % plan.packing.slots != 0)
    return fail(text::number(plan.groupedRows()) + " grouped rows do not fill " + plan.packing.name + " (" +
                text::number(plan.packing.slots) + " a byte)");
  if (auto status = placeNumbers(tensor, plan); !status) return fail(status.error());
  return plan;
}

}  // namespace nibble::formats::hqq
