// SPDX-License-Identifier: GPL-3.0-or-later
// Adapters against PEFT's numbers in float64 (dora.json): outputs, gradients, three AdamW steps, merged weights; and against
// reference document 000 (seed000_qdora.json), its printed numbers in float16 among them.
#include "core/io/checkpoint.h"
#include "tests/support/files.h"
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

TrainSettings settingsOf(const json& golden) {
  TrainSettings settings;
  const json& given = golden.at("settings");
  settings.method = given.at("use_dora").get<bool>() ? "dora" : "lora";
  settings.adapter.rank = given.at("r").get<std::uint64_t>();
  settings.adapter.alpha = given.at("lora_alpha").get<double>();
  settings.adapter.scaling = given.at("use_rslora").get<bool>() ? Scaling::SqrtRank : Scaling::Rank;
  settings.optimizer = {"adamw",
                        given.at("lr").get<double>(),
                        0,
                        given.at("betas")[0].get<double>(),
                        given.at("betas")[1].get<double>(),
                        given.at("eps").get<double>(),
                        given.at("weight_decay").get<double>()};
  settings.type = NumberType::F64;
  return settings;
}

LayerData layerOf(const json& input) {
  LayerData layer{"layer.weight",
                  0,
                  0,
                  0,
                  doubleTensor("layer.weight", input.at("weight").at("shape").get<Shape>(), numbers(input.at("weight"))),
                  {},
                  numbers(input.at("x")),
                  numbers(input.at("target"))};
  layer.rows = layer.weight.rows();
  layer.columns = layer.weight.columns();
  layer.tokens = layer.inputs.size() / layer.columns;
  if (input.contains("bias") && !input.at("bias").is_null()) layer.bias = numbers(input.at("bias"));
  return layer;
}

AdapterValues valuesOf(const json& input) {
  AdapterValues values{numbers(input.at("A")), numbers(input.at("B")), {}};
  if (input.contains("magnitude") && !input.at("magnitude").is_null()) values.magnitude = numbers(input.at("magnitude"));
  return values;
}

std::vector<double> arrayOf(const Trainable& trainable, const char* name) {
  const auto array = trainable.array(name);
  return array ? array->values : std::vector<double>{};
}

const char* goldenName(const std::string& parameter) {
  return parameter == "magnitude" ? "m" : parameter.c_str();
}

// Document 000's layer: 5 x 4, 3 bits in groups of 5.
struct Document {
  json golden = loadJson("seed000_qdora.json");
  TrainSettings settings;
  LayerData layer;
  Document(NumberType type, const json& inputs, double alpha)
      : layer{"w",
              5,
              4,
              numbers(inputs).size() / 4,
              doubleTensor("w", {5, 4}, numbers(golden.at("weight"))),
              {},
              numbers(inputs),
              std::vector<double>(numbers(inputs).size() / 4 * 5, 0.0)} {
    settings.method = "qdora";
    settings.adapter.base = "minmax:bits=3,group=5,params=f32";
    settings.adapter.variant = Variant::Document000;
    settings.adapter.rank = 2;
    settings.adapter.alpha = alpha;
    settings.type = type;
  }
};

}  // namespace

class TestTrainGolden : public QObject {
  Q_OBJECT
 private slots:
  void peft_data() {
    QTest::addColumn<int>("number");
    const json cases = loadJson("dora.json").at("cases");
    for (std::size_t i = 0; i < cases.size(); ++i)
      QTest::newRow(cases[i].at("name").get<std::string>().c_str()) << static_cast<int>(i);
  }
  void peft() {
    QFETCH(int, number);
    const json golden = loadJson("dora.json").at("cases").at(static_cast<std::size_t>(number));
    const json& expect = golden.at("expect");
    const TrainSettings settings = settingsOf(golden);
    auto made = makeAdapter(layerOf(golden.at("input")), settings, valuesOf(golden.at("input")), {});
    QVERIFY2(made, made ? "" : made.error().message.c_str());
    Stepper stepper(*std::move(made), settings, {"layer.weight"});
    Trainable& trainable = stepper.trainable();
    const auto loss = stepper.look({});
    QVERIFY(loss);
    QCOMPARE(compared({*loss}, numbers(expect.at("loss")), 1e-9), QByteArray());
    QCOMPARE(compared(arrayOf(trainable, "y"), numbers(expect.at("y")), 1e-9, 1e-12), QByteArray());
    for (const Parameter& parameter : trainable.parameters())
      QCOMPARE(compared(parameter.gradient, numbers(expect.at("grad").at(goldenName(parameter.name))), 1e-9, 1e-13),
               QByteArray());
    if (expect.contains("weight_norm") && !expect.at("weight_norm").is_null())
      QCOMPARE(compared(arrayOf(trainable, "norm"), numbers(expect.at("weight_norm")), 1e-9), QByteArray());
    checkMerged(trainable, expect);
    for (const json& step : expect.at("adamw_steps")) {
      QVERIFY(stepper.step({}));
      for (const Parameter& parameter : trainable.parameters())
        QCOMPARE(compared(parameter.value, numbers(step.at("values").at(goldenName(parameter.name))), 1e-9, 1e-13),
                 QByteArray());
      const auto after = stepper.look({});
      QVERIFY(after);
      QCOMPARE(compared({*after}, numbers(step.at("loss_after")), 1e-9), QByteArray());
    }
  }

  // The magnitude starts as the row norms of the base.
  void magnitudeStart() {
    const json file = loadJson("dora.json");
    for (const json& golden : file.at("cases")) {
      const json& expect = golden.at("expect");
      if (!expect.contains("magnitude_init") || expect.at("magnitude_init").is_null()) continue;
      AdapterValues values = valuesOf(golden.at("input"));
      values.magnitude.clear();
      const auto made = makeAdapter(layerOf(golden.at("input")), settingsOf(golden), values, {});
      QVERIFY(made);
      QCOMPARE(compared((*made)->parameters()[2].value, numbers(expect.at("magnitude_init")), 1e-12), QByteArray());
    }
  }

