// SPDX-License-Identifier: GPL-3.0-or-later
// The line everything else is built on: one tensor, one choice -> what it becomes and what that breaks.
// Refuses, by name: empty tensors, NaN and infinity (with the first bad index), settings that do not fit the shape.
#pragma once
#include "core/report/error_report.h"
#include "core/run/choice.h"

#include <memory>

namespace nibble {

struct Outcome {
  Choice choice;
  std::shared_ptr<const QuantizedTensor> quantized;
  ErrorReport report;
  double seconds = 0;  // quantizing and measuring
};

Result<Outcome> run(const Tensor& tensor, const Choice& choice, const Context& context, const ReportOptions& options = {});

// E[x^2] per input channel of this tensor, where the context knows it; what run() weighs errors with unless its options say.
std::span<const float> knownMeanSquares(const Tensor& tensor, const Context& context);

// The check run() makes first, for those who need it alone: dtype, emptiness, finiteness.
Status checkWeights(const Tensor& tensor, const Context& context);

}  // namespace nibble
