// SPDX-License-Identifier: GPL-3.0-or-later
// Quantized weights that train: gradients against dense products in double, every step against the optimizer alone, the loss on
// a real layer, codes flipped and lost, back and forward and resumed to the same bits, what is written, refusals. And packed
// layers as the frozen base of an adapter.
#include "core/io/checkpoint.h"
#include "core/io/npy.h"
#include "core/layers/diode_mix.h"
#include "core/train/methods.h"
#include "core/train/packed.h"
#include "core/train/stepper.h"
#include "kernels/backend.h"
#include "tests/support/files.h"
#include "tests/support/golden.h"
#include "tests/support/mbwq_layers.h"
#include "tests/support/train_layers.h"
#include "tests/support/train_numbers.h"

#include <QtTest>

#include <cmath>

using namespace nibble;
using namespace nibble::test;
using namespace nibble::train;

namespace {

const std::string query = "encoder.layer.0.attention.self.query.weight";
const char* const mixedWidths = "exl2:mix=4b:0.5@32+3b:0.5@32";

std::filesystem::path sample() {
  return resourcePath("sample/minilm-sample.safetensors");
}

TrainSettings settingsOf(const std::string& base, double rate = 1e-3) {
  TrainSettings settings = defaultSettings("mbwq");
  settings.adapter.base = base;
  settings.optimizer.learningRate = rate;
  settings.data.rows = 24;
  settings.steps = 20;
  return settings;
}

Result<std::unique_ptr<Trainable>> makeFrom(const std::filesystem::path& file, const TrainSettings& settings) {
  const auto checkpoint = Checkpoint::open(file);
  if (!checkpoint) return fail(checkpoint.error());
  const WeightList weights(*checkpoint);
  return makeTrainable({&weights, {query}, settings, {}}, {});
}

QByteArray refusal(const std::filesystem::path& file, const TrainSettings& settings) {
  const auto made = makeFrom(file, settings);
  return made ? QByteArray("no error") : QByteArray::fromStdString(made.error().message);
}

// A small layer of all widths with an order, a channel scale and a bias.
const std::vector<HandGroup> allWidths{{8, 32}, {6, 32}, {5, 64}, {4, 32}, {3, 32}, {2, 32}};

LayerData handData(const MbwqLayer& layer) {
  const std::uint64_t inputs = layer.settings().inputs, outputs = layer.settings().outputs, tokens = 9;
  return {"m",
          outputs,
          inputs,
          tokens,
          doubleTensor("m", {outputs, inputs}, drawn(outputs * inputs, 1, 0.1)),
          {},
          drawn(tokens * inputs, 2),
          drawn(tokens * outputs, 3)};
}

std::unique_ptr<Trainable> handTraining(const TrainSettings& settings) {
  MbwqLayer layer = mixedLayer(handLayer(7, allWidths, 21, true));
  LayerData data = handData(layer);
  return makePacked(std::move(layer), std::move(data), settings).value();
}

const Parameter& parameterOf(const Trainable& trainable, const std::string& name) {
  for (const Parameter& parameter : trainable.parameters())
    if (parameter.name == name) return parameter;
  qFatal("no parameter %s", name.c_str());
}

std::vector<std::vector<double>> valuesOf(const Stepper& stepper) {
  std::vector<std::vector<double>> all;
  for (const Parameter& parameter : stepper.trainable().parameters()) {
    all.push_back(parameter.value);
    all.insert(all.end(), parameter.state.begin(), parameter.state.end());
  }
  return all;
}

double largest(const std::vector<double>& values) {
  double most = 0;
  for (const double value : values) most = std::max(most, std::fabs(value));
  return most;
}

}  // namespace

class TestTrainPacked : public QObject {
  Q_OBJECT
 private slots:
  void cleanup() { kernels::setThreadCount(0); }

