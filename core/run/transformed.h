// SPDX-License-Identifier: GPL-3.0-or-later
// A choice carried out: its transforms in order, then its scheme on what they made of the weights, then what the decoder must
// undo, in one description. Without transforms it is the scheme alone. Transforms work on a float32 copy of the weights; what is
// known about the inputs goes through them too, so that a scheme that weighs errors weighs them by the inputs it will meet.
#pragma once
#include "core/run/choice.h"

namespace nibble {

// Weights are finite and the choice is not refused for their size. Errors: those of transforms and scheme; a scheme that moves or
// scales columns after a rotation, which the decoder cannot undo.
Result<QuantizedTensor> quantizeTransformed(const Tensor& tensor, const Choice& choice, const Context& context);

}  // namespace nibble
