// SPDX-License-Identifier: GPL-3.0-or-later
// Two checkpoints tensor by tensor: how far the weights of B are from those of A, packed layers decoded, and with a third
// checkpoint as reference how far each is from it. Tensors are matched by name; what is left over is matched where one name is
// the other with more in front ("model.layers..." and "layers...") and the shape is the same. Floating tensors and packed
// layers take part, other tensors do not. Tensors are read one pair at a time; rows come by descending MSE, then by name. A
// packed layer that can be read in two ways is one row for each.
#pragma once
#include "core/report/error_report.h"
#include "core/run/weight_list.h"

#include <functional>
#include <string>
#include <vector>

namespace nibble {

struct DiffSide {
  std::string name;      // of the tensor there
  std::string storedAs;  // "F16", "gptq 4 bit group 32"
  std::string reading;   // of a layer of doubtful reading; empty as a rule
  double bitsPerWeight = 0;
};

struct DiffedTensor {
  DiffSide a, b;
  Shape shape;
  ErrorReport difference;                                     // w = A, r = B
  std::optional<ErrorReport> aFromReference, bFromReference;  // w = the reference
};

struct DiffJob {
  const WeightList* a = nullptr;
  const WeightList* b = nullptr;
  const WeightList* reference = nullptr;         // null: none
  std::vector<std::string> tensors;              // names in A; empty: all that match
  std::function<void(const std::string&)> warn;  // called on the calling thread with one line
};

// Errors: a named tensor that has no partner of its shape, nothing that matches at all, a layer that cannot be decoded.
Result<std::vector<DiffedTensor>> diff(const DiffJob& job, const Context& context);

// The error sums alone of two tensors of one shape: no percentile, no code occupancy.
Result<ErrorReport> differenceOf(const Tensor& weights, const Tensor& other, const Context& context);

}  // namespace nibble