  // Outputs and dLoss/dW of a pass, against W as the layer decodes it, in double.
  void gradientsAgainstDenseProducts() {
    TrainSettings settings = settingsOf("");
    const auto trainable = handTraining(settings);
    for (Parameter& parameter : trainable->parameters()) parameter.gradient.assign(parameter.value.size(), 0);
    const auto loss = trainable->pass({}, {});
    QVERIFY2(loss, loss ? "" : loss.error().message.c_str());
    const auto at = [&](const char* name) { return trainable->array(name).value(); };
    const NamedArray x = at("x"), w = at("weight"), y = at("y"), target = at("target");
    const std::size_t tokens = x.shape[0], in = x.shape[1], out = w.shape[0];
    const MbwqLayer layer = mixedLayer(handLayer(7, allWidths, 21, true));
    const auto scales = mbwq::floatsOf(layer.state()[4]);
    QCOMPARE(layer.state()[4].name, std::string("channel_scale"));
    double sum = 0;
    std::vector<double> gradient(out * in), zeros(out);
    for (std::size_t t = 0; t < tokens; ++t)
      for (std::size_t n = 0; n < out; ++n) {
        double value = 0;
        for (std::size_t k = 0; k < in; ++k)
          value += x.values[t * in + k] * static_cast<double>(scales[k]) * w.values[n * in + k];
        QVERIFY(std::fabs(value - y.values[t * out + n]) < 2e-3 * (1 + std::fabs(value)));
        const double error = y.values[t * out + n] - target.values[t * out + n];
        sum += error * error / static_cast<double>(tokens * out);
        for (std::size_t k = 0; k < in; ++k) {
          const double g =
              2 * error / static_cast<double>(tokens * out) * x.values[t * in + k] * static_cast<double>(scales[k]);
          gradient[n * in + k] += g;
          zeros[n] -= g;
        }
      }
    QVERIFY(std::fabs(*loss / sum - 1) < 1e-9);
    const std::vector<double>& found = parameterOf(*trainable, "codes").gradient;
    for (std::size_t i = 0; i < gradient.size(); ++i) QVERIFY(std::fabs(found[i] - gradient[i]) < 2e-3 * largest(gradient));
    const std::vector<double>& ofZeros = parameterOf(*trainable, "zeros").gradient;
    for (std::size_t n = 0; n < out; ++n) {
      double all = 0;
      for (std::size_t g = 0; g < ofZeros.size() / out; ++g) all += ofZeros[g * out + n];
      QVERIFY(std::fabs(all - zeros[n]) < 1e-2 * largest(zeros));
    }
  }

  // The stepper's updates are those of the optimizer on the layer itself.
  void stepsLikeTheOptimizerAlone() {
    TrainSettings settings = settingsOf("", 0.02);
    settings.packed.residual = true;
    const auto trainable = handTraining(settings);
    MbwqLayer layer = mixedLayer(handLayer(7, allWidths, 21, true));
    DiodeMix optimizer({.learningRate = 0.02, .residual = true});
    std::uint64_t flipped = 0;
    for (std::uint64_t t = 1; t <= 7; ++t) {
      for (Parameter& parameter : trainable->parameters()) parameter.gradient.assign(parameter.value.size(), 0);
      QVERIFY(trainable->pass({t, 0, 1, 0}, {}));
      const std::vector<double>& codes = parameterOf(*trainable, "codes").gradient;
      const std::uint64_t in = layer.settings().inputs, out = layer.settings().outputs;
      std::vector<float> gradient(codes.size());
      for (std::uint64_t n = 0; n < out; ++n)
        for (std::uint64_t k = 0; k < in; ++k) gradient[k * out + n] = static_cast<float>(codes[n * in + k]);
      const auto step = optimizer.step(layer, gradient, {});
      QVERIFY(step);
      QVERIFY(trainable->update(settings.optimizer, 1, t, {}));
      QCOMPARE(parameterOf(*trainable, "codes").moved, (Moved{step->flipped, 0, codes.size()}));
      QCOMPARE(parameterOf(*trainable, "zeros").moved.moved, step->movedZeros);
      flipped += step->flipped;
      QVERIFY(trainable->pass({t + 1, 0, 1, 0}, {}));
      const auto weights = layer.weights();
      const NamedArray found = trainable->array("weight").value();
      for (std::uint64_t n = 0; n < out; ++n)
        for (std::uint64_t k = 0; k < in; ++k) QCOMPARE(found.values[n * in + k], static_cast<double>(weights[k * out + n]));
    }
    QVERIFY(flipped > 100);
  }

