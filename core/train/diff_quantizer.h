// SPDX-License-Identifier: GPL-3.0-or-later
// DiffQ's quantizer as reference document 003 offers it to a program (spec section 5): attached to a model's parameters it adds
// logits, replaces weights by noisy ones in training and by truly quantized ones at evaluation, and knows the model's size.
//
//   auto quantizer = DiffQuantizer::attach(model, settings, seed);     adds parameters NAME_diffq to the model
//   quantizer->setupOptimizer(optimizer, {.learningRate = 1e-3});      a group of their own, without weight decay
//   quantizer->forward(pass); ... weights(NAME) ...; backward(NAME, gradient); addSizeGradient(lambda); optimizer.step();
//
// A model's parameters of one shared object are bound: one logit per group, one noise, counted once. Unlike diffq 0.2.4, bound
// logits are in the optimizer once, and float16 rounds what stays float only in what evaluation gives out.
#pragma once
#include "core/train/group_optimizer.h"
#include "core/train/weight_rule.h"

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace nibble::train {

struct ModelParameter {
  std::string name;  // "module.weight"
  std::shared_ptr<Parameter> parameter;
};
struct Model {
  std::vector<ModelParameter> parameters;
};

// What setupOptimizer may say otherwise; the rest is the optimizer's own.
struct LogitsOptimizer {
  double learningRate = 1e-3, weightDecay = 0;
  std::optional<double> momentum{}, beta1{}, beta2{}, epsilon{};
};

class DiffQuantizer {
 public:
  static constexpr const char* suffix = "_diffq";
  // Errors: a model that has parameters with the suffix (it is quantized already), a group that does not divide a parameter,
  // settings that cannot be. The model outlives the quantizer.
  static Result<std::unique_ptr<DiffQuantizer>> attach(Model& model, const DiffqSettings& settings, std::uint64_t seed);
  DiffQuantizer(const DiffQuantizer&) = delete;
  DiffQuantizer& operator=(const DiffQuantizer&) = delete;
  ~DiffQuantizer() = default;

  // Errors: it is set up already; the optimizer holds logits, because it was made from the model after attaching.
  Status setupOptimizer(GroupOptimizer& optimizer, const LogitsOptimizer& overrides = {});
  // Takes the logits out of the optimizer; training needs setupOptimizer or noOptimizer again.
  void clearOptimizer(GroupOptimizer& optimizer);
  // Training may go on although no optimizer has the logits.
  void noOptimizer() { m_ready = true; }

  // Training: fresh noise for the pass. Errors: no optimizer was set up.
  Status forward(const Pass& pass, const Context& context = {});
  // Evaluation: truly quantized, the rest in float16 where that is asked. The parameters stay as they are.
  Status evaluate(const Context& context = {});
  // A parameter's values of the last forward or evaluate; the parameter's own for what stays float in training.
  [[nodiscard]] Result<std::vector<double>> weights(const std::string& name) const;
  // Adds gradients by the last forward's weights to parameter and logits; bound ones once for each use.
  Status backward(const std::string& name, std::span<const double> gradient, const Context& context = {});
  // Adds lambda times the gradient of the differentiable size.
  void addSizeGradient(double lambda);
  // Logits whose weights got no gradient get none either: the size alone does not move what the loss does not see.
  void checkUnused();

  [[nodiscard]] double modelSize(bool exact = false) const;  // MB
  [[nodiscard]] double trueModelSize() const { return modelSize(true); }
  // The logits leave the model and the quantizer is done; weights stay as trained. Optimizers are to be cleared before.
  void detach();
  [[nodiscard]] bool attached() const { return m_model != nullptr; }
  [[nodiscard]] const std::vector<std::shared_ptr<Parameter>>& logits() const { return m_logits; }
  // One line: settings, what is quantized, what stays float, sizes.
  [[nodiscard]] std::string description() const;

 private:
  // A distinct parameter of the model.
  struct Part {
    std::string name;
    std::shared_ptr<Parameter> weight, logits;  // no logits: it stays float
    std::unique_ptr<WeightRule<double>> rule;
    std::vector<double> current;
  };
  DiffQuantizer(Model& model, const DiffqSettings& settings, std::uint64_t seed);
  Status add(const ModelParameter& parameter);
  [[nodiscard]] Result<std::size_t> partOf(const std::string& name) const;
  [[nodiscard]] Status checkAttached() const;

  Model* m_model;
  DiffqSettings m_settings;
  NoiseSource m_noise;
  std::vector<Part> m_parts;
  std::map<std::string, std::size_t> m_byName;
  std::vector<std::shared_ptr<Parameter>> m_logits;
  bool m_ready = false, m_setUp = false;
};

}  // namespace nibble::train
