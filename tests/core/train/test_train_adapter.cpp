// SPDX-License-Identifier: GPL-3.0-or-later
// Adapters: gradients against differences of a literal forward pass, starts, storage types, refusals.
#include "core/train/low_rank.h"
#include "core/train/methods.h"
#include "kernels/backend.h"
#include "tests/support/train_layers.h"

#include <QtTest>

#include <cmath>
#include <limits>

using namespace nibble;
using namespace nibble::test;
using namespace nibble::train;

namespace {

constexpr std::uint64_t rows = 7, columns = 10, tokens = 5, ranks = 3;

// The layer as its definition reads, number by number: shares nothing with the engine but the settings.
struct Literal {
  std::vector<double> w, x, target, bias, a, b, m;
  double scale = 1, gain = 1;
  bool magnitude = false, sum = false;

  [[nodiscard]] double v(std::uint64_t i, std::uint64_t j) const {
    double value = w[i * columns + j];
    for (std::uint64_t k = 0; k < ranks; ++k) value += scale * b[i * ranks + k] * a[k * columns + j];
    return value;
  }
  [[nodiscard]] std::vector<double> norms() const {
    std::vector<double> all(rows);
    for (std::uint64_t i = 0; i < rows; ++i) {
      for (std::uint64_t j = 0; j < columns; ++j) all[i] += v(i, j) * v(i, j);
      all[i] = std::sqrt(all[i]);
    }
    return all;
  }
  [[nodiscard]] double loss(const std::vector<double>& norm) const {
    double total = 0;
    for (std::uint64_t n = 0; n < tokens; ++n)
      for (std::uint64_t i = 0; i < rows; ++i) {
        double y = 0;
        for (std::uint64_t j = 0; j < columns; ++j) y += x[n * columns + j] * v(i, j);
        y = y * gain * (magnitude ? m[i] / norm[i] : 1) + (bias.empty() ? 0 : bias[i]);
        total += sum ? y : (y - target[n * rows + i]) * (y - target[n * rows + i]);
      }
    return sum ? total : total / static_cast<double>(tokens * rows);
  }
};

TrainSettings plainSettings(const std::string& method) {
  TrainSettings settings;
  settings.method = method;
  settings.adapter.rank = ranks;
  settings.adapter.alpha = 5;
  settings.type = NumberType::F64;
  return settings;
}

AdapterValues someValues() {
  return {drawn(ranks * columns, 11, 0.5), drawn(rows * ranks, 12, 0.5), drawn(rows, 13, 0.5)};
}

std::vector<double> arrayOf(const Trainable& trainable, const char* name) {
  const auto array = trainable.array(name);
  return array ? array->values : std::vector<double>{};
}

QByteArray error(const tl::expected<std::unique_ptr<Trainable>, Error>& made) {
  return made ? QByteArray("no error") : QByteArray::fromStdString(made.error().message);
}

}  // namespace

