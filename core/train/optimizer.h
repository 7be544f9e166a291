// SPDX-License-Identifier: GPL-3.0-or-later
// Optimizers by their standard definitions (PyTorch's documentation of SGD, Adam and AdamW), learning-rate schedules and
// clipping. A rule computes the new value of each entry in double; it is rounded once into the parameter's stored type.
//   sgd    g += decay p;  b = momentum b + g (b = g at the first step);  p -= lr b
//   adam   g += decay p;  then as adamw without decay
//   adamw  p *= 1 - lr decay;  m = beta1 m + (1 - beta1) g;  v = beta2 v + (1 - beta2) g^2;
//          p -= lr (m / (1 - beta1^t)) / (sqrt(v / (1 - beta2^t)) + epsilon)
//   diodemix  m, v as adamw;  p = p (1 - lr decay) - lr sqrt(1 - beta2^t) / (1 - beta1^t) m / (sqrt(v) + epsilon); quantized
//          weights have a rule of their own (core/layers/diode_mix.h)
// Adding an optimizer: one rule and one line in the table.
#pragma once
#include "core/base/result.h"
#include "core/train/parameter.h"

#include <cstdint>
#include <span>
#include <string_view>

namespace nibble::train {

struct Update {
  const OptimizerSettings& settings;
  double learningRate;  // of this step, after the schedule
  std::uint64_t step;   // t = 1, 2, ...
};

struct OptimizerKind {
  std::string_view id, summary;
  std::size_t states;  // how many arrays of Parameter::state it uses
  // Fills `next`, as large as the parameter, and the parameter's states; leaves its value alone.
  void (*rule)(const Update& update, Parameter& parameter, std::span<double> next);
};

std::span<const OptimizerKind> allOptimizers();
const OptimizerKind* findOptimizer(std::string_view id);
// An unknown kind (the legal ones are listed), a number that cannot be.
Status check(const OptimizerSettings& settings);

// Learning rate of step t = 1..total as a multiple of the settings': rises linearly over `warmup` steps, then stays, falls
// linearly or as half a cosine to `floor` at `total`.
struct Schedule {
  enum class Kind : std::uint8_t { Constant, Linear, Cosine };
  Kind kind = Kind::Constant;
  std::uint64_t warmup = 0;
  std::uint64_t total = 0;  // 0: constant after the warm-up
  double floor = 0;
  bool operator==(const Schedule&) const = default;
  [[nodiscard]] double factor(std::uint64_t step) const;
};

// One update of every parameter from its gradient, with `moved` counted. Kinds have been checked.
void update(std::span<Parameter> parameters, const OptimizerSettings& settings, double scheduleFactor, std::uint64_t step);

// Scales all gradients by limit / (norm + 1e-6) where their common norm exceeds `limit` (as PyTorch's clip_grad_norm_ does);
// gives the norm before. A limit of 0 changes nothing.
double clipGradients(std::span<Parameter> parameters, double limit);

}  // namespace nibble::train