  void documentInDouble() {
    Document document(NumberType::F64, loadJson("seed000_qdora.json").at("x"), 1);
    document.settings.loss = LossKind::Sum;
    const json& expect = document.golden.at("rank2_zero_adapters_alpha1");
    auto made = makeAdapter(document.layer, document.settings, {}, {});
    QVERIFY2(made, made ? "" : made.error().message.c_str());
    Trainable& trainable = **made;
    QCOMPARE(trainable.parameters().size(), std::size_t{3});
    const auto loss = trainable.pass({}, {});
    QVERIFY(loss);
    QCOMPARE(compared({*loss}, numbers(expect.at("sum")), 0, 2e-6), QByteArray());
    QCOMPARE(compared(floatOutputs(document.layer, {}).value(), numbers(expect.at("y_base")), 0, 2e-6), QByteArray());
    QCOMPARE(compared(arrayOf(trainable, "magnitude"), numbers(expect.at("m")), 0, 1e-6), QByteArray());
    QCOMPARE(compared(arrayOf(trainable, "norm"), numbers(expect.at("n")), 0, 1e-6), QByteArray());
    QCOMPARE(compared(arrayOf(trainable, "y"), numbers(expect.at("y")), 0, 2e-6), QByteArray());
    QCOMPARE(compared(trainable.parameters()[2].gradient, numbers(expect.at("grad_m_of_sum")), 0, 2e-6), QByteArray());
    for (const double g : trainable.parameters()[0].gradient) QCOMPARE(g, 0.0);
    for (const double g : trainable.parameters()[1].gradient) QCOMPARE(g, 0.0);
  }

  // As the document computes: float16. Its printed numbers have two decimals.
  void documentInHalf() {
    Document document(NumberType::F16, loadJson("seed000_qdora.json").at("x"), 1);
    document.settings.adapter.base = "minmax:bits=3,group=5";
    document.settings.loss = LossKind::Sum;
    document.settings.type.reset();
    const json& expect = document.golden.at("rank2_zero_adapters_alpha1");
    auto made = makeAdapter(document.layer, document.settings, {}, {});
    QVERIFY2(made, made ? "" : made.error().message.c_str());
    Trainable& trainable = **made;
    QVERIFY(trainable.parameters()[2].type == NumberType::F16);
    const auto loss = trainable.pass({}, {});
    QVERIFY(loss);
    QCOMPARE(compared({*loss}, numbers(expect.at("sum_printed")), 0, 0.006), QByteArray());
    const auto y = arrayOf(trainable, "y");
    QCOMPARE(compared(y, numbers(expect.at("y_printed")), 0, 0.006), QByteArray());
    QCOMPARE(compared(trainable.parameters()[2].gradient, numbers(expect.at("grad_m_printed")), 0, 0.006), QByteArray());
    for (const double value : y) QCOMPARE(value, storedAs(NumberType::F16, value));
  }

  // alpha 2, two rows, L = half the sum of squares, which is n/2 times the mean square against targets of 0.
  void documentInBatches() {
    const json expect = loadJson("seed000_qdora.json").at("batched_alpha2_half_sum_of_squares");
    const Document document(NumberType::F64, expect.at("X"), 2);
    const AdapterValues values{numbers(expect.at("A")), numbers(expect.at("B")), {}};
    auto made = makeAdapter(document.layer, document.settings, values, {});
    QVERIFY2(made, made ? "" : made.error().message.c_str());
    Trainable& trainable = **made;
    const auto loss = trainable.pass({}, {});
    QVERIFY(loss);
    const double half = 10.0 / 2;
    QCOMPARE(compared({*loss * half}, numbers(expect.at("loss")), 0, 1e-5), QByteArray());
    QCOMPARE(compared(arrayOf(trainable, "norm"), numbers(expect.at("n")), 0, 1e-6), QByteArray());
    QCOMPARE(compared(arrayOf(trainable, "y"), numbers(expect.at("Y")), 0, 3e-6), QByteArray());
    const auto scaled = [half](std::vector<double> gradient) {
      for (double& g : gradient) g *= half;
      return gradient;
    };
    QCOMPARE(compared(scaled(trainable.parameters()[0].gradient), numbers(expect.at("grad_A")), 0, 1e-5), QByteArray());
    QCOMPARE(compared(scaled(trainable.parameters()[1].gradient), numbers(expect.at("grad_B")), 0, 1e-5), QByteArray());
    QCOMPARE(compared(scaled(trainable.parameters()[2].gradient), numbers(expect.at("grad_m")), 0, 1e-5), QByteArray());
    QCOMPARE(compared(scaled(arrayOf(trainable, "grad/x")), numbers(expect.at("grad_X")), 0, 1e-5), QByteArray());
  }

 private:
  // As float32, in the file that `write` makes.
  static void checkMerged(Trainable& trainable, const json& expect) {
    const ScratchFolder folder;
    QVERIFY(trainable.write(folder.path(), {}));
    const auto file = Checkpoint::open(folder.file("merged.safetensors"));
    QVERIFY(file);
    const auto merged = (*file)->read("layer.weight");
    QVERIFY(merged);
    const auto values = readDoubles(*merged);
    QVERIFY(values);
    QCOMPARE(compared(*values, numbers(expect.at("merged_weight")), 1.2e-7, 1e-9), QByteArray());
  }
};

QTEST_APPLESS_MAIN(TestTrainGolden)
#include "test_train_golden.moc"
