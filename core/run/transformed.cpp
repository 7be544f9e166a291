// SPDX-License-Identifier: GPL-3.0-or-later
#include "core/run/transformed.h"

#include "core/tensor/activations.h"

namespace nibble {
namespace {

Result<QuantizedTensor> quantizeLayer(const Transformed& layer, const Choice& choice, const Context& context) {
  ActivationData data;
  Context inner = context;
  inner.activations = &data;
  if (!layer.inputs.empty()) NIBBLE_TRY(data.add(layer.name, layer.inputs));
  return choice.scheme().quantize(Tensor::fromFloats(layer.name, layer.shape, layer.weights), choice.values(), inner);
}

// The scheme's own channel scale comes after ours, its order after that.
Status attach(const Transformed& layer, const Choice& choice, QuantizedTensor& quantized) {
  if (layer.rotation) {
    const std::string id(choice.scheme().info().id);
    if (!quantized.order.empty()) return fail(id + " moves columns after the rotation, which cannot be undone");
    if (!quantized.channelScale.empty() || quantized.rotation)
      return fail(id + " scales channels after the rotation, which cannot be undone");
    quantized.rotation = layer.rotation;
  }
  if (layer.channelScale.empty()) return {};
  if (quantized.channelScale.empty()) quantized.channelScale.assign(layer.columns, 1.0f);
  for (std::size_t j = 0; j < quantized.channelScale.size(); ++j) {
    const float scale = layer.channelScale[quantized.order.empty() ? j : quantized.order[j]];
    quantized.channelScale[j] = quantized.channelScaleMultiplies ? quantized.channelScale[j] / scale : quantized.channelScale[j] * scale;
  }
  quantized.channelScaleStored = Stored::F32;
  return {};
}

}  // namespace

Result<QuantizedTensor> quantizeTransformed(const Tensor& tensor, const Choice& choice, const Context& context) {
  if (choice.transforms().empty()) return choice.scheme().quantize(tensor, choice.values(), context);
  auto weights = tensor.readAll();
  if (!weights) return fail(weights.error());
  Transformed layer{tensor.name(), tensor.shape(), tensor.rows(), tensor.columns(), *std::move(weights), {}, std::nullopt, {}};
  if (context.activations != nullptr)
    if (const LayerInputs* known = context.activations->find(tensor.name(), tensor.columns())) layer.inputs = *known;
  const auto quantize = [&](const Transformed& changed) { return quantizeLayer(changed, choice, context); };
  for (const ChosenTransform& chosen : choice.transforms())
    if (auto status = chosen.transform->apply(layer, chosen.values, quantize, context); !status)
      return status.error().kind == ErrorKind::Cancelled ? fail(status.error()) : fail(status.error().within(tensor.name()));
  auto quantized = quantize(layer);
  if (!quantized) return quantized;
  if (auto status = attach(layer, choice, *quantized); !status) return fail(status.error().within(tensor.name()));
  return quantized;
}

}  // namespace nibble
