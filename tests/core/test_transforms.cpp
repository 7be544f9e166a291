// SPDX-License-Identifier: GPL-3.0-or-later
// Transforms before a scheme: SmoothQuant's scales against the golden file, the one decoder undoes every one of them, schemes that
// weigh errors meet transformed inputs, and combinations that are not defined are refused with the reason.
#include "core/formats/format.h"
#include "core/quant/decode.h"
#include "core/quant/layout.h"
#include "core/report/microscope.h"
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

Tensor named(const Shape& shape, Distribution distribution, std::uint64_t seed) {
  return Tensor::fromFloats(layer, shape, *syntheticTensor(distribution, shape, seed).readAll());
}

ActivationData known(std::vector<float> samples, std::uint64_t channels) {
  LayerInputs inputs;
  inputs.channels = channels;
  inputs.tokens = samples.size() / channels;
  inputs.samples = std::move(samples);
  ActivationData data;
  if (!data.add(layer, std::move(inputs))) qFatal("impossible inputs");
  return data;
}

Result<Outcome> runOn(const Tensor& weights, const std::string& text, const ActivationData* data = nullptr,
                      const kernels::Backend& backend = kernels::defaultBackend()) {
  const auto choice = Choice::parse(text);
  if (!choice) return fail(choice.error());
  Context context;
  context.activations = data;
  context.backend = &backend;
  return run(weights, *choice, context, {.percentile = false});
}

double meanSquare(const std::vector<float>& a, const std::vector<float>& b) {
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += (static_cast<double>(a[i]) - b[i]) * (static_cast<double>(a[i]) - b[i]);
  return sum / static_cast<double>(a.size());
}

// Mean square of (W - W') x.
double outputLoss(const std::vector<float>& weights, const std::vector<float>& decoded, const std::vector<float>& x, std::size_t columns) {
  double loss = 0;
  for (std::size_t row = 0; row < weights.size() / columns; ++row) {
    for (std::size_t t = 0; t < x.size() / columns; ++t) {
      double y = 0;
      for (std::size_t c = 0; c < columns; ++c)
        y += (static_cast<double>(weights[row * columns + c]) - decoded[row * columns + c]) * x[t * columns + c];
      loss += y * y;
    }
  }
  return loss;
}

}  // namespace

class TestTransforms : public QObject {
  Q_OBJECT
 private slots:
  void smoothGolden_data() {
    QTest::addColumn<int>("index");
    const json file = test::loadJson("smoothquant.json");
    for (std::size_t i = 0; i < file["cases"].size(); ++i)
      if (file["cases"][i]["op"] == "smooth")
        QTest::newRow(file["cases"][i]["name"].get<std::string>().c_str()) << static_cast<int>(i);
  }
  void smoothGolden() {
    QFETCH(int, index);
    const json file = test::loadJson("smoothquant.json");
    const json& entry = file["cases"][static_cast<std::size_t>(index)];
    // Layers that share their inputs are one matrix, one below the other.
    std::vector<float> weights, smoothed;
    for (const json& consumer : entry["settings"]["consumers"]) {
      const std::string name = consumer;
      for (const float w : test::floatsFromJson(file["inputs"][name]["data"])) weights.push_back(w);
      for (const float w : test::floatsFromJson(entry["expect"]["smoothed_weight"][name]["data"])) smoothed.push_back(w);
    }
    const ActivationData data = known(test::floatsFromJson(file["inputs"]["x"]["data"]), 24);
    const Tensor tensor = Tensor::fromFloats(layer, {weights.size() / 24, 24}, weights);
    const std::string alpha = text(entry["settings"]["alpha"].get<double>());
    const auto outcome = runOn(tensor, "smooth:alpha=" + alpha + "/float:type=f32", &data);
    QVERIFY2(outcome.has_value(), outcome ? "" : outcome.error().message.c_str());
    const std::vector<float> expected = test::floatsFromJson(entry["expect"]["scales"]);
    QCOMPARE(outcome->quantized->channelScale.size(), expected.size());
    for (std::size_t j = 0; j < expected.size(); ++j)
      QVERIFY(std::fabs(outcome->quantized->channelScale[j] / expected[j] - 1) < 1e-6f);
    for (std::size_t i = 0; i < smoothed.size(); ++i)
      QVERIFY(std::fabs(storedValue(*outcome->quantized, i) - smoothed[i]) <= 1e-6f * std::fabs(smoothed[i]));
    QVERIFY(meanSquare(weights, decodeAll(*outcome->quantized)) < 1e-14);
  }

