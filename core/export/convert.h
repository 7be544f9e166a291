// SPDX-License-Identifier: GPL-3.0-or-later
// A packed layer for another format: the same codes, said as that format says them. Several spellings of the same weights are
// tried (inputs in the model's order or sorted by group, zero subtracted before or after the product, parameters in the stored
// types formats use, the roundings they make) and the format itself decides which it can hold. The first that decodes to the
// same values is taken, else the one that is off by least; how far is said.
#pragma once
#include "core/base/context.h"
#include "core/formats/format.h"

#include <memory>

namespace nibble {

struct Conversion {
  std::shared_ptr<const QuantizedTensor> tensor;
  double maxDifference = 0;  // largest |value - value before|; 0: exact (as numbers: -0 is 0)
};

// Error: the format's own reason against the tensor as it is, where it can hold no spelling of it.
Result<Conversion> convertFor(const Format& format, std::shared_ptr<const QuantizedTensor> source, const Context& context);

}  // namespace nibble
