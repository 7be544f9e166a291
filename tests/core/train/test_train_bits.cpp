// SPDX-License-Identifier: GPL-3.0-or-later
// Layers with quantized weights: every gradient against differences of a literal forward pass, one size over several tensors,
// tied tensors, what stays float, back and forward to the bit, what is written out, refusals.
#include "core/io/checkpoint.h"
#include "core/io/npy.h"
#include "core/quant/decode.h"
#include "core/run/recipe.h"
#include "core/run/run.h"
#include "core/train/bit_scale.h"
#include "core/train/bits.h"
#include "core/train/methods.h"
#include "kernels/backend.h"
#include "tests/support/files.h"
#include "tests/support/train_layers.h"
#include "tests/support/train_numbers.h"

#include <QtTest>

#include <cmath>
#include <map>

using namespace nibble;
using namespace nibble::test;
using namespace nibble::train;

namespace {

TrainSettings plainSettings(const char* method = "diffq") {
  TrainSettings settings;
  settings.method = method;
  settings.type = NumberType::F64;
  settings.diffq.lambda = 300;
  settings.diffq.group = 4;
  settings.diffq.minSizeMb = 0;
  settings.diffq.logitsLearningRate = 0.05;
  settings.optimizer.learningRate = 1e-2;
  return settings;
}

// Any logits, so that no two groups are alike.
std::vector<BitsValues> someLogits() {
  return {{"a.weight", drawn(15, 71)}, {"b.weight", drawn(5, 72)}};
}

using Values = std::map<std::string, std::vector<double>>;

Values valuesOf(const Trainable& trainable) {
  Values values;
  for (const Parameter& parameter : trainable.parameters()) values[parameter.name] = parameter.value;
  return values;
}

// The loss as its definition reads, number by number; `noise` is what the pass drew.
double literalLoss(const std::vector<LayerData>& layers, const Values& values, const Values& noise,
                   const TrainSettings& settings) {
  const DiffqSettings& s = settings.diffq;
  double total = 0, bits = 0;
  for (const LayerData& layer : layers) {
    const auto& weight = values.at(layer.name + "/weight");
    const auto logits = values.find(layer.name + "/logits");
    const auto bias = values.find(layer.name + "/bias");
    if (bias != values.end()) bits += 32.0 * static_cast<double>(layer.rows);
    std::vector<double> noisy = weight;
    if (logits == values.end()) {
      bits += 32.0 * static_cast<double>(weight.size());
    } else {
      const double range = *std::max_element(weight.begin(), weight.end()) - *std::min_element(weight.begin(), weight.end());
      double sum = 0, most = 0;
      for (std::size_t g = 0; g < logits->second.size(); ++g) {
        const double t = 1 / (1 + std::exp(-logits->second[g]));
        const double low = 1 / (std::exp2(s.maxBits) - 1), high = 1 / (std::exp2(s.minBits) - 1);
        const double v = s.param == DiffqSettings::Param::Noise ? std::pow(low, t) * std::pow(high, 1 - t)
                                                                : 1 / (std::exp2(s.maxBits * t + s.minBits * (1 - t)) - 1);
        const double b = std::log2(1 + 1 / v) + s.extraBits;
        sum += b;
        most = std::max(most, b);
        for (std::size_t i = g * s.group; i < (g + 1) * s.group; ++i)
          noisy[i] += range * v * noise.at(layer.name + "/noise")[i];
      }
      bits += static_cast<double>(s.group) * sum + 72 +
              static_cast<double>(logits->second.size()) * std::ceil(std::log2(1 + std::nearbyint(most) - s.minBits));
    }
    double loss = 0;
    for (std::uint64_t n = 0; n < layer.tokens; ++n)
      for (std::uint64_t i = 0; i < layer.rows; ++i) {
        double y = bias == values.end() ? 0 : bias->second[i];
        for (std::uint64_t j = 0; j < layer.columns; ++j)
          y += noisy[i * layer.columns + j] * layer.inputs[n * layer.columns + j];
        const double error = y - layer.targets[n * layer.rows + i];
        loss += settings.loss == LossKind::Sum ? y : error * error;
      }
    total += settings.loss == LossKind::Sum ? loss : loss / static_cast<double>(layer.tokens * layer.rows);
  }
  return total + s.lambda * bits / 8388608;
}

std::unique_ptr<Trainable> made(const TrainSettings& settings, std::vector<LayerData> layers = twoLayers(),
                                const std::vector<BitsValues>& given = {}) {
  const auto method = settings.method == "lsq"   ? BitsMethod::Lsq
                      : settings.method == "ste" ? BitsMethod::Ste
                                                 : BitsMethod::Diffq;
  auto trainable = makeBits(method, std::move(layers), settings, given, {});
  if (!trainable) qFatal("%s", trainable.error().message.c_str());
  return *std::move(trainable);
}

double figureOf(const std::vector<Figure>& figures, const std::string& key) {
  for (const Figure& figure : figures)
    if (figure.key == key) return figure.value;
  return std::nan("");
}

QByteArray refusal(const TrainSettings& settings, std::vector<LayerData> layers = twoLayers(),
                   BitsMethod method = BitsMethod::Diffq) {
  const auto trainable = makeBits(method, std::move(layers), settings, {}, {});
  return trainable ? QByteArray("no error") : QByteArray::fromStdString(trainable.error().message);
}

}  // namespace

