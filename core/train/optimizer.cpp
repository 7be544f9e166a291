// SPDX-License-Identifier: GPL-3.0-or-later
#include "core/train/optimizer.h"

#include "core/base/contracts.h"
#include "core/base/text.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>

namespace nibble::train {
namespace {

void sgd(const Update& update, Parameter& parameter, std::span<double> next) {
  const OptimizerSettings& s = update.settings;
  std::vector<double>& buffer = parameter.state[0];
  for (std::size_t i = 0; i < next.size(); ++i) {
    const double p = parameter.value[i];
    double g = parameter.gradient[i] + s.weightDecay * p;
    if (s.momentum != 0) g = buffer[i] = update.step == 1 ? g : s.momentum * buffer[i] + g;
    next[i] = p - update.learningRate * g;
  }
}

// What Adam adds to an entry, after its moments took in the gradient.
struct Moments {
  double beta1, beta2, epsilon, rate, correction1, correction2;
  explicit Moments(const Update& update)
      : beta1(update.settings.beta1),
        beta2(update.settings.beta2),
        epsilon(update.settings.epsilon),
        rate(update.learningRate),
        correction1(1 - std::pow(beta1, static_cast<double>(update.step))),
        correction2(1 - std::pow(beta2, static_cast<double>(update.step))) {}
  double change(double& first, double& second, double g) const {
    first = beta1 * first + (1 - beta1) * g;
    second = beta2 * second + (1 - beta2) * g * g;
    return -rate * (first / correction1) / (std::sqrt(second / correction2) + epsilon);
  }
};

void adam(const Update& update, Parameter& parameter, std::span<double> next) {
  const Moments moments(update);
  for (std::size_t i = 0; i < next.size(); ++i) {
    const double p = parameter.value[i], g = parameter.gradient[i] + update.settings.weightDecay * p;
    next[i] = p + moments.change(parameter.state[0][i], parameter.state[1][i], g);
  }
}

void adamw(const Update& update, Parameter& parameter, std::span<double> next) {
  const Moments moments(update);
  const double kept = 1 - update.learningRate * update.settings.weightDecay;
  for (std::size_t i = 0; i < next.size(); ++i)
    next[i] = parameter.value[i] * kept + moments.change(parameter.state[0][i], parameter.state[1][i], parameter.gradient[i]);
}

// The rule of core/layers/diode_mix.h where a parameter is a float: the correction is in the step, epsilon beside the raw root.
void diodeMix(const Update& update, Parameter& parameter, std::span<double> next) {
  const OptimizerSettings& s = update.settings;
  const auto t = static_cast<double>(update.step);
  const double size = update.learningRate * std::sqrt(1 - std::pow(s.beta2, t)) / (1 - std::pow(s.beta1, t));
  for (std::size_t i = 0; i < next.size(); ++i) {
    const double g = parameter.gradient[i];
    double &m = parameter.state[0][i], &v = parameter.state[1][i];
    m = s.beta1 * m + (1 - s.beta1) * g;
    v = s.beta2 * v + (1 - s.beta2) * g * g;
    next[i] = parameter.value[i] * (1 - update.learningRate * s.weightDecay) - size * m / (std::sqrt(v) + s.epsilon);
  }
}

constexpr std::array kinds = {
    OptimizerKind{"sgd", "Stochastic gradient descent, with momentum", 1, sgd},
    OptimizerKind{"adam", "Adam; weight decay is part of the gradient", 2, adam},
    OptimizerKind{"adamw", "Adam with decoupled weight decay", 2, adamw},
    OptimizerKind{"diodemix", "For weights that stay quantized; floats as by Adam", 2, diodeMix},
};

// Rounds into the stored type and counts.
void store(Parameter& parameter, std::span<const double> next) {
  Moved moved;
  moved.total = parameter.value.size();
  for (std::size_t i = 0; i < next.size(); ++i) {
    const double rounded = storedAs(parameter.type, next[i]);
    if (rounded != parameter.value[i])
      ++moved.moved;
    else if (next[i] != parameter.value[i])
      ++moved.vanished;
    parameter.value[i] = rounded;
  }
  parameter.moved = moved;
}

}  // namespace

double norm(const std::vector<double>& values) {
  double sum = 0;
  for (const double value : values) sum += value * value;
  return std::sqrt(sum);
}

std::span<const OptimizerKind> allOptimizers() {
  return kinds;
}

const OptimizerKind* findOptimizer(std::string_view id) {
  const auto found = std::find_if(kinds.begin(), kinds.end(), [id](const OptimizerKind& kind) { return kind.id == id; });
  return found == kinds.end() ? nullptr : &*found;
}

Status check(const OptimizerSettings& settings) {
  if (findOptimizer(settings.kind) == nullptr) {
    std::vector<std::string> ids;
    for (const OptimizerKind& kind : kinds) ids.emplace_back(kind.id);
    return fail("no optimizer " + settings.kind + "; there are " + text::join(ids, ", "));
  }
  const auto within = [](double value, double low, double high) { return value >= low && value < high; };
  constexpr double large = 1e30;
  if (!within(settings.learningRate, 0, large))
    return fail("a learning rate is a number of 0 or more, not " + text::number(settings.learningRate));
  if (!within(settings.momentum, 0, large))
    return fail("a momentum is a number of 0 or more, not " + text::number(settings.momentum));
  if (!within(settings.beta1, 0, 1) || !within(settings.beta2, 0, 1)) return fail("betas are at least 0 and below 1");
  if (!within(settings.epsilon, 0, large))
    return fail("epsilon is a number of 0 or more, not " + text::number(settings.epsilon));
  if (!within(settings.weightDecay, 0, large))
    return fail("a weight decay is a number of 0 or more, not " + text::number(settings.weightDecay));
  return {};
}

double Schedule::factor(std::uint64_t step) const {
  if (step <= warmup) return static_cast<double>(step) / static_cast<double>(warmup);
  if (kind == Kind::Constant || total <= warmup) return 1;
  const double way = std::min(1.0, static_cast<double>(step - warmup) / static_cast<double>(total - warmup));
  if (kind == Kind::Linear) return 1 - (1 - floor) * way;
  return floor + (1 - floor) * 0.5 * (1 + std::cos(std::numbers::pi * way));
}

void update(std::span<Parameter> parameters, const OptimizerSettings& settings, double scheduleFactor, std::uint64_t step) {
  std::vector<double> next;
  for (Parameter& parameter : parameters) {
    const OptimizerSettings& own = parameter.own ? *parameter.own : settings;
    const OptimizerKind* kind = findOptimizer(own.kind);
    NIBBLE_EXPECTS(kind != nullptr && parameter.gradient.size() == parameter.value.size());
    for (std::size_t i = 0; i < kind->states; ++i) parameter.state[i].resize(parameter.value.size());
    next.resize(parameter.value.size());
    kind->rule({own, own.learningRate * scheduleFactor, step}, parameter, next);
    store(parameter, next);
  }
}

double clipGradients(std::span<Parameter> parameters, double limit) {
  double sum = 0;
  for (const Parameter& parameter : parameters)
    for (const double g : parameter.gradient) sum += g * g;
  const double before = std::sqrt(sum);
  if (limit <= 0 || !(before + 1e-6 > limit)) return before;
  const double factor = limit / (before + 1e-6);
  for (Parameter& parameter : parameters)
    for (double& g : parameter.gradient) g *= factor;
  return before;
}

}  // namespace nibble::train
