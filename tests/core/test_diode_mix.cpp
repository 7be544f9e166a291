// SPDX-License-Identifier: GPL-3.0-or-later
// Training quantized weights: every step against a dense model in double, the residual against weights that were never rounded,
// stochastic rounding by its mean, packed and loaded again after each step, the same on every thread count.
#include "core/layers/diode_mix.h"
#include "core/quant/decode.h"
#include "kernels/backend.h"
#include "tests/support/mbwq_layers.h"

#include <QtTest>

#include <cmath>
#include <cstring>

using namespace nibble;

namespace {

const std::vector<test::HandGroup> allWidths{{8, 32}, {6, 32}, {5, 64}, {4, 32}, {3, 32}, {2, 32}};

MbwqLayer layerOf(bool mixed, std::uint64_t outputs = 11) {
  if (mixed) return test::mixedLayer(test::handLayer(outputs, allWidths, 21, true));
  return test::uniformLayer(test::handLayer(outputs, {{4, 32}, {4, 32}, {4, 32}}, 21, true));
}

void setGradient(MbwqLayer& layer, std::uint64_t seed, float size = 1) {
  const std::uint64_t inputs = layer.settings().inputs, outputs = layer.settings().outputs, tokens = 3;
  const Tensor x = Tensor::fromFloats("x", {tokens, inputs}, test::someHalves(tokens * inputs, seed, size));
  const Tensor dy = Tensor::fromFloats("dy", {tokens, outputs}, test::someHalves(tokens * outputs, seed + 1000));
  const auto dx = layer.backward(x, dy, {}, false);
  if (!dx) qFatal("%s", dx.error().message.c_str());
}

std::vector<std::uint8_t> codesOf(const MbwqLayer& layer) {
  return *layer.stored().codes.as<std::uint8_t>();
}

bool same(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

// The optimizer written again over dense matrices [in, out] in double, as the specification has it.
struct DenseModel {
  std::uint64_t inputs, outputs, t = 0;
  std::vector<std::uint64_t> stored, group;  // by input: its stored place, its group
  std::vector<int> bits;                     // by group
  std::vector<double> m, v, scales, zeros;   // scales, zeros [groups, outputs]
  std::vector<int> codes;                    // [in, out]

  explicit DenseModel(const MbwqLayer& layer) : inputs(layer.settings().inputs), outputs(layer.settings().outputs) {
    stored.resize(inputs);
    group.resize(inputs);
    std::uint64_t place = 0;
    for (std::uint64_t g = 0; g < layer.groups().size(); ++g) {
      bits.push_back(layer.groups()[g].bits);
      for (std::uint64_t end = place + layer.groups()[g].inputs; place < end; ++place) {
        const std::uint64_t input = layer.order().empty() ? place : layer.order()[place];
        stored[input] = place;
        group[input] = g;
      }
    }
    for (const float scale : mbwq::floatsOf(layer.state()[1])) scales.push_back(static_cast<double>(scale));
    for (const float zero : mbwq::floatsOf(layer.state()[2])) zeros.push_back(static_cast<double>(zero));
    m.assign(inputs * outputs, 0);
    v = m;
    const auto all = codesOf(layer);
    for (std::uint64_t k = 0; k < inputs; ++k)
      for (std::uint64_t n = 0; n < outputs; ++n) codes.push_back(all[n * inputs + stored[k]]);
  }

  [[nodiscard]] double weight(std::uint64_t k, std::uint64_t n) const {
    const std::size_t at = group[k] * outputs + n;
    return static_cast<double>(applyRule(ValueRule::ScalePlusBias, {FloatType::F16, FloatType::F16, true}, true,
                                         static_cast<float>(codes[k * outputs + n]), static_cast<float>(scales[at]),
                                         static_cast<float>(-zeros[at])));
  }

  // Codes of ties within the noise of float32 moments are taken from `found`; how many there were.
  int step(const std::vector<float>& gradient, const DiodeMixSettings& settings, const std::vector<std::uint8_t>& found) {
    ++t;
    const double size = settings.learningRate * std::sqrt(1 - std::pow(settings.beta2, static_cast<double>(t))) /
                        (1 - std::pow(settings.beta1, static_cast<double>(t)));
    std::vector<double> w(m.size()), u(m.size());
    for (std::size_t i = 0; i < m.size(); ++i) {
      const double g = static_cast<double>(gradient[i]);
      m[i] = settings.beta1 * m[i] + (1 - settings.beta1) * g;
      v[i] = settings.beta2 * v[i] + (1 - settings.beta2) * g * g;
      u[i] = m[i] / (std::sqrt(v[i]) + settings.epsilon);
      w[i] = weight(i / outputs, i % outputs) - size * u[i];
    }
    if (t % settings.zeroEvery == 0) {
      std::vector<double> sum(zeros.size()), count(zeros.size());
      for (std::size_t i = 0; i < m.size(); ++i) {
        sum[group[i / outputs] * outputs + i % outputs] += u[i];
        count[group[i / outputs] * outputs + i % outputs] += 1;
      }
      for (std::size_t i = 0; i < zeros.size(); ++i)
        zeros[i] =
            static_cast<double>(kernels::roundTo(FloatType::F16, static_cast<float>(zeros[i] + size * sum[i] / count[i])));
    }
    int ties = 0;
    for (std::size_t i = 0; i < m.size(); ++i) {
      const std::uint64_t k = i / outputs, n = i % outputs, at = group[k] * outputs + n;
      const double level = (w[i] + zeros[at]) / scales[at];
      codes[i] = static_cast<int>(std::clamp(std::nearbyint(level), 0.0, static_cast<double>((1 << bits[group[k]]) - 1)));
      const int other = found[n * inputs + stored[k]];
      if (other == codes[i]) continue;
      if (std::fabs(level - std::floor(level) - 0.5) > 1e-5)
        qFatal("code %d, not %d, at a level of %.9g", other, codes[i], level);
      codes[i] = other;
      ++ties;
    }
    return ties;
  }
};

}  // namespace

class TestDiodeMix : public QObject {
  Q_OBJECT
 private slots:
  void cleanup() { kernels::setThreadCount(0); }

