// SPDX-License-Identifier: GPL-3.0-or-later
// The quantizer's interface: optimizers, order of calls, names, bound parameters, sizes; and diffq 0.2.4's tied network in
// float64 (data/diffq.json) through it, from the optimizer to an Adam step.
#include "core/train/diff_quantizer.h"
#include "tests/support/golden.h"
#include "tests/support/train_layers.h"
#include "tests/support/train_numbers.h"

#include <QtTest>

#include <cmath>
#include <set>

using namespace nibble;
using namespace nibble::test;
using namespace nibble::train;
using nlohmann::json;

namespace {

std::shared_ptr<Parameter> parameterOf(const std::string& name, std::size_t size, std::uint64_t stream) {
  return std::make_shared<Parameter>(Parameter::of(name, {size}, NumberType::F64, drawn(size, stream, 0.4)));
}

// a.weight and c.weight are one object.
Model smallModel() {
  const auto shared = parameterOf("a.weight", 24, 1);
  return {{{"a.weight", shared},
           {"a.bias", parameterOf("a.bias", 6, 2)},
           {"b.weight", parameterOf("b.weight", 40, 3)},
           {"c.weight", shared}}};
}

DiffqSettings smallSettings() {
  DiffqSettings settings;
  settings.minSizeMb = 0;
  settings.exclude = {"bias"};
  settings.group = 8;
  return settings;
}

std::unique_ptr<DiffQuantizer> attached(Model& model, const DiffqSettings& settings = smallSettings()) {
  auto quantizer = DiffQuantizer::attach(model, settings, 3);
  if (!quantizer) qFatal("%s", quantizer.error().message.c_str());
  return *std::move(quantizer);
}

GroupOptimizer optimizerOf(const Model& model, OptimizerSettings settings = {"adam", 1e-2, 0, 0.8, 0.99, 1e-8, 0.1}) {
  GroupOptimizer optimizer(settings);
  ParameterGroup group{{}, settings};
  for (const ModelParameter& parameter : model.parameters)
    if (std::find(group.parameters.begin(), group.parameters.end(), parameter.parameter) == group.parameters.end())
      group.parameters.push_back(parameter.parameter);
  if (!optimizer.add(group)) qFatal("no optimizer");
  return optimizer;
}

std::string why(const Status& status) {
  return status ? "no error" : status.error().message;
}
bool has(const std::string& text, const char* part) {
  return text.find(part) != std::string::npos;
}

bool near(const std::vector<double>& ours, const std::vector<double>& theirs) {
  if (ours.empty() || ours.size() != theirs.size()) return false;
  for (std::size_t i = 0; i < ours.size(); ++i)
    if (!(std::fabs(ours[i] - theirs[i]) <= 1e-9 * std::fabs(theirs[i]) + 1e-12)) return false;
  return true;
}

}  // namespace

class TestDiffQuantizer : public QObject {
  Q_OBJECT
 private slots:
  void namesAndSecondUse() {
    Model model = smallModel();
    const auto quantizer = attached(model);
    QCOMPARE(model.parameters.size(), std::size_t{6});
    QCOMPARE(model.parameters[4].name, std::string("a.weight_diffq"));
    QCOMPARE(model.parameters[5].name, std::string("b.weight_diffq"));
    QCOMPARE(quantizer->logits().size(), std::size_t{2});
    const auto again = DiffQuantizer::attach(model, smallSettings(), 3);
    QVERIFY(!again && has(again.error().message, "a.weight_diffq") && has(again.error().message, "already"));
    Model bad{{{"x_diffq", parameterOf("x", 8, 1)}}};
    QVERIFY(!DiffQuantizer::attach(bad, smallSettings(), 3));
    DiffqSettings odd = smallSettings();
    odd.group = 7;
    Model other = smallModel();
    const auto refused = DiffQuantizer::attach(other, odd, 3);
    QVERIFY(!refused && has(refused.error().message, "a.weight: a group of 7"));
    QCOMPARE(other.parameters.size(), std::size_t{4});  // nothing half added
    // Detached, the model is as it was and can be quantized anew.
    quantizer->detach();
    QCOMPARE(model.parameters.size(), std::size_t{4});
    QVERIFY(!quantizer->attached() && has(why(quantizer->forward({})), "detached"));
    QVERIFY(has(quantizer->description(), "detached"));
    QVERIFY(DiffQuantizer::attach(model, smallSettings(), 3));
  }

