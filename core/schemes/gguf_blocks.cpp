// SPDX-License-Identifier: GPL-3.0-or-later
#include "core/schemes/gguf_blocks.h"

#include "core/base/text.h"
#include "core/quant/blocks.h"
#include "core/quant/encode.h"
#include "core/tensor/activations.h"
#include "kernels/backend.h"

#include <algorithm>

namespace nibble {
namespace {

struct NoSettings {};

// No block holds more: the largest float16 times q6_k's scale and code. Far beyond it the searches overflow float32 and find
// scales of the other weights, which would pass in silence.
constexpr float largestWeight = 65504.0f * 128.0f * 32.0f;

Status refuseHuge(kernels::BlockType type, std::uint64_t begin, std::span<const float> weights, const Context& context) {
  float low = 0, high = 0;
  context.backend->ranges(kernels::GroupView::contiguous(weights.data(), 1, weights.size()), &low, &high);
  if (low >= -largestWeight && high <= largestWeight) return {};
  const auto huge = [](float weight) { return weight < -largestWeight || weight > largestWeight; };
  const auto at = std::find_if(weights.begin(), weights.end(), huge);
  const auto index = begin + static_cast<std::uint64_t>(at - weights.begin());
  return fail("block " + text::number(index / kernels::blockShape(type).weights) + ": weight " + text::number(index) + " is " +
              text::number(*at) + ", beyond what a float16 scale can hold");
}

const std::vector<float>* importanceFor(const Tensor& tensor, const Context& context) {
  if (context.activations == nullptr) return nullptr;
  const LayerInputs* inputs = context.activations->find(tensor.name(), tensor.columns());
  return inputs == nullptr || inputs->meanSquares.empty() ? nullptr : &inputs->meanSquares;
}

Result<std::vector<std::byte>> encodeAll(kernels::BlockType type, const Tensor& tensor, const float* importance,
                                         const Context& context) {
  const kernels::BlockShape shape = kernels::blockShape(type);
  std::vector<std::byte> bytes(tensor.size() / shape.weights * shape.bytes);
  // With importance a strip is whole rows; without, any whole blocks will do.
  const std::uint64_t unit = importance != nullptr ? tensor.columns() : shape.weights;
  NIBBLE_TRY(forEachStrip(tensor, unit, context, [&](std::uint64_t begin, std::span<const float> weights) -> Status {
    NIBBLE_TRY(refuseHuge(type, begin, weights, context));
    const std::uint64_t rows = importance != nullptr ? weights.size() / unit : 1;
    context.backend->encodeBlocks(type, weights.data(), rows, weights.size() / rows, importance,
                                  reinterpret_cast<std::uint8_t*>(bytes.data()) + begin / shape.weights * shape.bytes);
    return {};
  }));
  return bytes;
}

}  // namespace

const std::vector<SettingInfo>& BlockScheme::settings() const {
  static const auto none = SettingTable<NoSettings>{};
  return none.infos();
}

std::optional<std::string> BlockScheme::refusal(const SettingValues&, MatrixSize size) const {
  const std::uint64_t unit = kernels::blockShape(m_type).weights;
  if (size.columns % unit == 0) return std::nullopt;
  return std::string(m_info.id) + " needs columns in multiples of " + text::number(unit) + "; this matrix has " +
         text::number(size.columns);
}

Result<QuantizedTensor> BlockScheme::quantize(const Tensor& tensor, const SettingValues&, const Context& context) const {
  const std::vector<float>* given = importanceFor(tensor, context);
  const bool used = given != nullptr && m_info.needs == Needs::ImportanceWeights;
  const auto bytes = encodeAll(m_type, tensor, used ? given->data() : nullptr, context);
  if (!bytes) return fail(bytes.error().kind == ErrorKind::Cancelled ? bytes.error() : bytes.error().within(tensor.name()));
  auto result = fromBlocks(m_type, tensor.rows(), tensor.columns(), *bytes);
  if (!result) return fail(result.error().within(tensor.name()));
  result->shape = tensor.shape();
  if (used) result->notes.push_back("weighted by the importance of " + text::number(tensor.columns()) + " input channels");
  if (given != nullptr && !used) result->notes.push_back("importance weights are ignored, as the reference does");
  if (given == nullptr && m_info.needs == Needs::ImportanceWeights)
    result->notes.push_back("no importance weights: the reference's search without them");
  return result;
}

}  // namespace nibble
