// SPDX-License-Identifier: GPL-3.0-or-later
// One linear layer with quantized weights, activations and outputs, against the float layer: y = x W^T + b over given inputs.
// Activations are quantized as they come (dynamic), by any choice; `channel` means their columns. What the weights' choice does
// to the input dimension (order, channel scale, rotation) and SmoothQuant's scales are done to the inputs first, so that
// activations are quantized as the layer would meet them. Reference: products of the float values, summed in double.
// Whether integers did the work, and why not: products.h.
#pragma once
#include "core/base/context.h"
#include "core/base/result.h"
#include "core/report/error_report.h"
#include "core/run/choice.h"
#include "core/tensor/tensor.h"

#include <optional>
#include <string>
#include <vector>

namespace nibble {

struct LinearJob {
  const Tensor* weights = nullptr;           // [out, in], float values (a packed layer decoded)
  const QuantizedTensor* packed = nullptr;   // the layer as it is stored; used where no choice is made for the weights
  std::vector<float> bias;                   // empty, or one per output
  const Tensor* inputs = nullptr;            // [..., in]
  std::optional<Choice> weightChoice, activationChoice;  // none: float
  std::optional<double> smoothAlpha;
  bool quantizeOutput = false;               // by the activations' choice
};

struct LinearStudy {
  std::vector<float> outputs;                // [..., out]
  std::vector<float> reference;              // of the float layer
  Shape shape;                               // the inputs' with the last dimension replaced
  ErrorReport errors;                        // w = reference, r = outputs
  bool integer = false;
  std::string reason;                        // why not
  std::vector<float> smoothScales;           // empty: none
  std::vector<std::string> notes;            // of the weights' scheme
};

// Errors: shapes that do not fit, numbers that are not finite, choices that are refused, cancelled.
Result<LinearStudy> studyLinear(const LinearJob& job, const Context& context);

// An activations' choice as it is meant: with kind=activation where the scheme knows kinds; transforms are refused.
Result<Choice> activationChoice(const Choice& choice);

}  // namespace nibble