  void optimizers() {
    Model model = smallModel();
    GroupOptimizer optimizer = optimizerOf(model);
    const auto quantizer = attached(model);
    QVERIFY(has(why(quantizer->forward({})), "setupOptimizer"));
    GroupOptimizer late = optimizerOf(model);  // holds the logits
    QVERIFY(has(why(quantizer->setupOptimizer(late)), "before the quantizer"));
    QVERIFY(quantizer->setupOptimizer(optimizer));
    QVERIFY(has(why(quantizer->setupOptimizer(optimizer)), "already"));
    QCOMPARE(optimizer.groups().size(), std::size_t{2});
    const OptimizerSettings& mine = optimizer.groups()[1].settings;
    QCOMPARE(mine.learningRate, 1e-3);
    QCOMPARE(mine.weightDecay, 0.0);
    QCOMPARE(mine.beta1, 0.8);                                          // the optimizer's
    QCOMPARE(optimizer.groups()[1].parameters.size(), std::size_t{2});  // the bound logits once
    QVERIFY(quantizer->forward({}));
    quantizer->clearOptimizer(optimizer);
    QCOMPARE(optimizer.groups().size(), std::size_t{1});
    QVERIFY(!quantizer->forward({}));
    LogitsOptimizer overrides;
    overrides.learningRate = 0.5;
    overrides.beta2 = 0.7;
    overrides.weightDecay = 0.25;
    QVERIFY(quantizer->setupOptimizer(optimizer, overrides));
    QCOMPARE(optimizer.groups()[1].settings.learningRate, 0.5);
    QCOMPARE(optimizer.groups()[1].settings.beta2, 0.7);
    QCOMPARE(optimizer.groups()[1].settings.weightDecay, 0.25);
    quantizer->clearOptimizer(optimizer);
    overrides.learningRate = -1;
    QVERIFY(!quantizer->setupOptimizer(optimizer, overrides));
    QVERIFY(!quantizer->forward({}));
    quantizer->noOptimizer();
    QVERIFY(quantizer->forward({}));
  }

  void boundAndUnused() {
    Model model = smallModel();
    const auto quantizer = attached(model);
    QVERIFY(!quantizer->weights("a.weight"));  // nothing was computed yet
    quantizer->noOptimizer();
    QVERIFY(quantizer->forward({}));
    QVERIFY(quantizer->weights("a.weight").value() == quantizer->weights("c.weight").value());
    QVERIFY(quantizer->weights("a.weight").value() != model.parameters[0].parameter->value);
    QVERIFY(quantizer->weights("a.bias").value() == model.parameters[1].parameter->value);
    QVERIFY(!quantizer->weights("d.weight"));
    QVERIFY(!quantizer->backward("a.weight", std::vector<double>(3)));
    // Only a.weight is used: b's logits would follow the size alone.
    const std::vector<double> q = drawn(24, 9);
    QVERIFY(quantizer->backward("a.weight", q) && quantizer->backward("c.weight", q));
    quantizer->addSizeGradient(10);
    QVERIFY(norm(quantizer->logits()[0]->gradient) > 0 && norm(quantizer->logits()[1]->gradient) > 0);
    quantizer->checkUnused();
    QVERIFY(norm(quantizer->logits()[0]->gradient) > 0);
    QCOMPARE(norm(quantizer->logits()[1]->gradient), 0.0);
    // Twice the gradient of one use.
    Model single = smallModel();
    const auto one = attached(single);
    one->noOptimizer();
    QVERIFY(one->forward({}) && one->backward("a.weight", q));
    for (std::size_t i = 0; i < 24; ++i)
      QVERIFY(std::fabs(model.parameters[0].parameter->gradient[i] - 2 * single.parameters[0].parameter->gradient[i]) < 1e-12);
    // Each for itself: twice the logits.
    DiffqSettings apart = smallSettings();
    apart.detectBound = false;
    Model third = smallModel();
    const auto separate = attached(third, apart);
    QCOMPARE(separate->logits().size(), std::size_t{3});
    const double shared = (24.0 * 8 + 72 + 3 * 3) / 8388608;
    QVERIFY(std::fabs(separate->trueModelSize() - one->trueModelSize() - shared) < 1e-15);
  }

  void sizesAndDescription() {
    Model model = smallModel();
    DiffqSettings settings = smallSettings();
    settings.float16 = true;
    const auto quantizer = attached(model, settings);
    const double bits = 6 * 16 + 64.0 * 8 + 2 * 72 + 3 * (3 + 5);
    QVERIFY(std::fabs(quantizer->modelSize() - bits / 8388608) < 1e-15);
    QCOMPARE(quantizer->modelSize(true), quantizer->trueModelSize());
    quantizer->logits()[1]->value[0] += 0.1;  // 8.3 bits: truly still 8
    QVERIFY(quantizer->modelSize() > bits / 8388608);
    QVERIFY(std::fabs(quantizer->trueModelSize() - bits / 8388608) < 1e-15);
    const std::vector<double> bias = model.parameters[1].parameter->value;
    QVERIFY(quantizer->evaluate());
    QVERIFY(model.parameters[1].parameter->value == bias);
    for (std::size_t i = 0; i < bias.size(); ++i)
      QCOMPARE(quantizer->weights("a.bias").value()[i], storedAs(NumberType::F16, bias[i]));
    std::set<double> levels;
    const std::vector<double> values = quantizer->weights("b.weight").value();
    levels.insert(values.begin(), values.end());
    QVERIFY(levels.size() > 10 && quantizer->weights("b.weight").value() != model.parameters[2].parameter->value);
    const std::string text = quantizer->description();
    for (const char* part :
         {"2 tensors", "64 weights in 8 groups of 8", "gaussian", "2 to 15 from 8", "6 numbers", "float16", "bias", "MB"})
      QVERIFY2(has(text, part), text.c_str());
  }