  void theDecoderUndoesThem_data() {
    QTest::addColumn<QString>("choice");
    for (const char* choice : {"hadamard:block=64/float:type=f32", "hadamard:block=2,seed=5/float:type=f32",
                               "smooth:alpha=0.7/float:type=f32", "smooth/hadamard:block=32/float:type=f32",
                               "smooth/hadamard/clip/uniform:bits=16,params=f32"})
      QTest::newRow(choice) << choice;
  }
  void theDecoderUndoesThem() {
    QFETCH(QString, choice);
    const Tensor weights = named({20, 128}, Distribution::HeavyTail, 3);
    const ActivationData data = known(*syntheticTensor(Distribution::HeavyTail, {30, 128}, 4).readAll(), 128);
    const auto outcome = runOn(weights, choice.toStdString(), &data);
    QVERIFY2(outcome.has_value(), outcome ? "" : outcome.error().message.c_str());
    QVERIFY(outcome->report.relativeFrobenius() < 1e-4);
    QVERIFY(outcome->report.relativeFrobenius() > 0);  // it really was there and back
    const std::vector<float> fast = decodeAll(*outcome->quantized);
    std::vector<float> literal(fast.size());
    decodeLiterally(*outcome->quantized, 0, literal);
    QVERIFY(fast == literal);
    QVERIFY(microscope(&weights, *outcome->quantized, 3, 7).has_value());
  }

  void rotationSpreadsOutliers() {
    // Four weights of ten deviations a row: they set the step of a row alone, and vanish among 128 when rotated.
    std::vector<float> values = *syntheticTensor(Distribution::Gauss, {16, 256}, 1).readAll();
    double squares = 0;
    for (const float value : values) squares += static_cast<double>(value) * value;
    const auto outlier = static_cast<float>(10 * std::sqrt(squares / static_cast<double>(values.size())));
    for (std::size_t i = 0; i < values.size(); i += 64) values[i] = outlier;
    const Tensor weights = Tensor::fromFloats("layer.weight", {16, 256}, std::move(values));
    const double plain = runOn(weights, "uniform:bits=4")->report.mse(), rotated = runOn(weights, "hadamard/uniform:bits=4")->report.mse();
    QVERIFY2(rotated < 0.7 * plain, qPrintable(QString("%1 against %2").arg(rotated).arg(plain)));
    // Another seed, other signs; the same seed, the same codes on every backend.
    const auto zero = runOn(weights, "hadamard:seed=0/uniform:bits=4"), one = runOn(weights, "hadamard:seed=1/uniform:bits=4");
    QVERIFY(zero->quantized->rotation->signs != one->quantized->rotation->signs);
    for (const kernels::Backend* backend : kernels::allBackends())
      if (backend->unusableReason().empty())
        QVERIFY(runOn(weights, "hadamard:seed=0/uniform:bits=4", nullptr, *backend)->quantized->codes == zero->quantized->codes);
  }

  void clippingNeverLoses_data() {
    QTest::addColumn<QString>("scheme");
    for (const char* scheme : {"uniform:bits=2", "uniform:bits=3,granularity=group,group=32", "uniform:bits=3,granularity=tensor", "nf4",
                               "minmax:bits=2", "hqq:bits=2", "gptq:bits=2,group=32"})
      QTest::newRow(scheme) << scheme;
  }
  void clippingNeverLoses() {
    QFETCH(QString, scheme);
    for (const Distribution distribution : {Distribution::Gauss, Distribution::HeavyTail, Distribution::Constant, Distribution::Zeros}) {
      const Tensor weights = named({16, 128}, distribution, 6);
      const auto plain = runOn(weights, scheme.toStdString()), clipped = runOn(weights, "clip/" + scheme.toStdString());
      QVERIFY2(clipped.has_value(), clipped ? "" : clipped.error().message.c_str());
      QVERIFY(clipped->report.mse() <= plain->report.mse());
      if (distribution == Distribution::HeavyTail && scheme.startsWith("uniform")) QVERIFY(clipped->report.mse() < plain->report.mse());
    }
  }