  void againstADenseModel_data() {
    QTest::addColumn<bool>("mixed");
    QTest::newRow("uniform") << false;
    QTest::newRow("mixed") << true;
  }
  void againstADenseModel() {
    QFETCH(bool, mixed);
    MbwqLayer layer = layerOf(mixed);
    DenseModel model(layer);
    DiodeMix optimizer({.learningRate = 0.02});
    std::uint64_t flipped = 0, movedZeros = 0;
    int ties = 0;
    for (std::uint64_t t = 1; t <= 11; ++t) {
      setGradient(layer, t);
      const auto before = codesOf(layer);
      const auto step = optimizer.step(layer, {});
      QVERIFY2(step.has_value(), step ? "" : step.error().message.c_str());
      QCOMPARE(step->number, t);
      const auto after = codesOf(layer);
      std::uint64_t changed = 0;
      for (std::size_t i = 0; i < after.size(); ++i) changed += before[i] != after[i] ? 1 : 0;
      QCOMPARE(step->flipped, changed);
      QCOMPARE(step->movedZeros != 0, t % 5 == 0);
      flipped += changed;
      movedZeros += step->movedZeros;
      ties += model.step(layer.privilegedGradient(), optimizer.settings(), after);
      const auto zeros = mbwq::floatsOf(layer.state()[2]);
      for (std::size_t i = 0; i < zeros.size(); ++i)
        QVERIFY(std::fabs(static_cast<double>(zeros[i]) - model.zeros[i]) <= 0x1p-10 * std::fabs(model.zeros[i]));
      for (std::size_t i = 0; i < zeros.size(); ++i) model.zeros[i] = static_cast<double>(zeros[i]);
    }
    QVERIFY(flipped > 500 && movedZeros > 20);
    QVERIFY(ties < 5);
  }

