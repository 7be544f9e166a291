// SPDX-License-Identifier: GPL-3.0-or-later
// DiffQ's training arithmetic against diffq 0.2.4 in float64 (data/diffq.json): sizes, noisy weights, every gradient, levels,
// an Adam step, tied and grouped; LSQ likewise; which tensors stay float; bits and noise by a logit.
#include "core/quant/decode.h"
#include "core/schemes/learned.h"
#include "core/train/bit_scale.h"
#include "core/train/noisy_tensor.h"
#include "core/train/weight_rule.h"
#include "tests/support/golden.h"
#include "tests/support/train_layers.h"
#include "tests/support/train_numbers.h"

#include <QtTest>

#include <cmath>

using namespace nibble;
using namespace nibble::test;
using namespace nibble::train;
using nlohmann::json;

namespace {

#define SAME(ours, theirs, relative, absolute)                             \
  do {                                                                     \
    const QByteArray why = compared(ours, theirs, relative, absolute);     \
    QVERIFY2(why.isEmpty(), (QByteArray(#ours) + ": " + why).constData()); \
  } while (false)

DiffqSettings settingsOf(const json& given) {
  DiffqSettings settings;
  settings.lambda = given.at("lambda").get<double>();
  settings.param = given.at("param") == "noise" ? DiffqSettings::Param::Noise : DiffqSettings::Param::Bits;
  settings.group = given.at("group_size").get<std::uint64_t>();
  settings.minBits = given.at("min_bits").get<double>();
  settings.maxBits = given.at("max_bits").get<double>();
  settings.initBits = given.at("init_bits").get<double>();
  settings.extraBits = given.at("extra_bits").get<double>();
  settings.float16 = given.at("float16_small_params").get<bool>();
  return settings;
}

// One weight tensor of the reference's network: rows 8, columns 16.
struct Side {
  std::string name;
  Parameter weight, logits;
  NoisyTensor<double> tensor;
  std::vector<double> noisy;
  double output = 1;  // factor of its product in the output

  [[nodiscard]] std::vector<double> bits(const BitScale& scale, double extra) const {
    std::vector<double> all;
    for (const double logit : logits.value) all.push_back(scale.bits(logit) + extra);
    return all;
  }
};

constexpr std::size_t outputs = 8, inputs = 16, tokens = 5;

// out = x W1^T + b + 0.5 x W2^T with the weights given for each side; a tied network has one side with factor 1.5.
std::vector<double> outputsOf(const std::vector<Side>& sides, const std::vector<std::vector<double>>& weights,
                              const std::vector<double>& bias, const std::vector<double>& x) {
  std::vector<double> y(tokens * outputs);
  for (std::size_t n = 0; n < tokens; ++n)
    for (std::size_t i = 0; i < outputs; ++i) {
      double sum = bias[i];
      for (std::size_t s = 0; s < sides.size(); ++s)
        for (std::size_t j = 0; j < inputs; ++j) sum += sides[s].output * weights[s][i * inputs + j] * x[n * inputs + j];
      y[n * outputs + i] = sum;
    }
  return y;
}

}  // namespace

class TestTrainDiffq : public QObject {
  Q_OBJECT
  json m_file = loadJson("diffq.json");

 private slots:
  void reference_data() {
    QTest::addColumn<int>("number");
    int number = 0, rows = 0;
    for (const json& row : m_file.at("cases")) {
      if (row.at("op") == "diffq") QTest::newRow(row.at("name").get<std::string>().c_str()) << number, ++rows;
      ++number;
    }
    QCOMPARE(rows, 5);
  }

  void reference() {
    QFETCH(int, number);
    const json& row = m_file.at("cases").at(static_cast<std::size_t>(number));
    const json &input = row.at("input"), &expect = row.at("expect");
    const DiffqSettings settings = settingsOf(row.at("settings"));
    const BitScale scale(settings);
    const bool tied = row.at("settings").at("tied").get<bool>();
    QVERIFY(std::fabs(scale.logitOf(settings.initBits) - expect.at("logit_init_float32").get<double>()) < 1e-6);
    std::vector<Side> sides;
    for (const char* name : {"fc", "fc2"}) {
      if (tied && name == std::string("fc2")) continue;
      std::vector<double> weights = numbers(input.at(std::string(name) + "_weight")),
                          logits = numbers(input.at("logits").at(name));
      sides.push_back({name, Parameter::of("weight", {outputs, inputs}, NumberType::F64, weights),
                       Parameter::of("logits", {logits.size()}, NumberType::F64, logits),
                       NoisyTensor<double>(scale, weights.size(), settings.group), std::vector<double>(weights.size()),
                       tied                        ? 1.5
                       : name == std::string("fc") ? 1.0
                                                   : 0.5});
    }
    const std::vector<double> bias = numbers(input.at("fc_bias")), x = numbers(input.at("x")),
                              target = numbers(input.at("target"));
    Parameter biasParameter = Parameter::of("bias", {outputs}, NumberType::F64, bias);

    // Forward.
    double size = (settings.float16 ? 16.0 : 32.0) * outputs, trueSize = size, startSize = size;
    std::vector<std::vector<double>> noisy;
    for (Side& side : sides) {
      const auto noise = numbers(input.at("noise").at(side.name));
      std::copy(noise.begin(), noise.end(), side.tensor.noise().begin());
      side.tensor.forward(side.weight.value, side.logits.value, side.noisy, {});
      noisy.push_back(side.noisy);
      const auto bits = side.bits(scale, settings.extraBits);
      SAME(side.bits(scale, 0), numbers(expect.at("bits").at(side.name)), 1e-12, 0);
      size += sizeInBits(bits, side.tensor.length(), settings.minBits);
      trueSize += trueSizeInBits(bits, side.tensor.length(), settings.minBits);
      const std::vector<double> start(side.tensor.groups(), settings.initBits + settings.extraBits);
      startSize += trueSizeInBits(start, side.tensor.length(), settings.minBits);
    }
    QVERIFY(std::fabs(size / bitsPerMb - expect.at("model_size_mb").get<double>()) < 1e-12);
    QVERIFY(std::fabs(trueSize / bitsPerMb - expect.at("true_model_size_mb").get<double>()) < 1e-12);
    QVERIFY(std::fabs(startSize / bitsPerMb - expect.at("true_model_size_init_mb").get<double>()) < 1e-12);
    const std::vector<double> y = outputsOf(sides, noisy, bias, x);
    SAME(y, numbers(expect.at("output")), 1e-9, 1e-12);
    double loss = 0;
    std::vector<double> g(y.size());
    for (std::size_t i = 0; i < y.size(); ++i) {
      loss += (y[i] - target[i]) * (y[i] - target[i]) / static_cast<double>(y.size());
      g[i] = 2 * (y[i] - target[i]) / static_cast<double>(y.size());
      biasParameter.gradient[i % outputs] += g[i];
    }
    SAME(std::vector<double>{loss}, numbers(expect.at("task_loss")), 1e-9, 0);
    SAME(std::vector<double>{loss + settings.lambda * size / bitsPerMb}, numbers(expect.at("loss")), 1e-9, 0);

    // Backward, one Adam step.
    const json& adam = row.at("settings").at("adam");
    std::vector<Parameter> updated;
    for (Side& side : sides) {
      std::vector<double> gradient(outputs * inputs);
      for (std::size_t n = 0; n < tokens; ++n)
        for (std::size_t i = 0; i < outputs; ++i)
          for (std::size_t j = 0; j < inputs; ++j)
            gradient[i * inputs + j] += side.output * g[n * outputs + i] * x[n * inputs + j];
      side.tensor.backward(gradient, 1, side.weight.gradient, side.logits.gradient, {});
      for (std::size_t k = 0; k < side.logits.value.size(); ++k)
        side.logits.gradient[k] +=
            settings.lambda / bitsPerMb * static_cast<double>(side.tensor.length()) * scale.bitsSlope(side.logits.value[k]);
      SAME(side.weight.gradient, numbers(expect.at("grad_weight").at(side.name)), 1e-9, 1e-12);
      SAME(side.logits.gradient, numbers(expect.at("grad_logit").at(side.name)), 1e-9, 1e-12);
      updated = {side.weight, side.logits};
      updated[1].own = OptimizerSettings{"adam", adam.at("lr_logits").get<double>()};
      update(updated, OptimizerSettings{"adam", adam.at("lr_weights").get<double>()}, 1, 1);
      SAME(updated[0].value, numbers(expect.at("after_adam_step").at("weight").at(side.name)), 1e-9, 1e-12);
      SAME(updated[1].value, numbers(expect.at("after_adam_step").at("logit").at(side.name)), 1e-9, 1e-12);
    }
    SAME(biasParameter.gradient, numbers(expect.at("grad_bias")), 1e-9, 1e-12);

    // Truly quantized.
    std::vector<std::vector<double>> stored;
    for (const Side& side : sides) {
      std::vector<std::uint8_t> widths;
      for (const double b : side.bits(scale, settings.extraBits)) widths.push_back(static_cast<std::uint8_t>(trueBits(b)));
      QVERIFY(json(widths) == expect.at("quantized").at(side.name).at("bits"));
      const auto quantized = quantizeGroupBits(
          Tensor::fromFloats(side.name, {outputs, inputs}, {side.weight.value.begin(), side.weight.value.end()}),
          side.tensor.length(), widths, {});
      QVERIFY(quantized);
      const std::vector<float> decoded = decodeAll(*quantized);
      stored.emplace_back(decoded.begin(), decoded.end());
    }
    std::vector<double> storedBias = bias;
    if (settings.float16)
      for (double& b : storedBias) b = storedAs(NumberType::F16, b);
    SAME(outputsOf(sides, stored, storedBias, x), numbers(expect.at("eval_output")), 0,
         10 * expect.at("eval_output_tolerance").get<double>());
  }

  // One size of the specification each: 65,536 weights.
  void sizes() {
    const auto bits = [](std::size_t groups, double each) { return std::vector<double>(groups, each); };
    QCOMPARE(sizeInBits(bits(8192, 8), 8, 2), 548936.0);
    QCOMPARE(trueSizeInBits(bits(8192, 8), 8, 2), 548936.0);
    QCOMPARE(sizeInBits(bits(4096, 4), 16, 2), 270408.0);
    QCOMPARE(sizeInBits(bits(1, 8), 65536, 2), 524363.0);
    QCOMPARE(trueSizeInBits(bits(10, 0.2), 8, 2), 80.0 + 72);             // never below 1 bit
    QCOMPARE(trueSizeInBits(bits(10, 16.4), 8, 2), 8 * 150.0 + 72 + 40);  // never above 15
  }

  void logits() {
    for (const auto param : {DiffqSettings::Param::Bits, DiffqSettings::Param::Noise}) {
      DiffqSettings settings;
      settings.param = param;
      const BitScale scale(settings);
      QVERIFY(std::fabs(scale.logitOf(8) - (param == DiffqSettings::Param::Bits ? -0.15415068 : -0.08894594)) < 1e-8);
      for (const double b : {2.01, 3.0, 8.0, 14.9}) {
        const double logit = scale.logitOf(b), h = 1e-6;
        QVERIFY(std::fabs(scale.bits(logit) - b) < 1e-10);
        QVERIFY(std::fabs(scale.noise(logit) - 1 / (std::exp2(b) - 1)) < 1e-10);
        const double bitsSlope = (scale.bits(logit + h) - scale.bits(logit - h)) / (2 * h);
        const double noiseSlope = (scale.noise(logit + h) - scale.noise(logit - h)) / (2 * h);
        QVERIFY(std::fabs(scale.bitsSlope(logit) - bitsSlope) < 1e-8 * std::max(1.0, std::fabs(bitsSlope)));
        QVERIFY(std::fabs(scale.noiseSlope(logit) - noiseSlope) < 1e-8 * std::max(1.0, std::fabs(noiseSlope)));
      }
      for (const double far : {-800.0, 800.0}) QVERIFY(std::isfinite(scale.bits(far)) && std::isfinite(scale.noise(far)));
    }
  }

  // Weights that tie for the largest or the smallest share what the range's gradient is; groups larger than a strip.
  void tiesShareTheRange() {
    DiffqSettings settings;
    const BitScale scale(settings);
    NoisyTensor<double> tensor(scale, 8, 4);
    const std::vector<double> weights{1, -1, 0.5, 1, 0, -1, 1, 0.25}, logits{0.3, -0.4}, q{1, 2, -1, 0.5, 3, -2, 1, 1};
    std::vector<double> noisy(8), ofWeights(8), ofLogits(2);
    for (std::size_t i = 0; i < 8; ++i) tensor.noise()[i] = 0.1 * static_cast<double>(i) - 0.3;
    tensor.forward(weights, logits, noisy, {});
    tensor.backward(q, 2, ofWeights, ofLogits, {});
    double share = 0;
    for (std::size_t i = 0; i < 8; ++i) share += q[i] * scale.noise(logits[i / 4]) * (0.1 * static_cast<double>(i) - 0.3);
    for (std::size_t i = 0; i < 8; ++i) {
      const double tie = weights[i] == 1 ? share / 3 : weights[i] == -1 ? -share / 2 : 0;
      QVERIFY(std::fabs(ofWeights[i] - 2 * (q[i] + tie)) < 1e-14);
      QVERIFY(std::fabs(noisy[i] - weights[i] - 2 * scale.noise(logits[i / 4]) * tensor.noise()[i]) < 1e-14);
    }
    const std::size_t many = 100000;
    NoisyTensor<float> whole(scale, many, 0), small(scale, many, 10);
    std::vector<double> w = drawn(many, 21), a(many), b(many), one(1), each(many / 10);
    std::vector<float> out(many), p(many);
    for (std::size_t i = 0; i < many; ++i) {
      whole.noise()[i] = small.noise()[i] = static_cast<float>(drawn(1, i % 97)[0]);
      p[i] = static_cast<float>(i % 13) - 6;
    }
    whole.forward(w, std::vector<double>{0.2}, out, {});
    small.forward(w, std::vector<double>(many / 10, 0.2), out, {});
    whole.backward(p, 1, a, one, {});
    small.backward(p, 1, b, each, {});
    double sum = 0;
    for (const double e : each) sum += e;
    QVERIFY(std::fabs(sum - one[0]) < 1e-9 * std::fabs(sum) + 1e-12);
    for (std::size_t i = 0; i < many; ++i) QVERIFY(std::fabs(a[i] - b[i]) < 1e-9);
  }

  void lsqReference() {
    int cases = 0;
    for (const json& row : m_file.at("cases")) {
      if (row.at("op") != "lsq") continue;
      ++cases;
      const json &input = row.at("input"), &expect = row.at("expect");
      const int bits = row.at("settings").at("bits").get<int>();
      const std::vector<double> weights = numbers(input.at("weight")), x = numbers(input.at("x")),
                                g = numbers(input.at("cotangent"));
      double mean = 0;
      for (const double w : weights) mean += std::fabs(w) / static_cast<double>(weights.size());
      QVERIFY(std::fabs(firstStep(mean, bits) / expect.at("scale_init_float32").get<double>() - 1) < 1e-6);
      Parameter weight = Parameter::of("weight", {6, 16}, NumberType::F64, weights);
      Parameter step = Parameter::of("step", {1}, NumberType::F64, numbers(input.at("scale")));
      const auto rule = lsqRule<double>(weights.size(), bits);
      std::vector<double> effective(weights.size()), y(30), gradient(weights.size());
      QVERIFY(rule->forward({weight, &step}, {}, effective, {}));
      const std::vector<double> codes = numbers(expect.at("codes"));
      for (std::size_t i = 0; i < codes.size(); ++i) QVERIFY(std::fabs(effective[i] / step.value[0] - codes[i]) < 1e-9);
      for (std::size_t n = 0; n < 5; ++n)
        for (std::size_t i = 0; i < 6; ++i)
          for (std::size_t j = 0; j < 16; ++j) {
            y[n * 6 + i] += effective[i * 16 + j] * x[n * 16 + j];
            gradient[i * 16 + j] += g[n * 6 + i] * x[n * 16 + j];
          }
      SAME(y, numbers(expect.at("output")), 1e-9, 1e-12);
      rule->backward({weight, &step}, gradient, 1, {});
      SAME(weight.gradient, numbers(expect.at("grad_weight")), 1e-9, 1e-12);
      SAME(step.gradient, numbers(expect.at("grad_scale")), 1e-9, 0);
      QVERIFY(std::fabs(rule->size(&step) / bitsPerMb - expect.at("size_mb").get<double>()) < 1e-12);
      // Stored: the same codes.
      const auto quantized = quantizeByStep(Tensor::fromFloats("w", {6, 16}, {weights.begin(), weights.end()}), bits,
                                            static_cast<float>(step.value[0]), {});
      QVERIFY(quantized);
      for (std::size_t i = 0; i < codes.size(); ++i)
        QCOMPARE(static_cast<double>(quantized->codes.at(i) - (1 << (bits - 1))), codes[i]);
    }
    QCOMPARE(cases, 2);
  }

  void whatStaysFloat() {
    DiffqSettings settings;  // 0.01 MB: 2621 weights
    QVERIFY(leftFloat(settings, "a.weight", 2621));
    QVERIFY(!leftFloat(settings, "a.weight", 2622));
    settings.minSizeMb = 0;
    QVERIFY(leftFloat(settings, "a.weight", 0));
    QVERIFY(!leftFloat(settings, "a.weight", 1));
    settings.exclude = {"block.?.*.weight", "bias", ".head"};
    QVERIFY(leftFloat(settings, "block.3.dense.weight", 100000));
    QVERIFY(!leftFloat(settings, "block.13.dense.weight", 100000));
    QVERIFY(leftFloat(settings, "block.13.dense.bias", 100000));
    QVERIFY(leftFloat(settings, "head", 100000));
    QVERIFY(!leftFloat(settings, "x.head", 100000));
    QVERIFY(globMatches("*", "") && globMatches("a*b*c", "aXbYbZc") && !globMatches("a*b", "abc"));
    QVERIFY(globMatches("[a-c]x[!0-9]", "bxz") && !globMatches("[a-c]x[!0-9]", "bx7") && !globMatches("[a-c]x", "dx"));
    QVERIFY(globMatches("[]]", "]") && globMatches("[x", "[x") && globMatches("??", "ab") && !globMatches("??", "abc"));
  }

  void noiseIsReproducible() {
    for (const auto kind : {DiffqSettings::NoiseKind::Gaussian, DiffqSettings::NoiseKind::Uniform}) {
      const NoiseSource source(kind, 7), other(kind, 8);
      const std::size_t count = 200001;
      std::vector<double> first(count), again(count), next(count), second(count), seeded(count);
      QVERIFY(source.fill({3, 0, 1, 0}, 1, "w", std::span<double>(first), {}));
      QVERIFY(source.fill({3, 0, 1, 0}, 1, "w", std::span<double>(again), {}));
      QVERIFY(source.fill({4, 0, 1, 0}, 1, "w", std::span<double>(next), {}));
      QVERIFY(source.fill({3, 0, 1, 0}, 2, "v", std::span<double>(second), {}));
      QVERIFY(other.fill({3, 0, 1, 0}, 1, "w", std::span<double>(seeded), {}));
      QVERIFY(first == again);
      double sum = 0, square = 0, cross = 0, fourth = 0;
      for (std::size_t i = 0; i < count; ++i) {
        sum += first[i];
        square += first[i] * first[i];
        fourth += std::pow(first[i], 4);
        cross += first[i] * (next[i] + second[i] + seeded[i]) + (i > 0 ? first[i] * first[i - 1] : 0);
      }
      const auto n = static_cast<double>(count);
      const bool gaussian = kind == DiffqSettings::NoiseKind::Gaussian;
      QVERIFY(std::fabs(sum / n) < 0.005);
      QVERIFY(std::fabs(square / n - (gaussian ? 0.25 : 1.0 / 12)) < 0.003);
      QVERIFY(std::fabs(fourth / n - (gaussian ? 3.0 / 16 : 1.0 / 80)) < 0.006);
      QVERIFY(std::fabs(cross / n) < 0.006);
    }
  }
};

QTEST_APPLESS_MAIN(TestTrainDiffq)
#include "test_train_diffq.moc"