  // GPTQ behind a transform weighs by the inputs the transformed layer meets: the output's error falls all the same.
  void gptqMeetsTransformedInputs_data() {
    QTest::addColumn<QString>("transforms");
    for (const char* transforms : {"smooth", "hadamard:block=64", "smooth/hadamard:block=64"}) QTest::newRow(transforms) << transforms;
  }
  void gptqMeetsTransformedInputs() {
    QFETCH(QString, transforms);
    const Tensor weights = named({24, 64}, Distribution::Gauss, 8);
    std::vector<float> x = *syntheticTensor(Distribution::Gauss, {100, 64}, 9).readAll();
    for (std::size_t i = 0; i < x.size(); ++i) {
      const float common = x[i / 64 * 64];  // correlated inputs of very different size: what there is to gain by
      x[i] = (x[i] + 2 * common) * static_cast<float>(1 + i % 7);
    }
    const ActivationData data = known(x, 64);
    const std::string prefix = transforms.toStdString() + "/";
    const auto weighed = runOn(weights, prefix + "gptq:bits=3,group=32,params=f32", &data);
    QVERIFY2(weighed.has_value(), weighed ? "" : weighed.error().message.c_str());
    QVERIFY(weighed->quantized->notes.empty());
    // The same transform, plain rounding: one channel of the inputs at a time says nothing to GPTQ.
    const auto plain = runOn(weights, prefix + "uniform:bits=3,granularity=group,group=32,params=f32", &data);
    const std::vector<float> w = *weights.readAll();
    QVERIFY(outputLoss(w, decodeAll(*weighed->quantized), x, 64) < 0.7 * outputLoss(w, decodeAll(*plain->quantized), x, 64));
  }

  void scalesOfTransformAndSchemeMultiply() {
    const Tensor weights = named({16, 64}, Distribution::HeavyTail, 2);
    const ActivationData data = known(*syntheticTensor(Distribution::HeavyTail, {50, 64}, 5).readAll(), 64);
    const auto outcome = runOn(weights, "smooth/awq:bits=8,group=32,clip=false", &data);
    QVERIFY2(outcome.has_value(), outcome ? "" : outcome.error().message.c_str());
    QVERIFY(outcome->report.relativeFrobenius() < 0.05);
    QVERIFY(storageSize(*outcome->quantized).other == 64 * 4);
  }

  void refusals_data() {
    QTest::addColumn<QString>("choice");
    QTest::addColumn<QString>("says");
    QTest::newRow("block does not divide") << "hadamard:block=128/uniform" << "block 128 does not divide the 96 columns";
    QTest::newRow("no samples") << "smooth/uniform" << "needs samples";
    QTest::newRow("scheme refuses") << "clip/hqq:group=100" << "100";
    for (const Scheme* scheme : allSchemes())
      if (scheme->info().family == Family::Gguf)
        QTest::newRow(("clip before " + std::string(scheme->info().id)).c_str())
            << QString::fromStdString("clip/" + std::string(scheme->info().id)) << "ggml";
  }
  void refusals() {
    QFETCH(QString, choice);
    QFETCH(QString, says);
    const auto outcome = runOn(named({3, 96}, Distribution::Gauss, 1), choice.toStdString());
    QVERIFY(!outcome.has_value());
    QVERIFY2(QString::fromStdString(outcome.error().message).contains(says), outcome.error().message.c_str());
    QVERIFY(outcome.error().message.starts_with("layer.weight: "));
  }

  void awqBehindARotationIsRefused() {
    const ActivationData data = known(*syntheticTensor(Distribution::HeavyTail, {50, 64}, 5).readAll(), 64);
    const auto outcome = runOn(named({8, 64}, Distribution::Gauss, 1), "hadamard:block=64/awq:group=32", &data);
    QVERIFY(!outcome && outcome.error().message.find("after the rotation") != std::string::npos);
  }

  void noPackedFormatHoldsARotation() {
    const auto rotated = runOn(named({64, 64}, Distribution::Gauss, 1), "hadamard:block=64/uniform:bits=4,granularity=group,group=32");
    QVERIFY(rotated.has_value());
    for (const Format* format : allFormats())  // but npz, which holds every description
      QCOMPARE(format->refusal(*rotated->quantized).has_value(), format->info().id != "npz");
  }

  void textGoesBothWays() {
    const auto choice = Choice::parse("smooth/hadamard:seed=3/uniform:bits=4");
    QVERIFY(choice.has_value());
    const std::string text = choice->text();
    QVERIFY2(text.starts_with("smooth:alpha=0.5/hadamard:block=128,seed=3/uniform:bits=4,"), text.c_str());
    QVERIFY(*Choice::parse(text) == *choice);
    QCOMPARE(choice->shortText(), std::string("smooth/hadamard:block=128,seed=3/uniform:bits=4"));
    QVERIFY(choice->with("bits", std::string_view("6"))->text().starts_with("smooth:alpha=0.5/hadamard:block=128,seed=3/uniform:bits=6"));
    QVERIFY(*Choice::parse("uniform:bits=4") != *choice);
    const Tensor weights = named({4, 128}, Distribution::Gauss, 1);
    QCOMPARE(runOn(weights, "hadamard/uniform")->quantized->scheme, Choice::parse("hadamard/uniform")->text());
  }

 private:
  static std::string text(double value) { return QString::number(value).toStdString(); }
};

QTEST_APPLESS_MAIN(TestTransforms)
#include "test_transforms.moc"