class TestTrainBits : public QObject {
  Q_OBJECT
 private slots:
  void gradients_data() {
    QTest::addColumn<bool>("noiseParam");
    QTest::addColumn<bool>("uniform");
    QTest::addColumn<bool>("sum");
    QTest::addColumn<QString>("exclude");
    QTest::newRow("bits, gaussian") << false << false << false << "";
    QTest::newRow("bits, uniform") << false << true << false << "";
    QTest::newRow("noise, gaussian") << true << false << false << "";
    QTest::newRow("noise, uniform") << true << true << false << "";
    QTest::newRow("sum of outputs") << false << false << true << "";
    QTest::newRow("one left float") << false << false << false << "b.*";
  }
  void gradients() {
    QFETCH(bool, noiseParam);
    QFETCH(bool, uniform);
    QFETCH(bool, sum);
    QFETCH(QString, exclude);
    TrainSettings settings = plainSettings();
    if (noiseParam) settings.diffq.param = DiffqSettings::Param::Noise;
    if (uniform) settings.diffq.noiseKind = DiffqSettings::NoiseKind::Uniform;
    if (sum) settings.loss = LossKind::Sum;
    if (!exclude.isEmpty()) settings.diffq.exclude = {exclude.toStdString()};
    settings.diffq.extraBits = 0.5;
    const std::vector<LayerData> layers = twoLayers();
    const auto trainable = made(settings, layers, someLogits());
    const auto loss = trainable->pass({5, 0, 1, 0}, {});
    QVERIFY(loss);
    Values values = valuesOf(*trainable), noise;
    for (const std::string& name : trainable->arrayNames())
      if (name.ends_with("/noise")) noise[name] = trainable->array(name).value().values;
    QCOMPARE(noise.size(), std::size_t(exclude.isEmpty() ? 2 : 1));
    QVERIFY(std::fabs(*loss - literalLoss(layers, values, noise, settings)) < 1e-12 * std::fabs(*loss));
    QCOMPARE(values.size(), std::size_t(exclude.isEmpty() ? 5 : 4));
    for (const Parameter& parameter : trainable->parameters())
      for (std::size_t i = 0; i < parameter.value.size(); ++i) {
        double& value = values[parameter.name][i];
        const double here = value, step = 1e-5;
        value = here + step;
        const double above = literalLoss(layers, values, noise, settings);
        value = here - step;
        const double slope = (above - literalLoss(layers, values, noise, settings)) / (2 * step);
        value = here;
        QVERIFY2(
            std::fabs(slope - parameter.gradient[i]) < 1e-6 * std::max(1.0, std::fabs(slope)),
            qPrintable(
                QString("%1[%2]: %3 instead of %4").arg(parameter.name.c_str()).arg(i).arg(parameter.gradient[i]).arg(slope)));
      }
  }