class TestTrainAdapter : public QObject {
  Q_OBJECT
 private slots:
  void gradients_data() {
    QTest::addColumn<QString>("method");
    QTest::addColumn<QString>("base");
    QTest::addColumn<bool>("document");
    QTest::addColumn<bool>("sum");
    QTest::addColumn<bool>("normGradient");
    QTest::newRow("lora") << "lora"
                          << "" << false << false << false;
    QTest::newRow("lora, sum") << "lora"
                               << "" << false << true << false;
    QTest::newRow("rslora") << "rslora"
                            << "" << false << false << false;
    QTest::newRow("dora") << "dora"
                          << "" << false << false << false;
    QTest::newRow("dora, norm's gradient") << "dora"
                                           << "" << false << false << true;
    QTest::newRow("dora, document 000") << "dora"
                                        << "" << true << false << false;
    QTest::newRow("dora, document 000, norm's gradient") << "dora"
                                                         << "" << true << true << true;
    QTest::newRow("qlora") << "qlora"
                           << "minmax:bits=3,group=10" << false << false << false;
    QTest::newRow("qdora") << "qdora"
                           << "hqq:bits=3,group=10" << false << false << false;
    QTest::newRow("qdora, norm's gradient") << "qdora"
                                            << "nf4" << false << false << true;
  }
  void gradients() {
    QFETCH(QString, method);
    QFETCH(QString, base);
    QFETCH(bool, document);
    QFETCH(bool, sum);
    QFETCH(bool, normGradient);
    TrainSettings settings = plainSettings(method.toStdString());
    settings.adapter.base = base.toStdString();
    settings.adapter.variant = document ? Variant::Document000 : Variant::Peft;
    settings.adapter.normGradient = normGradient;
    settings.loss = sum ? LossKind::Sum : LossKind::MeanSquares;
    const LayerData layer = layerOf(rows, columns, tokens);
    const AdapterValues values = someValues();
    auto made = makeAdapter(layer, settings, values, {});
    QVERIFY2(made, error(made));
    Trainable& trainable = **made;
    const auto loss = trainable.pass({}, {});
    QVERIFY(loss);
    const double scale = document ? 1 : method == "rslora" ? 5 / std::sqrt(3.0) : 5.0 / 3;
    Literal literal{arrayOf(trainable, "W0"),
                    layer.inputs,
                    layer.targets,
                    layer.bias,
                    values.a,
                    values.b,
                    values.magnitude,
                    scale,
                    document ? 5.0 : 1.0,
                    method.endsWith("dora"),
                    sum};
    const std::vector<double> frozen = literal.norms();
    QVERIFY(std::fabs(*loss - literal.loss(frozen)) < 1e-12);
    for (const Parameter& parameter : trainable.parameters()) {
      std::vector<double>& moved = parameter.name == "A" ? literal.a : parameter.name == "B" ? literal.b : literal.m;
      for (std::size_t i = 0; i < moved.size(); ++i) {
        const double here = moved[i], step = 1e-5;
        const auto at = [&](double value) {
          moved[i] = value;
          return literal.loss(normGradient ? literal.norms() : frozen);
        };
        const double slope = (at(here + step) - at(here - step)) / (2 * step);
        moved[i] = here;
        QVERIFY2(std::fabs(slope - parameter.gradient[i]) < 1e-7 * std::max(1.0, std::fabs(slope)),
                 qPrintable(QString("%1[%2]: %3 instead of %4")
                                .arg(QString::fromStdString(parameter.name))
                                .arg(i)
                                .arg(parameter.gradient[i])
                                .arg(slope)));
      }
    }
  }

  // The passes of a step: two halves of the rows give the same mean.
  void accumulationIsTheMean() {
    const TrainSettings settings = plainSettings("dora");
    auto whole = makeAdapter(layerOf(rows, columns, 6), settings, someValues(), {});
    auto halves = makeAdapter(layerOf(rows, columns, 6), settings, someValues(), {});
    QVERIFY(whole && halves);
    const auto loss = (*whole)->pass({}, {});
    double sum = 0;
    for (std::uint64_t part = 0; part < 2; ++part) sum += (*halves)->pass({1, part, 2, 0}, {}).value() * 0.5;
    QVERIFY(std::fabs(*loss - sum) < 1e-13);
    for (std::size_t p = 0; p < 3; ++p)
      for (std::size_t i = 0; i < (*whole)->parameters()[p].gradient.size(); ++i)
        QVERIFY(std::fabs((*whole)->parameters()[p].gradient[i] - (*halves)->parameters()[p].gradient[i]) < 1e-13);
  }

  void batchesTakeTurns() {
    const Pass first{1, 0, 1, 4}, second{2, 0, 1, 4}, third{3, 0, 1, 4};
    QCOMPARE(first.rows(10).begin, std::uint64_t{0});
    QCOMPARE(second.rows(10).begin, std::uint64_t{4});
    QCOMPARE(third.rows(10).begin, std::uint64_t{0});
    QCOMPARE(first.rows(3).count, std::uint64_t{3});
  }

