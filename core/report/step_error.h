// SPDX-License-Identifier: GPL-3.0-or-later
// The error of each weight measured in steps of its own group, e / |scale|: a scheme that takes the nearest of evenly spaced levels
// stays within +-1/2, what lies outside was clamped. Defined for identity levels (neighbours one scale apart); for tables of
// levels there is no one step, `inSteps` is false and the histogram is over plain e. Bins span +- `reach`; what is beyond
// falls into the end bins. A group of scale 0 counts as 0 where e is 0, else as outside.
#pragma once
#include "core/base/context.h"
#include "core/quant/quantized_tensor.h"
#include "core/report/histogram.h"

namespace nibble {

struct StepErrors {
  Histogram errors;
  bool inSteps = false;
  double outsideShare = -1;  // share of weights beyond half a step (and 1e-3 for rounding); negative: not in steps
};

// `maxError` is the report's: the reach of plain errors. Steps reach +-1.5.
Result<StepErrors> stepErrors(const Tensor& tensor, const QuantizedTensor& quantized, double maxError, int bins, const Context& context);

}  // namespace nibble