  // Straight through: the gradient at the quantized weights is the weights' own. LSQ's step by its definition.
  void fixedBits() {
    for (const char* method : {"ste", "lsq"}) {
      TrainSettings settings = plainSettings(method);
      const int bits = method == std::string("lsq") ? 2 : 3;  // few enough that the first step clips
      settings.diffq.fixedBits = bits;
      const std::vector<LayerData> layers = twoLayers();
      const auto trainable = made(settings, layers);
      QVERIFY(trainable->pass({}, {}));
      const auto noisy = trainable->array("a.weight/noisy").value().values;
      std::map<double, int> levels;
      for (const double w : noisy) ++levels[w];
      QVERIFY(levels.size() <= (std::size_t{1} << bits) && levels.size() > 2);
      const auto weight = trainable->parameters()[0].value;
      std::size_t clipped = 0;
      for (std::size_t i = 0; i < 6; ++i)
        for (std::size_t j = 0; j < 10; ++j) {
          double gradient = 0;
          for (std::size_t n = 0; n < 7; ++n) {
            double y = layers[0].bias[i];
            for (std::size_t k = 0; k < 10; ++k) y += noisy[i * 10 + k] * layers[0].inputs[n * 10 + k];
            gradient += 2.0 / 42 * (y - layers[0].targets[n * 6 + i]) * layers[0].inputs[n * 10 + j];
          }
          if (method == std::string("lsq")) {
            const double s = trainable->parameters()[1].value[0], p = weight[i * 10 + j] / s;
            if (p < -2 || p > 1) gradient = 0, ++clipped;
          }
          QVERIFY(std::fabs(trainable->parameters()[0].gradient[i * 10 + j] - gradient) < 1e-12);
        }
      if (method == std::string("lsq")) QVERIFY(clipped > 0);
      const double each = method == std::string("lsq") ? 32 : 64;
      QVERIFY(std::fabs(figureOf(trainable->figures(), "sizeMb") - (80 * bits + 2 * each + 6 * 32) / 8388608) < 1e-15);
      QVERIFY(std::fabs(trainable->evaluate({}).value() - figureOf(trainable->figures(), "taskLoss")) < 1e-5);
    }
  }

  // The same tensor twice: one parameter, one noise, counted once, both layers' gradients; or two, where that is asked.
  void boundTensors() {
    std::vector<LayerData> layers = twoLayers();
    layers[1] = namedLayer("b.weight", 6, 10, 4, 3, true);
    layers[1].weight = doubleTensor("b.weight", {6, 10}, readDoubles(layers[0].weight).value());
    TrainSettings settings = plainSettings();
    const auto bound = made(settings, layers);
    QCOMPARE(bound->parameters().size(), std::size_t{4});  // weight, logits, two biases
    QVERIFY(bound->pass({}, {}));
    QVERIFY(bound->array("a.weight/noisy").value().values == bound->array("b.weight/noisy").value().values);
    settings.diffq.detectBound = false;
    const auto apart = made(settings, layers);
    QCOMPARE(apart->parameters().size(), std::size_t{6});
    QVERIFY(apart->pass({}, {}));
    QVERIFY(apart->array("a.weight/noisy").value().values != apart->array("b.weight/noisy").value().values);
    const double once = figureOf(bound->figures(), "trueSizeMb") * 8388608 - 12 * 32,
                 twice = figureOf(apart->figures(), "trueSizeMb") * 8388608 - 12 * 32;
    QVERIFY(std::fabs(2 * once - twice) < 1e-6);
    // The shared gradient is the sum of what each layer alone gives under the same noise.
    settings.diffq.detectBound = true;
    settings.diffq.lambda = 0;
    const auto free = made(settings, layers), first = made(settings, {layers[0]}), second = made(settings, {layers[1]});
    QVERIFY(free->pass({}, {}) && first->pass({}, {}) && second->pass({}, {}));
    for (std::size_t i = 0; i < 60; ++i)
      QVERIFY(std::fabs(free->parameters()[0].gradient[i] - first->parameters()[0].gradient[i] -
                        second->parameters()[0].gradient[i]) < 1e-12);
  }