  // On a real layer: from the rounding of a scheme to weights that fit the inputs better.
  void lossFallsOnARealLayer_data() {
    QTest::addColumn<QString>("base");
    QTest::addColumn<double>("rate");
    QTest::addColumn<bool>("residual");
    QTest::addColumn<double>("left");  // of the loss, at most
    QTest::newRow("2 bits") << "mbwq:bits=2" << 0.03 << false << 0.9;
    QTest::newRow("4 bits") << "mbwq:bits=4" << 0.01 << false << 0.75;
    QTest::newRow("mixed widths, residual") << mixedWidths << 7e-4 << true << 0.5;
  }
  void lossFallsOnARealLayer() {
    QFETCH(QString, base);
    QFETCH(double, rate);
    QFETCH(bool, residual);
    QFETCH(double, left);
    TrainSettings settings = settingsOf(base.toStdString(), rate);
    settings.packed.residual = residual;
    settings.data.rows = 64;
    if (residual) settings.optimizer = {"diodemix", rate, 0, 0.9, 0.999, 1e-8, 0};
    auto made = makeFrom(sample(), settings);
    QVERIFY2(made, made ? "" : made.error().message.c_str());
    Stepper stepper(*std::move(made), settings, {query}, 0);
    const double before = stepper.trainable().evaluate({}).value();
    QVERIFY(stepper.goTo(40, {}));
    const double after = stepper.trainable().evaluate({}).value();
    std::uint64_t flipped = 0;
    for (const StepRecord& record : stepper.records()) flipped += record.parameters.front().moved.moved;
    QVERIFY2(after < left * before, qPrintable(QString("%1 to %2, %3 flipped").arg(before).arg(after).arg(flipped)));
    QVERIFY(flipped > 10);
    const auto figures = stepper.trainable().finalFigures({}).value();
    QCOMPARE(figures[0].key, std::string("baseLoss"));
    QVERIFY(std::fabs(figures[0].value / before - 1) < 1e-12);
  }

  // Codes of another scheme, where the layer can hold them.
  void takesOtherSchemes() {
    for (const char* base : {"uniform:bits=3,granularity=group,group=64,symmetric=false", "hqq:bits=4,group=64"}) {
      const auto made = makeFrom(sample(), settingsOf(base));
      QVERIFY2(made, made ? "" : made.error().message.c_str());
      QVERIFY((*made)->pass({}, {}));
    }
  }

  // Steps below half a code are lost, and that is counted; a residual or chance keeps them.
  void smallStepsAreLostAndCounted() {
    const auto ran = [&](bool residual, PackedSettings::Rounding rounding) {
      TrainSettings settings = settingsOf("mbwq:bits=4", 1e-3);
      settings.packed = {rounding, residual, 0};
      Stepper stepper(makeFrom(sample(), settings).value(), settings, {query}, 0);
      if (!stepper.goTo(12, {})) qFatal("no run");
      Moved all;
      for (const StepRecord& record : stepper.records()) {
        all.moved += record.parameters.front().moved.moved;
        all.vanished += record.parameters.front().moved.vanished;
        all.total += record.parameters.front().moved.total;
      }
      return all;
    };
    const Moved plain = ran(false, PackedSettings::Rounding::Nearest), kept = ran(true, PackedSettings::Rounding::Nearest),
                chance = ran(false, PackedSettings::Rounding::Stochastic);
    QVERIFY(plain.moved < plain.total / 1000 && plain.vanished > plain.total * 9 / 10);
    QVERIFY(kept.moved > plain.moved && kept.vanished == 0);
    QVERIFY(chance.moved > plain.moved && chance.vanished == 0);
  }

  void backForwardAndResumed_data() {
    QTest::addColumn<bool>("residual");
    QTest::addColumn<bool>("stochastic");
    QTest::newRow("nearest") << false << false;
    QTest::newRow("residual") << true << false;
    QTest::newRow("by chance, with a residual") << true << true;
  }
  void backForwardAndResumed() {
    QFETCH(bool, residual);
    QFETCH(bool, stochastic);
    TrainSettings settings = settingsOf("", 0.01);
    settings.packed.residual = residual;
    settings.packed.rounding = stochastic ? PackedSettings::Rounding::Stochastic : PackedSettings::Rounding::Nearest;
    settings.batchRows = 4;
    settings.clipNorm = 1;
    const std::vector<std::string> names{"m"};
    Stepper stepper(handTraining(settings), settings, names, 200000);
    QVERIFY(stepper.goTo(3, {}));
    const auto third = valuesOf(stepper);
    QVERIFY(stepper.runTo(60, {}, {}).value() == StopReason::Reached);
    const auto last = valuesOf(stepper);
    const auto records = stepper.records();
    QVERIFY(third != last);
    QVERIFY(stepper.goTo(3, {}));
    QVERIFY(valuesOf(stepper) == third);
    QVERIFY(stepper.goTo(60, {}));
    QVERIFY(valuesOf(stepper) == last && stepper.records() == records);
    const ScratchFolder folder;
    Stepper first(handTraining(settings), settings, names), second(handTraining(settings), settings, names);
    QVERIFY(first.goTo(31, {}) && first.save(folder.file("run")));
    kernels::setThreadCount(1);
    const auto resumed = second.resume(folder.file("run"));
    QVERIFY2(resumed, resumed ? "" : resumed.error().message.c_str());
    QVERIFY(second.goTo(60, {}));
    QVERIFY(valuesOf(second) == last && second.records() == records);
    TrainSettings other = settings;
    other.packed.residual = !residual;
    Stepper third2(handTraining(other), other, names);
    QVERIFY(third2.resume(folder.file("run")).error().message.find("residual=") != std::string::npos);
  }

