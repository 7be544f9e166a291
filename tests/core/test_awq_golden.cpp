// SPDX-License-Identifier: GPL-3.0-or-later
// The search for channel scales against the golden file: the winning exponent's scales, and the loss it names, found again from
// the decoded weights. Then the clipping, what happens with less data, and that backends and threads agree.
#include "core/formats/format.h"
#include "core/quant/decode.h"
#include "core/run/run.h"
#include "core/tensor/activations.h"
#include "core/tensor/synthetic.h"
#include "kernels/backend.h"
#include "tests/support/golden.h"

#include <QtTest>
#include <cmath>

using namespace nibble;
using nlohmann::json;

namespace {

constexpr const char* layer = "layer.weight";

struct Golden {
  json entry;
  std::vector<float> weights, x;
};

Golden golden() {
  const json file = test::loadJson("gptq_algo.json");
  Golden found{{}, test::floatsFromJson(file["inputs"]["weight"]["data"]), test::floatsFromJson(file["inputs"]["x"]["data"])};
  for (const json& entry : file["cases"])
    if (entry["expect"].contains("best_scales")) found.entry = entry;
  return found;
}

ActivationData known(const std::vector<float>& x, std::uint64_t channels, const std::string& name = layer) {
  LayerInputs inputs;
  inputs.channels = channels;
  inputs.tokens = x.size() / channels;
  inputs.samples = x;
  ActivationData data;
  if (!data.add(name, std::move(inputs))) qFatal("impossible inputs");
  return data;
}

Result<Outcome> runOn(const Tensor& weights, const std::string& choice, const ActivationData* data,
                      const kernels::Backend& backend = kernels::defaultBackend()) {
  Context context;
  context.activations = data;
  context.backend = &backend;
  return run(weights, *Choice::parse(choice), context, {.percentile = false});
}

// Mean square of (W - W') x.
double outputLoss(const std::vector<float>& weights, const std::vector<float>& decoded, const std::vector<float>& x, std::size_t columns) {
  const std::size_t tokens = x.size() / columns, rows = weights.size() / columns;
  double loss = 0;
  for (std::size_t row = 0; row < rows; ++row) {
    for (std::size_t t = 0; t < tokens; ++t) {
      double y = 0;
      for (std::size_t c = 0; c < columns; ++c)
        y += (static_cast<double>(weights[row * columns + c]) - decoded[row * columns + c]) * x[t * columns + c];
      loss += y * y;
    }
  }
  return loss / static_cast<double>(tokens * rows);
}

}  // namespace

class TestAwqGolden : public QObject {
  Q_OBJECT
 private slots:
  void scalesOfTheBestExponent() {
    const Golden g = golden();
    const ActivationData data = known(g.x, 64);
    const auto outcome = runOn(Tensor::fromFloats(layer, {32, 64}, g.weights), "awq:group=32,grid=20,clip=false,params=f32", &data);
    QVERIFY2(outcome.has_value(), outcome ? "" : outcome.error().message.c_str());
    const json& scales = g.entry["expect"]["best_scales"];
    QCOMPARE(outcome->quantized->channelScale.size(), scales.size());
    for (std::size_t j = 0; j < scales.size(); ++j)
      QVERIFY(std::fabs(outcome->quantized->channelScale[j] / scales[j].get<double>() - 1) < 1e-6);
    double least = HUGE_VAL, plain = 0;
    for (const json& pair : g.entry["expect"]["ratio_loss"]) {
      least = std::min(least, pair[1].get<double>());
      if (pair[0] == 0.0) plain = pair[1];
    }
    const double loss = outputLoss(g.weights, decodeAll(*outcome->quantized), g.x, 64);
    QVERIFY2(std::fabs(loss / least - 1) < 1e-4, qPrintable(QString("%1 against %2").arg(loss).arg(least)));
    QVERIFY(plain > least);
  }

  // With one exponent, 0, the losses of the golden file's first row come out too.
  void lossOfTheFirstExponent() {
    const Golden g = golden();
    const ActivationData data = known(g.x, 64);
    const auto outcome = runOn(Tensor::fromFloats(layer, {32, 64}, g.weights), "awq:group=32,grid=1,clip=false,params=f32", &data);
    const double loss = outputLoss(g.weights, decodeAll(*outcome->quantized), g.x, 64);
    QVERIFY(std::fabs(loss / g.entry["expect"]["ratio_loss"][0][1].get<double>() - 1) < 1e-4);
  }

  void clippingLosesLess() {
    const Golden g = golden();
    const ActivationData data = known(g.x, 64);
    const Tensor weights = Tensor::fromFloats(layer, {32, 64}, g.weights);
    const auto without = runOn(weights, "awq:bits=3,group=32,clip=false,scale=false", &data);
    const auto with = runOn(weights, "awq:bits=3,group=32,clip=true,scale=false", &data);
    QVERIFY(without && with);
    QVERIFY(with->quantized->codes != without->quantized->codes);
    QVERIFY(outputLoss(g.weights, decodeAll(*with->quantized), g.x, 64) < outputLoss(g.weights, decodeAll(*without->quantized), g.x, 64));
    for (std::size_t i = 0; i < with->quantized->scale->values.size(); ++i)
      QVERIFY(with->quantized->scale->values[i] <= without->quantized->scale->values[i]);
  }