  void float16IsOnlyAtTheEnd() {
    TrainSettings settings = plainSettings();
    settings.diffq.exclude = {"b.weight"};
    settings.diffq.float16 = true;
    const auto half = made(settings);
    const Values before = valuesOf(*half);
    const double rounded = half->evaluate({}).value();
    QVERIFY(valuesOf(*half) == before);
    settings.diffq.float16 = false;
    const auto whole = made(settings);
    const double exact = whole->evaluate({}).value();
    QVERIFY(rounded != exact && std::fabs(rounded - exact) < 1e-2 * exact);
    QVERIFY(half->pass({}, {}) && whole->pass({}, {}));
    QVERIFY(half->array("b.weight/output").value().values == whole->array("b.weight/output").value().values);
    const double saved = figureOf(whole->figures(), "sizeMb") - figureOf(half->figures(), "sizeMb");
    QVERIFY(std::fabs(saved - 16.0 * (20 + 6) / 8388608) < 1e-15);
    const ScratchFolder folder;
    QVERIFY(half->write(folder.file(""), {}));
    const auto file = Checkpoint::open(folder.file("weights.safetensors"));
    QVERIFY(file);
    QVERIFY((*file)->read("b.weight")->type() == DType::F16 && (*file)->read("a.weight")->type() == DType::F32);
    QVERIFY((*file)->read("a.bias")->type() == DType::F16);
  }

  void backAndForward_data() {
    QTest::addColumn<QString>("method");
    QTest::addColumn<int>("type");
    for (const char* method : {"diffq", "lsq", "ste"})
      for (const NumberType type : {NumberType::F64, NumberType::F32, NumberType::BF16})
        QTest::newRow((method + std::string(", ") + std::string(name(type))).c_str()) << method << static_cast<int>(type);
  }
  void backAndForward() {
    QFETCH(QString, method);
    QFETCH(int, type);
    TrainSettings settings = plainSettings();
    settings.method = method.toStdString();
    settings.type = static_cast<NumberType>(type);
    settings.batchRows = 3;
    settings.optimizer.learningRate = 1e-3;
    const std::vector<std::string> names{"a.weight", "b.weight"};
    Stepper stepper(made(settings), settings, names, 20000);
    QVERIFY(stepper.goTo(3, {}));
    const Values third = valuesOf(stepper.trainable());
    QVERIFY(stepper.runTo(80, {}, {}).value() == StopReason::Reached);
    const Values last = valuesOf(stepper.trainable());
    const auto records = stepper.records();
    QVERIFY(stepper.goTo(3, {}));
    QVERIFY(valuesOf(stepper.trainable()) == third);
    QVERIFY(stepper.goTo(80, {}));
    QVERIFY(valuesOf(stepper.trainable()) == last);
    QVERIFY(stepper.records() == records);
    // Saved and resumed, on another number of threads.
    const ScratchFolder folder;
    Stepper first(made(settings), settings, names), second(made(settings), settings, names);
    QVERIFY(first.goTo(31, {}) && first.save(folder.file("run")));
    kernels::setThreadCount(1);
    const auto resumed = second.resume(folder.file("run"));
    QVERIFY2(resumed, resumed ? "" : resumed.error().message.c_str());
    QVERIFY(second.goTo(80, {}));
    kernels::setThreadCount(0);
    QVERIFY(valuesOf(second.trainable()) == last);
    QVERIFY(second.records() == records);
  }

  void lambdaChangesLive() {
    const TrainSettings settings = plainSettings();
    Stepper stepper(made(settings), settings, {"a.weight", "b.weight"});
    QVERIFY(stepper.goTo(4, {}));
    const double bits = figureOf(stepper.records().back().figures, "bitsMean");
    QVERIFY(!stepper.setLambda(-1));
    QVERIFY(stepper.setLambda(1e6));
    QCOMPARE(stepper.settings().diffq.lambda, 1e6);
    QVERIFY(stepper.goTo(30, {}));
    QVERIFY(figureOf(stepper.records().back().figures, "bitsMean") < bits - 1);
    QVERIFY(!stepper.goTo(2, {}));  // made under another price
    TrainSettings lora = settings;
    lora.method = "lora";
    lora.adapter.rank = 2;
    Stepper other(makeAdapter(twoLayers()[0], lora, {}, {}).value(), lora, {"a.weight"});
    QVERIFY(!other.setLambda(3));
  }