  // PEFT starts at the quantized model: y is the base's; document 000 at rows with their original norms.
  void startsAtTheBase() {
    const LayerData layer = layerOf(rows, columns, tokens);
    TrainSettings settings = plainSettings("qdora");
    settings.adapter.base = "minmax:bits=2,group=10";
    auto made = makeAdapter(layer, settings, {}, {});
    QVERIFY2(made, error(made));
    QVERIFY((*made)->pass({}, {}));
    const auto figures = (*made)->finalFigures({});
    QVERIFY(figures);
    QCOMPARE(figures->front().key, std::string("baseLoss"));
    QVERIFY(std::fabs((*made)->evaluate({}).value() - figures->front().value) < 1e-12);
    const auto a = (*made)->parameters()[0].value;
    for (const double value : a) QVERIFY(std::fabs(value) <= 1 / std::sqrt(10.0));
    QVERIFY(norm(a) > 0.5);
    QCOMPARE(norm((*made)->parameters()[1].value), 0.0);
    settings.adapter.magnitude = MagnitudeStart::Original;
    auto original = makeAdapter(layer, settings, {}, {});
    QVERIFY(original);
    const auto weights = readDoubles(layer.weight).value();
    double first = 0;
    for (std::uint64_t j = 0; j < columns; ++j) first += weights[j] * weights[j];
    QVERIFY(std::fabs((*original)->parameters()[2].value[0] - std::sqrt(first)) < 1e-12);
  }

  // At full rank the decomposition takes back the whole error; at a lower one part of it, and LoftQ no less.
  void startsFromTheError() {
    LayerData layer = layerOf(24, 16, 40, false);
    layer.targets = floatOutputs(layer, {}).value();
    TrainSettings settings = plainSettings("qlora");
    settings.adapter.base = "minmax:bits=2,group=16";
    const auto lossOf = [&](AdapterStart start, std::uint64_t rank) {
      settings.adapter.start = start;
      settings.adapter.rank = rank;
      const auto made = makeAdapter(layer, settings, {}, {});
      return made ? (*made)->evaluate({}).value() : -1.0;
    };
    const double base = lossOf(AdapterStart::Kaiming, 4), svd = lossOf(AdapterStart::ErrorSvd, 4),
                 loftq = lossOf(AdapterStart::LoftQ, 4);
    QVERIFY(base > 0);
    QVERIFY(svd > 0 && svd < 0.8 * base);
    QVERIFY(loftq > 0 && loftq < 0.8 * base);
    QVERIFY(std::fabs(lossOf(AdapterStart::ErrorSvd, 16)) < 1e-20 + 1e-12 * base);
    settings.method = "lora";
    settings.adapter.base.clear();
    QVERIFY(error(makeAdapter(layer, settings, {}, {})).contains("needs a quantized base"));
  }

  // Both ways to decompose give the singular values of a matrix that is known: orthogonal vectors with weights 9, 5, 2.
  void decomposition() {
    for (const std::uint64_t width : {std::uint64_t{40}, std::uint64_t{700}}) {
      std::vector<double> matrix(30 * width);
      const double sizes[] = {9, 5, 2};
      for (std::uint64_t k = 0; k < 3; ++k)
        for (std::uint64_t j = 0; j < 8; ++j)  // rows k and k + 3 carry it, columns 8k..8k+7 are equal
          for (const std::uint64_t i : {k, k + 3})
            matrix[i * width + 8 * k + j] = sizes[k] * (i == k ? 0.6 : -0.8) / std::sqrt(8.0);
      const auto parts = lowRank(matrix, 30, width, 3, 1, {});
      QVERIFY(parts);
      for (std::size_t k = 0; k < 3; ++k) QVERIFY(std::fabs(parts->s[k] - sizes[k]) < 1e-9);
      double worst = 0;
      for (std::uint64_t i = 0; i < 30; ++i)
        for (std::uint64_t j = 0; j < width; ++j) {
          double value = 0;
          for (std::uint64_t k = 0; k < 3; ++k) value += parts->u[i * 3 + k] * parts->s[k] * parts->v[k * width + j];
          worst = std::max(worst, std::fabs(value - matrix[i * width + j]));
        }
      QVERIFY(worst < 1e-9);
    }
  }