  // Steps below half a code change nothing for ever; with a residual the weights follow those that are never rounded.
  void theResidualKeepsWhatRoundingTakes() {
    MbwqLayer faithful = layerOf(true), kept = faithful;
    const std::uint64_t inputs = kept.settings().inputs, outputs = kept.settings().outputs;
    DiodeMixSettings settings{.learningRate = 5e-5, .zeroEvery = 0};
    DiodeMix plain(settings);
    settings.residual = true;
    DiodeMix withResidual(settings);
    std::vector<double> latent(inputs * outputs), m(latent.size()), v(latent.size());
    for (std::uint64_t n = 0; n < outputs; ++n)
      for (std::uint64_t k = 0; k < inputs; ++k)
        latent[n * inputs + k] = static_cast<double>(storedValue(kept.stored(), n * inputs + k));
    setGradient(faithful, 5);
    setGradient(kept, 5);
    std::uint64_t flippedPlain = 0, flippedKept = 0;
    for (int t = 1; t <= 40; ++t) {
      const auto a = plain.step(faithful, {}), b = withResidual.step(kept, {});
      QVERIFY(a && b);
      flippedPlain += a->flipped;
      flippedKept += b->flipped;
      for (std::uint64_t i = 0; i < latent.size(); ++i) {
        const std::uint64_t k = i % inputs, n = i / inputs;
        const double g =
            static_cast<double>(kept.privilegedGradient()[(kept.order().empty() ? k : kept.order()[k]) * outputs + n]);
        m[i] = 0.99 * m[i] + 0.01 * g;
        v[i] = 0.9999 * v[i] + 0.0001 * g * g;
        latent[i] -= b->size * m[i] / (std::sqrt(v[i]) + 1e-6);
      }
    }
    QVERIFY2(flippedKept > 10 * (flippedPlain + 1), qPrintable(QString("%1 and %2").arg(flippedKept).arg(flippedPlain)));
    std::uint64_t inside = 0;
    for (std::uint64_t i = 0; i < latent.size(); ++i) {
      const double found = static_cast<double>(storedValue(kept.stored(), i)) + static_cast<double>(withResidual.residual()[i]);
      QVERIFY(std::fabs(found - latent[i]) <= 1e-6);
      const double scale = static_cast<double>(kept.stored().scale->values[kept.stored().scale->grouping.groupOf(i)]);
      inside += std::fabs(static_cast<double>(withResidual.residual()[i])) <= 0.51 * scale ? 1 : 0;
    }
    QVERIFY(inside > latent.size() * 9 / 10);  // the others stand at the ends of their codes
  }

  // The mean of what codes move is what they should have moved.
  void stochasticRoundingIsRightOnTheAverage() {
    double moved = 0, wanted = 0, variance = 0;
    std::uint64_t flipped = 0;
    for (std::uint64_t seed = 0; seed < 40; ++seed) {
      MbwqLayer layer = layerOf(false);
      setGradient(layer, 3);
      DiodeMix optimizer({.learningRate = 1e-3, .zeroEvery = 0, .stochastic = true, .seed = seed});
      const auto before = codesOf(layer);
      const auto step = optimizer.step(layer, {});
      QVERIFY(step.has_value());
      flipped += step->flipped;
      const auto after = codesOf(layer);
      const QuantizedTensor& weights = layer.stored();
      for (std::uint64_t i = 0; i < before.size(); ++i) {
        if (before[i] == 0 || before[i] == 15) continue;
        const std::uint64_t k = i % weights.columns, n = i / weights.columns;
        const double g =
            static_cast<double>(layer.privilegedGradient()[(layer.order().empty() ? k : layer.order()[k]) * weights.rows + n]);
        const double scale = static_cast<double>(weights.scale->values[weights.scale->grouping.groupOf(i)]);
        const double zero = -static_cast<double>(weights.zero->values[weights.zero->grouping.groupOf(i)]);
        const double level = (static_cast<double>(applyRule(weights.rule, weights.arithmetic, true, before[i],
                                                            static_cast<float>(scale), static_cast<float>(-zero))) -
                              step->size * 0.01 * g / (std::sqrt(0.0001 * g * g) + 1e-6) + zero) /
                             scale;
        const double chance = level - std::floor(level);
        if (level < 0 || level > 15) continue;
        moved += after[i];
        wanted += level;
        variance += chance * (1 - chance);
      }
    }
    QVERIFY(flipped > 1000);
    QVERIFY2(std::fabs(moved - wanted) < 5 * std::sqrt(variance),
             qPrintable(QString("%1 of %2").arg(moved - wanted).arg(std::sqrt(variance))));
  }