  // What is written is what was measured: weights by the recipe's choices give the evaluated loss.
  void writesWhatItMeasures() {
    for (const char* method : {"diffq", "lsq", "ste"}) {
      TrainSettings settings = plainSettings(method);
      settings.type = NumberType::F32;
      settings.diffq.extraBits = 0.3;
      settings.diffq.lambda = 5;
      settings.optimizer.learningRate = 1e-3;
      const std::vector<LayerData> layers = twoLayers();
      Stepper stepper(made(settings, layers), settings, {"a.weight", "b.weight"});
      QVERIFY(stepper.goTo(25, {}));
      const ScratchFolder folder;
      const auto files = stepper.trainable().write(folder.file(""), {});
      QVERIFY(files);
      QCOMPARE(files->size(), std::size_t(method == std::string("diffq") ? 3 : 2));
      const auto recipe = Recipe::read(folder.file("recipe.json"));
      QVERIFY2(recipe, recipe ? "" : recipe.error().message.c_str());
      const WeightList weights(Checkpoint::open(folder.file("weights.safetensors")).value());
      const auto chosen = recipe->choose(weights, {"a.weight", "b.weight"}, false);
      QVERIFY2(chosen, chosen ? "" : chosen.error().message.c_str());
      QCOMPARE(chosen->size(), std::size_t{2});
      double loss = 0, bytes = 0;
      for (std::size_t l = 0; l < 2; ++l) {
        const auto outcome = run(weights.read((*chosen)[l].first).value(), (*chosen)[l].second, {});
        QVERIFY2(outcome, outcome ? "" : outcome.error().message.c_str());
        bytes += static_cast<double>(storageSize(*outcome->quantized).total());
        LayerData layer = layers[l];
        layer.weight = Tensor::fromFloats(layer.name, {layer.rows, layer.columns}, decodeAll(*outcome->quantized));
        if (l == 0) layer.bias = stepper.trainable().parameters()[method == std::string("ste") ? 1 : 2].value;
        const auto y = floatOutputs(layer, {}).value();
        for (std::size_t i = 0; i < y.size(); ++i)
          loss += (y[i] - layer.targets[i]) * (y[i] - layer.targets[i]) / static_cast<double>(y.size());
      }
      QVERIFY(std::fabs(stepper.trainable().evaluate({}).value() / loss - 1) < 1e-5);
      const auto figures = stepper.trainable().finalFigures({});
      QVERIFY(figures);
      const double bits = figureOf(*figures, "trueSizeMb") * 8388608 - 6 * 32;
      if (method == std::string("diffq")) QVERIFY(bytes * 8 >= bits && bytes * 8 < bits + 32);
      double groups = 0;
      for (int b = 1; b <= 15; ++b)
        if (const double count = figureOf(*figures, "groupsOf" + std::to_string(b) + "Bits"); count > 0) groups += count;
      QCOMPARE(groups, method == std::string("diffq") ? 20.0 : 2.0);
    }
  }

  // Noise from a file: as given, step by step.
  void noiseFromFile() {
    const ScratchFolder folder;
    const auto first = drawn(60, 81, 0.5), second = drawn(20, 82, 0.5);
    QVERIFY(writeNpz(folder.file("noise.npz"), {doubleArray("1/a.weight", {15, 4}, first), doubleArray("1/b.weight", {4, 5}, second)}));
    TrainSettings settings = plainSettings();
    settings.noise = folder.file("noise.npz");
    const auto trainable = made(settings);
    QVERIFY(trainable->pass({}, {}));
    QVERIFY(trainable->array("a.weight/noise").value().values == first);
    QVERIFY(trainable->array("b.weight/noise").value().values == second);
    const auto next = trainable->pass({2, 0, 1, 0}, {});
    QVERIFY(!next && next.error().message.find("no array 2/a.weight") != std::string::npos);
    settings.noise = folder.file("none.npz");
    QVERIFY(refusal(settings).contains("none.npz"));
    settings.noise = folder.file("noise.npz");
    settings.accumulation = 2;
    QVERIFY(refusal(settings).contains("one pass a step"));
    settings.accumulation = 1;
    auto layers = twoLayers();
    layers[0] = namedLayer("a.weight", 8, 10, 7, 1, true);
    QVERIFY(!made(settings, layers)->pass({}, {}));
  }