  // The reference's tied network: out = x W^T + b + 0.5 x W^T, two uses of one parameter.
  void tiedReference() {
    const json file = loadJson("diffq.json");
    for (const json& row : file.at("cases")) {
      if (row.at("op") != "diffq" || !row.at("settings").at("tied").get<bool>()) continue;
      const json &input = row.at("input"), &expect = row.at("expect"), &adam = row.at("settings").at("adam");
      const auto weight =
          std::make_shared<Parameter>(Parameter::of("fc.weight", {8, 16}, NumberType::F64, numbers(input.at("fc_weight"))));
      const auto bias =
          std::make_shared<Parameter>(Parameter::of("fc.bias", {8}, NumberType::F64, numbers(input.at("fc_bias"))));
      Model model{{{"fc.weight", weight}, {"fc.bias", bias}, {"fc2.weight", weight}}};
      DiffqSettings settings;
      settings.param = DiffqSettings::Param::Noise;
      settings.group = row.at("settings").at("group_size").get<std::uint64_t>();
      settings.minSizeMb = 0;
      settings.exclude = {"*bias"};
      GroupOptimizer optimizer = optimizerOf(model, {"adam", adam.at("lr_weights").get<double>()});
      const auto quantizer = attached(model, settings);
      QVERIFY(std::fabs(quantizer->modelSize() - expect.at("model_size_init_mb").get<double>()) < 1e-10);
      QVERIFY(std::fabs(quantizer->trueModelSize() - expect.at("true_model_size_init_mb").get<double>()) < 1e-12);
      LogitsOptimizer overrides;
      overrides.learningRate = adam.at("lr_logits").get<double>();
      QVERIFY(quantizer->setupOptimizer(optimizer, overrides));
      quantizer->logits()[0]->value = numbers(input.at("logits").at("fc"));
      QVERIFY(std::fabs(quantizer->modelSize() - expect.at("model_size_mb").get<double>()) < 1e-12);
      QVERIFY(std::fabs(quantizer->trueModelSize() - expect.at("true_model_size_mb").get<double>()) < 1e-12);
      QVERIFY(quantizer->evaluate());
      const auto x = numbers(input.at("x")), target = numbers(input.at("target"));
      const auto outputs = [&](const std::vector<double>& w) {
        std::vector<double> y(40);
        for (std::size_t n = 0; n < 5; ++n)
          for (std::size_t i = 0; i < 8; ++i) {
            y[n * 8 + i] = bias->value[i];
            for (std::size_t j = 0; j < 16; ++j) y[n * 8 + i] += 1.5 * w[i * 16 + j] * x[n * 16 + j];
          }
        return y;
      };
      const auto stored = outputs(quantizer->weights("fc.weight").value()), theirs = numbers(expect.at("eval_output"));
      for (std::size_t i = 0; i < 40; ++i)
        QVERIFY(std::fabs(stored[i] - theirs[i]) < 10 * expect.at("eval_output_tolerance").get<double>());
      // The size's gradient alone: what the reference has less what its noise gives.
      const BitScale scale(settings);
      optimizer.zeroGradients();
      quantizer->addSizeGradient(row.at("settings").at("lambda").get<double>());
      NoisyTensor<double> literal(scale, 128, settings.group);
      const auto noise = numbers(input.at("noise").at("fc"));
      std::copy(noise.begin(), noise.end(), literal.noise().begin());
      std::vector<double> noisy(128), gradient(128);
      literal.forward(weight->value, quantizer->logits()[0]->value, noisy, {});
      const auto y = outputs(noisy);
      QVERIFY(near(y, numbers(expect.at("output"))));
      for (std::size_t n = 0; n < 5; ++n)
        for (std::size_t i = 0; i < 8; ++i) {
          const double g = 2 * (y[n * 8 + i] - target[n * 8 + i]) / 40;
          bias->gradient[i] += g;
          for (std::size_t j = 0; j < 16; ++j) gradient[i * 16 + j] += 1.5 * g * x[n * 16 + j];
        }
      literal.backward(gradient, 1, weight->gradient, quantizer->logits()[0]->gradient, {});
      QVERIFY(near(weight->gradient, numbers(expect.at("grad_weight").at("fc"))));
      QVERIFY(near(quantizer->logits()[0]->gradient, numbers(expect.at("grad_logit").at("fc"))));
      optimizer.step();
      QVERIFY(near(weight->value, numbers(expect.at("after_adam_step").at("weight").at("fc"))));
      QVERIFY(near(quantizer->logits()[0]->value, numbers(expect.at("after_adam_step").at("logit").at("fc"))));
      return;
    }
    QFAIL("no tied case");
  }
};

QTEST_APPLESS_MAIN(TestDiffQuantizer)
#include "test_diff_quantizer.moc"