  void packedAndLoadedAfterEveryStep() {
    for (std::uint64_t seed = 0; seed < 12; ++seed) {
      MbwqLayer layer = test::mixedLayer(test::handLayer(5 + seed, allWidths, seed, seed % 2 == 0));
      DiodeMix optimizer({.learningRate = 0.03, .residual = seed % 3 == 0, .stochastic = seed % 3 == 1, .seed = seed});
      for (int t = 0; t < 6; ++t) {
        setGradient(layer, seed * 10 + static_cast<std::uint64_t>(t));
        QVERIFY(optimizer.step(layer, {}).has_value());
        auto other = MbwqLayer::create("m", {.inputs = layer.settings().inputs, .outputs = layer.settings().outputs});
        QVERIFY(other->loadState(layer.state()).has_value() && other->prepare().has_value());
        QVERIFY(same(other->weights(), layer.weights()));
        QCOMPARE(codesOf(*other), codesOf(layer));
      }
    }
  }

  void sameOnEveryThreadCount() {
    std::vector<std::uint8_t> codes;
    for (const int threads : {1, 2, 5}) {
      kernels::setThreadCount(threads);
      MbwqLayer layer = layerOf(true, 40);
      DiodeMix optimizer({.learningRate = 0.01, .residual = true, .stochastic = true, .seed = 4});
      for (std::uint64_t t = 0; t < 6; ++t) {
        setGradient(layer, t);
        QVERIFY(optimizer.step(layer, {}).has_value());
      }
      if (codes.empty()) codes = codesOf(layer);
      QCOMPARE(codesOf(layer), codes);
    }
  }

  void refusals() {
    MbwqLayer layer = layerOf(true);
    DiodeMix optimizer;
    const auto none = optimizer.step(layer, {});
    QVERIFY(!none && none.error().message.starts_with("m: "));
    setGradient(layer, 1);
    for (const DiodeMixSettings& bad : {DiodeMixSettings{.learningRate = -1}, {.beta1 = 1}, {.beta2 = -0.5}, {.epsilon = 0}}) {
      DiodeMix wrong(bad);
      QVERIFY(!wrong.step(layer, {}));
    }
    QVERIFY(optimizer.step(layer, {}).has_value());
    MbwqLayer other = layerOf(true, 3);
    setGradient(other, 1);
    QVERIFY(!optimizer.step(other, {}));
    // A zero that leaves float16: nothing changes.
    MbwqLayer far = layerOf(false);
    setGradient(far, 1);
    const auto before = far.weights();
    DiodeMix wild({.learningRate = 1e9, .zeroEvery = 1});
    QVERIFY(!wild.step(far, {}));
    QVERIFY(same(far.weights(), before));
    auto codes = codesOf(layer);
    codes[layer.settings().inputs - 1] = 4;  // of 2 bits
    QVERIFY(!layer.repack(codes, mbwq::floatsOf(layer.state()[2])));
  }
};

QTEST_APPLESS_MAIN(TestDiodeMix)
#include "test_diode_mix.moc"
