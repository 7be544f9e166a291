// SPDX-License-Identifier: GPL-3.0-or-later
// Quantized weights that train: a packed mixed-bit-width layer (core/layers/mbwq_layer.h) whose codes and zeros DiodeMix moves;
// no float weights stand beside them. The layer is what a scheme makes of the tensor, or the packed one of the file.
//   loss = mean of (y - target)^2,   y = half(half(x) W + bias),   W = half(q scale - zero)
// Output gradients go through the layer in float16, as it computes: they are scaled by a power of two first, which the weights'
// gradient is divided by, so that they do not vanish there.
// Parameters: codes [out, in] and their gradient (that of W) in the model's order of inputs, zeros [groups, out], bias. Moved
// codes are flipped ones; vanished ones were to change, stayed, and nothing of it was kept. Figure: changedShare, of the codes
// that differ from the start.
// Arrays to look at: x, weight [out, in], codes, scales, zeros, y and output, target, bias, grad/codes, grad/zeros, grad/bias.
#pragma once
#include "core/layers/mbwq_layer.h"
#include "core/train/layer_data.h"
#include "core/train/trainable.h"

#include <memory>

namespace nibble::train {

// Errors: a scheme whose groups the layer cannot hold, an optimizer that is not diodemix, neither a scheme nor a packed tensor.
Result<std::unique_ptr<Trainable>> makePacked(const TrainJob& job, const Context& context);
// The same from a layer and data in memory.
Result<std::unique_ptr<Trainable>> makePacked(MbwqLayer layer, LayerData data, const TrainSettings& settings);

}  // namespace nibble::train