  void storageTypes() {
    QCOMPARE(storedAs(NumberType::F16, 65504.0), 65504.0);
    QCOMPARE(storedAs(NumberType::F16, 65519.9), 65504.0);
    QCOMPARE(storedAs(NumberType::F16, 65520.0), std::numeric_limits<double>::infinity());
    QCOMPARE(storedAs(NumberType::F16, 1 + 0x1p-11), 1.0);  // a tie goes to the even neighbour
    QCOMPARE(storedAs(NumberType::F16, 1 + 3 * 0x1p-11), 1 + 0x1p-9);
    QCOMPARE(storedAs(NumberType::F16, 0x1p-25), 0.0);
    QCOMPARE(storedAs(NumberType::F16, 0x1.8p-25), 0x1p-24);
    QCOMPARE(storedAs(NumberType::BF16, 1 + 0x1p-8), 1.0);
    QCOMPARE(storedAs(NumberType::BF16, -(1 + 3 * 0x1p-8)), -(1 + 0x1p-6));
    QCOMPARE(storedAs(NumberType::BF16, 3.4e38), std::numeric_limits<double>::infinity());
    QCOMPARE(storedAs(NumberType::F32, 0.1), static_cast<double>(0.1f));
    QCOMPARE(halfUlp(NumberType::BF16, 1.0), 0x1p-8);
    // Every finite bfloat16 is itself.
    for (std::uint32_t bits = 0; bits < 0x7F80; ++bits) {
      const std::uint32_t wide = bits << 16;
      float value = 0;
      std::memcpy(&value, &wide, sizeof value);
      QCOMPARE(storedAs(NumberType::BF16, static_cast<double>(value)), static_cast<double>(value));
    }
  }

  // y does not depend on how many threads there are.
  void threadsDoNotMatter() {
    TrainSettings settings = plainSettings("qdora");
    settings.adapter.base = "minmax:bits=3";
    settings.type = NumberType::F32;
    settings.adapter.normGradient = true;
    const auto valuesAfter = [&](int threads) {
      kernels::setThreadCount(threads);
      Stepper stepper(makeAdapter(layerOf(600, 64, 33), settings, {}, {}).value(), settings, {"w"});
      for (int i = 0; i < 4; ++i) (void)stepper.step({});
      std::vector<std::vector<double>> values;
      for (const Parameter& parameter : stepper.trainable().parameters()) values.push_back(parameter.value);
      values.push_back({stepper.records().back().loss});
      return values;
    };
    const auto one = valuesAfter(1), four = valuesAfter(4);
    kernels::setThreadCount(0);
    QCOMPARE(one.back().size(), std::size_t{1});
    QVERIFY(one == four);
  }

  // A row of zeros, as pruned models have, must not turn numbers into NaN.
  void rowsOfZeros() {
    LayerData layer = layerOf(rows, columns, tokens);
    std::vector<double> weights = readDoubles(layer.weight).value();
    std::fill_n(weights.begin(), columns, 0.0);
    layer.weight = doubleTensor("w", {rows, columns}, weights);
    TrainSettings settings = plainSettings("dora");
    settings.adapter.normGradient = true;
    Stepper stepper(makeAdapter(layer, settings, {}, {}).value(), settings, {"w"});
    for (int i = 0; i < 3; ++i) QVERIFY(stepper.step({}));
    for (const Parameter& parameter : stepper.trainable().parameters())
      for (const double value : parameter.value) QVERIFY(std::isfinite(value));
  }

  void refusals() {
    const LayerData layer = layerOf(rows, columns, tokens);
    TrainSettings settings = plainSettings("dora");
    settings.adapter.rank = 0;
    QVERIFY(error(makeAdapter(layer, settings, {}, {})).contains("between 1 and 7"));
    settings.adapter.rank = 8;
    QVERIFY(error(makeAdapter(layer, settings, {}, {})).contains("between 1 and 7 for 7 x 10, not 8"));
    settings.adapter.rank = 7;
    QVERIFY(makeAdapter(layer, settings, {}, {}));
    settings.adapter.base = "hqq:bits=4,group=64";
    QVERIFY(error(makeAdapter(layer, settings, {}, {})).contains("group"));
    settings.adapter.base = "nosuch";
    QVERIFY(error(makeAdapter(layer, settings, {}, {})).contains("nosuch"));
    QVERIFY(makeAdapter(layer, plainSettings("dora"), {}, {}).value()->array("y").error().message.find("no step") !=
            std::string::npos);
  }
};

QTEST_APPLESS_MAIN(TestTrainAdapter)
#include "test_train_adapter.moc"
