// SPDX-License-Identifier: GPL-3.0-or-later
#include "core/formats/gguf/plan.h"

#include "core/base/text.h"
#include "core/formats/tools.h"
#include "core/quant/block_fields.h"

#include <algorithm>
#include <cmath>

namespace nibble::formats::gguf {
namespace {

using blocks::BlockFields;
using blocks::ParameterField;

constexpr std::size_t mostSides = 4;

std::optional<std::string> generalRefusal(const QuantizedTensor& tensor) {
  if (tensor.rotation) return "a rotated tensor has no place in GGUF";
  if (!tensor.order.empty()) return "permuted inputs have no place in GGUF";
  if (!tensor.channelScale.empty()) return "scaled input channels have no place in GGUF";
  if (!tensor.width.bits.empty()) return "GGUF's types have one width of codes";
  if (tensor.shape.size() > mostSides) return "GGUF has at most 4 dimensions";
  if (!(tensor.arithmetic == Arithmetic{})) return "GGUF's types are decoded in float32, this tensor is not";
  return std::nullopt;
}

bool sameLevels(const Levels& levels, const Levels& wanted) {
  return levels.kind == wanted.kind && levels.dimension == wanted.dimension && levels.table == wanted.table && !levels.grouping;
}

bool allEqual(const std::vector<float>& values, float value) {
  return std::all_of(values.begin(), values.end(), [value](float one) { return one == value; });
}

bool isNested(const QuantizedTensor& nested, const ParameterField& field) {
  if (!sameLevels(nested.levels, field.levels) || !(nested.arithmetic == Arithmetic{})) return false;
  if (nested.rule != (field.levelsZero ? ValueRule::ScaleMinusZero : ValueRule::Scale)) return false;
  return field.numbers.count() == 0 ? !nested.scale : nested.scale && nested.scale->stored == field.stored;
}

// Whether the plane is described as the block type has it; its numbers are the packer's to check.
bool isPlane(const std::optional<Plane>& plane, const ParameterField& field, std::uint64_t weights) {
  if (field.kind == ParameterField::Kind::None) return !plane;
  if (!plane) return false;
  if (field.kind == ParameterField::Kind::Implied) return allEqual(plane->values, field.implied);
  const Grouping& grouping = plane->grouping;
  if (grouping.kind() != Grouping::Kind::Blocks || grouping.tileRows() != 1 ||
      grouping.tileColumns() != weights / field.groupsInBlock())
    return false;
  if (field.kind == ParameterField::Kind::Nested) return plane->nested && isNested(*plane->nested, field);
  return plane->nested != nullptr || plane->stored == field.stored;  // nested: NVFP4's bytes that are no positive numbers
}

bool isSpelledAs(const QuantizedTensor& tensor, const BlockFields& fields) {
  return tensor.rule == fields.rule && sameLevels(tensor.levels, fields.levels) &&
         isPlane(tensor.scale, fields.scale, fields.weights()) && isPlane(tensor.zero, fields.zero, fields.weights());
}

// The number of `plane` for each run of `run` weights; none: a run needs more than one.
std::optional<std::vector<float>> numbersOfRuns(const Plane& plane, std::uint64_t weights, std::uint64_t run) {
  std::vector<float> numbers(weights / run);
  for (std::size_t i = 0; i < numbers.size(); ++i) {
    if (plane.grouping.runLength(i * run) < run) return std::nullopt;
    numbers[i] = plane.values[plane.grouping.groupOf(i * run)];
  }
  return numbers;
}

bool fits(Stored stored, float value) {
  if (!std::isfinite(value)) return false;
  if (stored == Stored::F16) return kernels::halfToFloat(kernels::floatToHalf(value)) == value;
  if (stored == Stored::F8E4M3) return value >= 0 && kernels::float8ToFloat<4>(kernels::floatToFloat8<4>(value)) == value;
  int exponent = 0;  // E8M0; two powers below the top, so that no code makes the value infinite
  return value > 0 && std::frexp(value, &exponent) == 0.5f && exponent - 1 >= -127 && exponent - 1 <= 125;
}

std::optional<std::string> setPlane(std::optional<Plane>& plane, const ParameterField& field, const QuantizedTensor& tensor,
                                    const BlockFields& fields, const std::string& what) {
  if (field.kind == ParameterField::Kind::None) return std::nullopt;
  if (field.kind == ParameterField::Kind::Implied) {
    plane = Plane::implied(Grouping::tensor(tensor.rows, tensor.columns), field.implied);
    return std::nullopt;
  }
  const std::uint64_t run = fields.weights() / field.groupsInBlock();
  auto numbers = numbersOfRuns(*plane, tensor.weightCount(), run);
  const std::string name(fields.name);
  if (!numbers) return "groups of " + text::number(run) + " weights, those of " + name + ", would need more than one " + what;
  for (const float value : *numbers)
    if (!fits(field.stored, value)) return "a " + what + " of " + text::number(value) + " is no number that " + name + " stores";
  plane = Plane{Grouping::blocks(tensor.rows, tensor.columns, 1, run), *std::move(numbers), field.stored, nullptr};
  return std::nullopt;
}

// `tensor` said as `type`; the error says why it cannot be.
Result<QuantizedTensor> respelled(const QuantizedTensor& tensor, BlockType type) {
  const BlockFields& fields = blocks::fieldsOf(type);
  if (tensor.columns % fields.weights() != 0)
    return fail("blocks of " + std::string(fields.name) + " hold " + text::number(fields.weights()) + " weights, which do not divide " +
                text::number(tensor.columns) + " columns");
  QuantizedTensor changed = tensor;
  changed.levels = fields.levels;
  changed.rule = fields.rule;
  changed.layout = blockLayout(type, tensor.rows, tensor.columns);
  if (auto reason = setPlane(changed.scale, fields.scale, tensor, fields, "scale")) return fail(*reason);
  if (auto reason = setPlane(changed.zero, fields.zero, tensor, fields, "offset")) return fail(*reason);
  return changed;
}

// Which block types have codes and rule like the tensor's, the likeliest first.
std::vector<BlockType> candidates(const QuantizedTensor& tensor) {
  if (!tensor.scale || !tensor.signs.empty() || tensor.codes.as<std::uint8_t>() == nullptr) return {};
  if (tensor.levels.smallFloat() == FloatType::F4E2M1 && tensor.rule == ValueRule::Scale)
    return {BlockType::MXFP4, BlockType::NVFP4};
  if (tensor.levels.kind != Levels::Kind::Identity) return {};
  const int bits = tensor.width.uniform;
  if (tensor.rule == ValueRule::ScaleMinusZero && tensor.zero && bits > 0 &&
      allEqual(tensor.zero->values, static_cast<float>(1 << (bits - 1)))) {
    if (bits == 4) return {BlockType::Q4_0};
    if (bits == 5) return {BlockType::Q5_0};
    if (bits == 8) return {BlockType::Q8_0};
  }
  if (tensor.rule == ValueRule::ScalePlusBias && tensor.zero) {
    if (bits == 4) return {BlockType::Q4_1};
    if (bits == 5) return {BlockType::Q5_1};
  }
  return {};
}

std::optional<DType> plainType(const QuantizedTensor& tensor) {
  if (tensor.levels.kind != Levels::Kind::Float || tensor.scale || tensor.zero || !tensor.signs.empty()) return std::nullopt;
  return dtypeOf(tensor.levels.type);
}

template <class T>
bool copyCodes(const Codes& codes, std::vector<std::byte>& bytes) {
  const std::vector<T>* values = codes.as<T>();
  if (values == nullptr) return false;
  const auto raw = std::as_bytes(std::span(*values));
  bytes.assign(raw.begin(), raw.end());
  return true;
}

}  // namespace

Result<Plan> planFor(const QuantizedTensor& tensor) {
  if (auto reason = generalRefusal(tensor)) return fail(*reason);
  if (const auto type = plainType(tensor)) return Plan{std::nullopt, *type, nullptr};
  if (const auto type = blockTypeOf(tensor); type && isSpelledAs(tensor, blocks::fieldsOf(*type)))
    return Plan{type, DType::U8, nullptr};
  std::string reasons;
  for (const BlockType type : candidates(tensor)) {
    auto spelled = respelled(tensor, type);
    if (spelled) return Plan{type, DType::U8, std::make_shared<const QuantizedTensor>(*std::move(spelled))};
    reasons += (reasons.empty() ? "" : "; ") + spelled.error().message;
  }
  return fail(reasons.empty() ? "none of ggml's types has such codes, levels and parameters" : reasons);
}

Result<RawTensor> stored(const std::string& name, const QuantizedTensor& tensor, const Plan& plan) {
  RawTensor raw;
  raw.name = name;
  raw.shape = tensor.shape;
  raw.type = plan.type;
  if (!plan.block) {
    if (copyCodes<std::uint16_t>(tensor.codes, raw.owned) || copyCodes<std::int32_t>(tensor.codes, raw.owned)) return raw;
    return fail(name + ": its codes are no floats");
  }
  auto bytes = toBlocks(plan.spelled ? *plan.spelled : tensor);
  if (!bytes) return fail(bytes.error().within(name));
  const kernels::BlockShape block = kernels::blockShape(*plan.block);
  raw.block = plan.block;
  raw.shape.back() = raw.shape.back() / block.weights * block.bytes;
  raw.owned = *std::move(bytes);
  return raw;
}

}  // namespace nibble::formats::gguf