  // What is written is a packed checkpoint like any other, and trains on.
  void writesAPackedLayer() {
    for (const char* base : {"mbwq:bits=4", mixedWidths}) {
      const TrainSettings settings = settingsOf(base, 0.01);
      Stepper stepper(makeFrom(sample(), settings).value(), settings, {query}, 0);
      QVERIFY(stepper.goTo(6, {}));
      const double loss = stepper.trainable().evaluate({}).value();
      const ScratchFolder folder;
      QCOMPARE(stepper.trainable().write(folder.file(""), {}).value(), std::vector<std::string>{"packed.safetensors"});
      const WeightList written(Checkpoint::open(folder.file("packed.safetensors")).value());
      QCOMPARE(written.packedLayers().size(), std::size_t{1});
      const auto values = written.read(query).value().readAll().value();
      QVERIFY(stepper.trainable().pass({7, 0, 1, 0}, {}));
      const NamedArray trained = stepper.trainable().array("weight").value();
      QVERIFY(std::equal(values.begin(), values.end(), trained.values.begin(), trained.values.end(),
                         [](float a, double b) { return static_cast<double>(a) == b; }));
      // Its own start: the scheme's name is not needed, and targets of the float layer give the same loss.
      const auto inputs = stepper.trainable().array("x").value(), targets = stepper.trainable().array("target").value();
      QVERIFY(writeNpy(folder.file("x.npy"), doubleArray("x", inputs.shape, inputs.values)));
      QVERIFY(writeNpy(folder.file("t.npy"), doubleArray("t", targets.shape, targets.values)));
      TrainSettings on = settingsOf("", 0.01);
      on.data.inputs = folder.file("x.npy");
      on.data.targets = folder.file("t.npy");
      auto again = makeFrom(folder.file("packed.safetensors"), on);
      QVERIFY2(again, again ? "" : again.error().message.c_str());
      QCOMPARE((*again)->evaluate({}).value(), loss);
    }
  }

  void refusals() {
    TrainSettings settings = settingsOf("mbwq:bits=4");
    QCOMPARE(refusal(sample(), settings), QByteArray("no error"));
    settings.optimizer.kind = "adamw";
    QVERIFY(refusal(sample(), settings).contains("diodemix"));
    QCOMPARE(refusal(sample(), settingsOf("")), QByteArray("no error"));  // quantized by the scheme of the method's name
    QVERIFY(refusal(sample(), settingsOf("nf4")).contains(query.c_str()));
    QVERIFY(refusal(sample(), settingsOf("hqq:group=16")).contains(query.c_str()));
    settings = settingsOf("mbwq:bits=4");
    settings.init = "start.npz";
    QVERIFY(refusal(sample(), settings).contains("first values"));
    // A step that would leave float16 is not done; the run so far stands.
    settings = settingsOf("", 0.01);
    Stepper stepper(handTraining(settings), settings, {"m"});
    QVERIFY(stepper.goTo(4, {}));
    const auto kept = valuesOf(stepper);
    TrainSettings wild = settings;
    wild.optimizer.learningRate = 1e9;
    QVERIFY(!stepper.trainable().update(wild.optimizer, 1, 5, {}));
    QVERIFY(valuesOf(stepper) == kept);
    QVERIFY(stepper.goTo(8, {}));
  }

  // Packed layers under an adapter.
  void adaptersOverPackedLayers() {
    for (const char* base : {"mbwq:bits=2", mixedWidths}) {
      TrainSettings settings = defaultSettings("qdora");
      settings.adapter.base = base;
      settings.data.rows = 24;
      settings.optimizer.learningRate = 0.01;
      settings.steps = 15;
      auto made = makeFrom(sample(), settings);
      QVERIFY2(made, made ? "" : made.error().message.c_str());
      Stepper stepper(*std::move(made), settings, {query}, 0);
      const double before = stepper.trainable().evaluate({}).value();
      QVERIFY(stepper.goTo(15, {}));
      QVERIFY(stepper.trainable().evaluate({}).value() < 0.8 * before);
    }
  }
};

QTEST_APPLESS_MAIN(TestTrainPacked)
#include "test_train_packed.moc"