  void queriesAreNotClipped() {
    const Golden g = golden();
    const ActivationData data = known(g.x, 64, "layers.0.self_attn.q_proj.weight");
    const Tensor weights = Tensor::fromFloats("layers.0.self_attn.q_proj.weight", {32, 64}, g.weights);
    const auto with = runOn(weights, "awq:bits=3,group=32", &data), without = runOn(weights, "awq:bits=3,group=32,clip=false", &data);
    QVERIFY(with->quantized->codes == without->quantized->codes);
    QVERIFY(with->quantized->notes.back().find("not clipped") != std::string::npos);
  }

  void withoutDataItRoundsPlainlyAndSaysSo() {
    const Tensor weights = Tensor::fromFloats(layer, {1, 4}, {-1, 0.5f, 2, 0});
    const auto outcome = runOn(weights, "awq:group=4,params=f32", nullptr);
    QVERIFY(outcome.has_value());
    QVERIFY(outcome->quantized->notes[0].find("no activations") != std::string::npos);
    QVERIFY(outcome->quantized->channelScale.empty());
    const std::vector<std::int64_t> expected{0, 7, 15, 5};  // d = 0.2, z = 5, 0.5 / d rounds to 2
    for (std::size_t i = 0; i < 4; ++i) QCOMPARE(outcome->quantized->codes.at(i), expected[i]);
    const auto oneSigned = runOn(Tensor::fromFloats(layer, {1, 4}, {4, 4.5f, 5, 7}), "awq:group=4,params=f32", nullptr);
    QCOMPARE(oneSigned->quantized->zero->values[0], 0.0f);
    QCOMPARE(oneSigned->quantized->codes.at(3), std::int64_t{15});  // saturates: the range is not widened to hold 0
  }

  void meanSquaresAloneGuideTheSearch() {
    const Golden g = golden();
    LayerInputs squares;
    squares.channels = 64;
    squares.meanSquares = known(g.x, 64).find(layer, 64)->meanSquares;
    ActivationData data;
    QVERIFY(data.add(layer, std::move(squares)));
    const Tensor weights = Tensor::fromFloats(layer, {32, 64}, g.weights);
    const auto outcome = runOn(weights, "awq:group=32", &data), plain = runOn(weights, "awq:group=32", nullptr);
    QVERIFY(outcome && plain);
    QVERIFY(!outcome->quantized->channelScale.empty());
    QVERIFY(outcome->quantized->notes[0].find("no samples") != std::string::npos);
    QVERIFY(outputLoss(g.weights, decodeAll(*outcome->quantized), g.x, 64) < outputLoss(g.weights, decodeAll(*plain->quantized), g.x, 64));
  }

  void sameOnEveryBackendAndThreadCount() {
    const Tensor weights = Tensor::fromFloats(layer, {70, 96}, *syntheticTensor(Distribution::HeavyTail, {70, 96}, 2).readAll());
    const ActivationData data = known(*syntheticTensor(Distribution::Gauss, {600, 96}, 3).readAll(), 96);
    std::optional<Outcome> first;
    for (const kernels::Backend* backend : kernels::allBackends()) {
      if (!backend->unusableReason().empty()) continue;
      for (const int threads : {1, 3}) {
        kernels::setThreadCount(threads);
        auto outcome = runOn(weights, "awq:group=32", &data, *backend);
        QVERIFY(outcome.has_value());
        if (!first) {
          first = *std::move(outcome);
        } else {
          QVERIFY(outcome->quantized->codes == first->quantized->codes);
          QVERIFY(outcome->quantized->channelScale == first->quantized->channelScale);
        }
      }
    }
    kernels::setThreadCount(0);
  }

  void filesHoldItOnlyUnscaled() {
    const Golden g = golden();
    const ActivationData data = known(g.x, 64);
    const Tensor weights = Tensor::fromFloats(layer, {32, 64}, g.weights);
    for (const Format* format : allFormats()) {
      if (format->info().id != "gptq_v2") continue;
      const auto scaled = runOn(weights, "awq:group=32", &data), unscaled = runOn(weights, "awq:group=32,scale=false", &data);
      QVERIFY(format->refusal(*scaled->quantized).value_or("").find("scaled") != std::string::npos);
      QVERIFY(!format->refusal(*unscaled->quantized));
    }
  }

  void groupsMustDivide() {
    const auto outcome = runOn(Tensor::fromFloats(layer, {2, 6}, std::vector<float>(12, 1.0f)), "awq:group=4", nullptr);
    QVERIFY(!outcome && outcome.error().message.find("group 4 does not divide the 6 columns") != std::string::npos);
  }
};

QTEST_APPLESS_MAIN(TestAwqGolden)
#include "test_awq_golden.moc"
