// SPDX-License-Identifier: GPL-3.0-or-later
// One trained tensor: its numbers as they are stored, the gradient of the last step, what the optimizer remembers, and how many
// of its numbers the last update really moved. Everything that must be kept to come back to a step stands here.
#pragma once
#include "core/tensor/tensor.h"
#include "core/train/number_type.h"

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace nibble::train {

struct OptimizerSettings {
  std::string kind = "adamw";  // of allOptimizers() (optimizer.h)
  double learningRate = 1e-3;
  double momentum = 0;
  double beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8;
  double weightDecay = 0;
  bool operator==(const OptimizerSettings&) const = default;
};

// What an update did. `vanished` counts entries whose update was not zero and yet rounded to nothing: less than half a unit in
// the last place of the stored type.
struct Moved {
  std::uint64_t moved = 0, vanished = 0, total = 0;
  bool operator==(const Moved&) const = default;
};

struct Parameter {
  std::string name;  // "A", "B", "magnitude", "weight", "logits", "codes"; with "TENSOR/" before it when several tensors train
  Shape shape;
  NumberType type = NumberType::F32;
  std::vector<double> value;                 // each a number of `type`
  std::vector<double> gradient;              // as large as `value`; zeroed before each step, then summed over its passes
  using State = std::array<std::vector<double>, 3>;
  State state;                               // the optimizer's: empty until the first update
  Moved moved;                               // of the last update
  std::optional<OptimizerSettings> own;      // instead of the run's (bits that learn at their own rate)

  // Values are rounded to the type.
  static Parameter of(std::string name, Shape shape, NumberType type, std::vector<double> values) {
    for (double& value : values) value = storedAs(type, value);
    Parameter parameter{std::move(name), std::move(shape), type, std::move(values), {}, {}, {}, {}};
    parameter.gradient.assign(parameter.value.size(), 0.0);
    parameter.moved.total = parameter.value.size();
    return parameter;
  }
};

// Euclidean norm, summed in double in the order of the entries.
double norm(const std::vector<double>& values);

}  // namespace nibble::train