  void refusals() {
    TrainSettings settings = plainSettings();
    settings.diffq.group = 7;
    QVERIFY2(refusal(settings).contains("a.weight: a group of 7 does not divide its 60"), refusal(settings));
    settings.diffq.group = 0;
    QCOMPARE(refusal(settings), QByteArray("no error"));
    settings.diffq.minBits = 8;
    QVERIFY(refusal(settings).contains("fewest < first < most"));
    settings.diffq.minBits = 0.5;
    QVERIFY(refusal(settings).contains("fewest < first < most"));
    settings = plainSettings();
    settings.diffq.maxBits = 16;
    QVERIFY(refusal(settings).contains("most <= 15"));
    settings = plainSettings();
    settings.diffq.lambda = std::nan("");
    QVERIFY(refusal(settings).contains("lambda"));
    settings = plainSettings("lsq");
    settings.diffq.fixedBits = 1;
    QVERIFY(refusal(settings, twoLayers(), BitsMethod::Lsq).contains("2 to 8 bits"));
    settings.diffq.fixedBits = 9;
    QVERIFY(refusal(settings, twoLayers(), BitsMethod::Lsq).contains("2 to 8 bits"));
    QCOMPARE(refusal(settings, twoLayers(), BitsMethod::Ste), QByteArray("no error"));
    settings.diffq.fixedBits = 4;
    auto zeros = twoLayers();
    zeros[1].weight = doubleTensor("b.weight", {4, 5}, std::vector<double>(20));
    QVERIFY(refusal(settings, zeros, BitsMethod::Lsq).contains("all weights are 0"));
    // A constant tensor has no range: it trains and stays what it is.
    QCOMPARE(refusal(plainSettings(), zeros), QByteArray("no error"));
    const auto constant = made(plainSettings(), zeros);
    QVERIFY(constant->pass({}, {}) && constant->evaluate({}));
    for (const Parameter& parameter : constant->parameters())
      for (const double g : parameter.gradient) QVERIFY(std::isfinite(g));
    // A step that training drives below 0 ends the run with a reason.
    settings.optimizer.learningRate = 10;
    Stepper stepper(made(settings), settings, {"a.weight", "b.weight"});
    const auto ran = stepper.runTo(50, {}, {});
    QVERIFY(!ran && ran.error().message.find("not positive") != std::string::npos);
    QCOMPARE(makeBits(BitsMethod::Diffq, twoLayers(), plainSettings(), {{"a.weight", {1, 2}}}, {}).error().message,
             std::string("a.weight: 2 logits are given, 15 are needed"));
  }

  void nothingQuantizedIsSaid() {
    TrainSettings settings = plainSettings();
    settings.diffq.minSizeMb = 1;
    std::string said;
    const auto trainable =
        makeBits(BitsMethod::Diffq, twoLayers(), settings, {}, {}, [&](const std::string& line) { said = line; });
    QVERIFY(trainable);
    QVERIFY(said.find("no tensor is quantized") != std::string::npos);
    QVERIFY((*trainable)->pass({}, {}));
    QCOMPARE((*trainable)->parameters().size(), std::size_t{3});
    QVERIFY(std::isnan(figureOf((*trainable)->figures(), "bitsMean")));
    QCOMPARE(figureOf((*trainable)->figures(), "sizeMb"), 32.0 * 86 / 8388608);
  }
};

QTEST_APPLESS_MAIN(TestTrainBits)
#include "test_train_bits.moc"
