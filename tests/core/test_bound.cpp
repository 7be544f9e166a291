// SPDX-License-Identifier: GPL-3.0-or-later
// The memoryless bound against closed forms and scipy's estimates, on grids, with rows of different scales, with zeros; and the
// entropy of codes by hand.
#include "core/io/checkpoint.h"
#include "core/report/bound.h"
#include "core/report/code_entropy.h"
#include "core/report/entropy.h"
#include "core/run/compare.h"
#include "core/tensor/synthetic.h"
#include "kernels/backend.h"
#include "kernels/math/minifloat.h"
#include "tests/support/golden.h"

#include <QtTest>
#include <algorithm>
#include <cmath>
#include <numbers>

using namespace nibble;
using test::loadJson;

class TestBound : public QObject {
  Q_OBJECT
 private slots:
  void initTestCase();
  void nearestNeighboursAsScipy();
  void aboutTheExactEntropy();
  void shannonFromEntropy();
  void sampleOfALargeTensor();
  void gridOf16Bits_data();
  void gridOf16Bits();
  void rowScalesKnown();
  void zerosAreKnown();
  void refusals();
  void nothingPassesIt();
  void equalStepsLoseAQuarterBit();
  void stops();
  void codeEntropyByHand();
  void codeEntropyOfMixedWidths();

 private:
  std::vector<float> samples(std::size_t row) const { return {m_values.begin() + row * 20000, m_values.begin() + (row + 1) * 20000}; }
  std::vector<float> m_values;
  nlohmann::json m_golden;
};

namespace {

MemorylessBound boundOf(const Tensor& tensor) {
  const auto bound = memorylessBound(tensor, {});
  if (!bound) qFatal("%s", bound.error().message.c_str());
  return *bound;
}

Tensor matrixOf(std::vector<float> values, std::uint64_t columns) {
  const Shape shape{values.size() / columns, columns};
  return Tensor::fromFloats("w", shape, std::move(values));
}

}  // namespace

void TestBound::initTestCase() {
  m_golden = loadJson("bound_entropy.json");
  const auto file = Checkpoint::open(test::dataPath("bound_samples.npy"));
  QVERIFY(file.has_value());
  const auto tensor = (*file)->read(0);
  QVERIFY(tensor.has_value());
  QCOMPARE(tensor->shape(), (Shape{5, 20000}));
  m_values.resize(tensor->size());
  QVERIFY(tensor->read(0, m_values).has_value());
}

void TestBound::nearestNeighboursAsScipy() {
  for (const auto& item : m_golden["cases"]) {
    const auto row = samples(item["row"].get<std::size_t>());
    std::vector<double> sorted(row.begin(), row.end());
    std::sort(sorted.begin(), sorted.end());
    for (const int k : {1, 3, 5}) {
      const auto& expected = item["estimates"]["nearest_neighbour_k" + std::to_string(k)];
      const auto found = nearestNeighbourEntropy(sorted, k);
      QVERIFY2(std::abs(found.nats - expected["nats"].get<double>()) < 1e-9, item["name"].get<std::string>().c_str());
      QCOMPARE(found.repeated, expected["zero_distances"].get<std::uint64_t>());
    }
  }
  QCOMPARE(nearestNeighbourEntropy(std::vector<double>{1, 2, 3}, 3).repeatedShare(), 1.0);
}

void TestBound::aboutTheExactEntropy() {
  for (const auto& item : m_golden["cases"]) {
    const auto bound = boundOf(matrixOf(samples(item["row"].get<std::size_t>()), 20000));
    QVERIFY(bound.ok());
    const double away = std::abs(bound.density.entropyBits - item["entropy_bits"].get<double>());
    QVERIFY2(away < 2 * bound.density.errorBits, item["name"].get<std::string>().c_str());  // four standard deviations
    QVERIFY(bound.density.errorBits < 0.05 && bound.density.errorBits > 0.005);
    QVERIFY(std::abs(bound.variance / item["sample"]["variance_1_over_n"].get<double>() - 1) < 1e-5);
    QCOMPARE(bound.grid, kernels::FloatType::F32);
    QVERIFY(bound.density.validBits > 18);
    QVERIFY(bound.note().find("all 20000 weights") != std::string::npos);
    QVERIFY(std::abs(bound.rowsKnown.entropyBits - bound.density.entropyBits) < 1e-6);  // one row: its scale tells nothing
  }
}

void TestBound::shannonFromEntropy() {
  for (const auto& item : m_golden["cases"]) {
    RateBound bound;
    bound.entropyBits = item["entropy_bits"].get<double>();
    for (const auto& point : item["shannon"]) {
      const double distortion = point["distortion"].get<double>(), bits = point["bits"].get<double>();
      QVERIFY(std::abs(bound.mse(bits) / distortion - 1) < 1e-12);
      QVERIFY(std::abs(bound.rate(distortion) - bits) < 1e-12);
    }
    const auto& sampled = item["shannon_from_sample_k3"];
    const auto found = boundOf(matrixOf(samples(item["row"].get<std::size_t>()), 20000));
    for (const auto& point : sampled) {
      const double sqnr = 10 * std::log10(found.variance / found.density.mse(point["bits"].get<double>()));
      QVERIFY(std::abs(sqnr - point["sqnr_db"].get<double>()) < 1e-4);
    }
  }
  MemorylessBound gaussian;
  gaussian.variance = 4;
  QCOMPARE(10 * std::log10(gaussian.variance / gaussian.gaussianMse(5)), 5 * 20 * std::log10(2.0));
}

void TestBound::sampleOfALargeTensor() {
  const auto tensor = syntheticTensor(Distribution::Uniform, {1024, 1500}, 3);  // [-0.05, 0.05): h = log2 0.1
  const auto bound = boundOf(tensor);
  QCOMPARE(bound.sampled, boundSample);
  QVERIFY2(std::abs(bound.density.entropyBits - std::log2(0.1)) < 2 * bound.density.errorBits, QByteArray::number(bound.density.entropyBits - std::log2(0.1)) + " " + QByteArray::number(bound.density.errorBits));
  QVERIFY(bound.density.errorBits < 0.01);
  QVERIFY(bound.note().find("a sample of 262144 of 1536000 weights") != std::string::npos);
  for (const auto* backend : kernels::allBackends()) {
    if (!backend->unusableReason().empty()) continue;
    Context context;
    context.backend = backend;
    const auto again = memorylessBound(tensor, context);
    QVERIFY(again.has_value());
    QCOMPARE(again->density.entropyBits, bound.density.entropyBits);
    QVERIFY(std::abs(again->rowsKnown.entropyBits - bound.rowsKnown.entropyBits) < 1e-9);
  }
}

void TestBound::gridOf16Bits_data() {
  QTest::addColumn<int>("type");
  QTest::addColumn<double>("from");
  QTest::addColumn<double>("to");
  QTest::newRow("bfloat16") << static_cast<int>(kernels::FloatType::BF16) << 7.0 << 8.5;
  QTest::newRow("float16") << static_cast<int>(kernels::FloatType::F16) << 10.0 << 11.5;
}

// Rounded weights keep the entropy of the density they came from, whether the file says 16 bits or they were widened; the bound
// ends where the grid's own error comes near.
void TestBound::gridOf16Bits() {
  QFETCH(int, type);
  QFETCH(double, from);
  QFETCH(double, to);
  const auto floatType = static_cast<kernels::FloatType>(type);
  std::vector<float> values = samples(0);
  const double exact = m_golden["cases"][0]["entropy_bits"].get<double>();
  double squared = 0;
  std::vector<std::uint16_t> halves;
  for (float& value : values) {
    const float rounded = kernels::roundTo(floatType, value);
    squared += (static_cast<double>(value) - rounded) * (static_cast<double>(value) - rounded);
    value = rounded;
    halves.push_back(floatType == kernels::FloatType::F16 ? kernels::floatToHalf(value) : kernels::floatToBfloat(value));
  }
  const auto bound = boundOf(matrixOf(values, 200));
  QVERIFY(bound.ok());
  QCOMPARE(bound.grid, floatType);
  QVERIFY(std::abs(bound.density.entropyBits - exact) < 2 * bound.density.errorBits);
  QVERIFY(std::abs(bound.gridMse / (squared / 20000) - 1) < 0.05);
  QVERIFY2(bound.density.validBits > from && bound.density.validBits < to, bound.note().c_str());
  QVERIFY(std::abs(bound.density.mse(bound.density.validBits) / (10 * bound.gridMse) - 1) < 1e-9);
  QVERIFY(bound.decibels(1e-6, 4).has_value() && !bound.decibels(1e-6, bound.density.validBits + 0.01).has_value());
  QVERIFY(bound.note().find(floatType == kernels::FloatType::F16 ? "float16" : "bfloat16") != std::string::npos);
  const auto bytes = std::as_bytes(std::span(halves));
  const Tensor stored("w", floatType == kernels::FloatType::F16 ? DType::F16 : DType::BF16, {100, 200}, bytes, nullptr);
  QCOMPARE(boundOf(stored).density.entropyBits, bound.density.entropyBits);
}

void TestBound::rowScalesKnown() {
  // Gaussian rows of scales 1 and 16: knowing them is worth the entropy of the mixture minus the mean of the rows' entropies.
  std::vector<float> values = samples(0);
  for (std::size_t i = 0; i < values.size(); ++i) values[i] *= i / 100 % 2 == 0 ? 1.0f : 16.0f;
  const auto bound = boundOf(matrixOf(values, 100));
  const double rows = m_golden["cases"][0]["entropy_bits"].get<double>() + 2;  // mean of log2 1 and log2 16
  QVERIFY(std::abs(bound.rowsKnown.entropyBits - rows) < bound.rowsKnown.errorBits + 0.02);  // scales are measured from 100 weights
  QVERIFY(bound.density.entropyBits > bound.rowsKnown.entropyBits + 0.5);
  QVERIFY(bound.rowsKnown.mse(4) < bound.density.mse(4) && bound.density.mse(4) < bound.gaussianMse(4));
}

void TestBound::zerosAreKnown() {
  std::vector<float> values = samples(2);
  for (std::size_t i = 0; i < values.size(); i += 2) values[i] = 0;
  const auto bound = boundOf(matrixOf(values, 200));
  QVERIFY(bound.ok());
  QCOMPARE(bound.density.share, 0.5);
  QVERIFY(std::abs(bound.density.entropyBits + 3) < 2 * bound.density.errorBits);  // uniform of width 1/8
  // At 2 bits per weight the nonzero half has 4 each, and half the weights err.
  QVERIFY(std::abs(bound.density.mse(2) / (0.5 * std::exp2(2 * bound.density.entropyBits - 8) / (2 * std::numbers::pi * std::numbers::e)) - 1) < 1e-12);
  QVERIFY(bound.note().find("50 %") != std::string::npos);
}

void TestBound::refusals() {
  QVERIFY(!boundOf(syntheticTensor(Distribution::Zeros, {64, 64})).ok());
  QVERIFY(!boundOf(syntheticTensor(Distribution::Constant, {64, 64})).ok());
  QVERIFY(!boundOf(syntheticTensor(Distribution::SignOnly, {64, 64})).ok());
  QVERIFY(!boundOf(syntheticTensor(Distribution::Gauss, {1, 100})).ok());
  QVERIFY(!boundOf(Tensor::fromFloats("e", {0, 4}, {})).ok());
  QVERIFY(boundOf(syntheticTensor(Distribution::OneOutlier, {64, 64})).ok());
  QVERIFY(!boundOf(syntheticTensor(Distribution::SignOnly, {64, 64})).decibels(1, 4).has_value());
  QVERIFY(!boundOf(syntheticTensor(Distribution::Gauss, {64, 64})).decibels(0, 4).has_value());
}

// No scheme here uses structure between independent weights: none may pass the bound. And the best come as near as theory lets
// them: one bit of a Gaussian with the best two levels is 6.02 - 4.40 dB away, an equal step over uniform weights 1.53 dB, and a
// 16-bit scale for 128 weights wastes another 1/8 bit of 6.02 dB.
void TestBound::nothingPassesIt() {
  const double perBit = 20 * std::log10(2.0), scale = perBit / 8;
  const double gauss = perBit + 10 * std::log10(m_golden["lloyd_max_gaussian"][0]["distortion"].get<double>()) + scale;
  const double equalStep = 10 * std::log10(2 * std::numbers::pi * std::numbers::e / 12) + scale;
  const std::pair<Distribution, double> cases[] = {{Distribution::Gauss, gauss}, {Distribution::Uniform, equalStep}, {Distribution::HeavyTail, HUGE_VAL}};
  for (const auto& [distribution, reachable] : cases) {
    const auto tensor = syntheticTensor(distribution, {256, 256}, 5);
    const auto bound = boundOf(tensor);
    double nearest = HUGE_VAL;
    for (const Scheme* scheme : allSchemes()) {
      const Choice choice(*scheme);
      if (choice.refusal({256, 256})) continue;
      const auto outcome = run(tensor, choice, {});
      QVERIFY2(outcome.has_value(), outcome ? "" : outcome.error().message.c_str());
      const double bits = bitsPerWeight(*outcome->quantized);
      const auto decibels = bound.decibels(outcome->report.mse(), bits);
      if (!decibels) continue;
      QVERIFY2(*decibels > 0, (choice.text() + " passes the bound").c_str());
      nearest = std::min(nearest, *decibels);
      QVERIFY(outcome->report.codeEntropy <= bits + 1e-9);
    }
    QVERIFY2(nearest < reachable, qPrintable(QString("%1: %2 dB").arg(name(distribution).data()).arg(nearest)));
  }
}

// An equal step over the whole matrix whose codes an entropy coder packs loses 10 log10(2 pi e / 12) = 1.533 dB at high rate,
// whatever the density (Gish and Pierce 1968): the bound from the other side, with the entropy of the codes as the rate. Uniform
// weights end in two half cells, which cost one part in the number of cells of a bit more.
void TestBound::equalStepsLoseAQuarterBit() {
  const double perBit = 20 * std::log10(2.0), known = 10 * std::log10(2 * std::numbers::pi * std::numbers::e / 12);
  for (const auto distribution : {Distribution::Gauss, Distribution::Uniform}) {
    const auto tensor = syntheticTensor(distribution, {512, 512}, 7);
    const auto bound = boundOf(tensor);
    for (const int bits : {6, 8}) {
      const auto outcome = run(tensor, *Choice::parse("uniform:granularity=tensor,bits=" + std::to_string(bits)), {});
      QVERIFY(outcome.has_value());
      const auto decibels = bound.decibels(outcome->report.mse(), outcome->report.codeEntropy);
      QVERIFY(decibels.has_value());
      const double halfCells = distribution == Distribution::Uniform ? perBit / (std::exp2(bits) - 2) : 0;
      const double away = std::abs(*decibels - known - halfCells);
      QVERIFY2(away < perBit * bound.density.errorBits, qPrintable(QString("%1 %2 bits: %3 dB away").arg(name(distribution).data()).arg(bits).arg(away)));
    }
  }
}

void TestBound::stops() {
  std::stop_source source;
  source.request_stop();
  Context context;
  context.stop = source.get_token();
  const auto bound = memorylessBound(syntheticTensor(Distribution::Gauss, {256, 256}), context);
  QVERIFY(!bound && bound.error().kind == ErrorKind::Cancelled);
}

void TestBound::codeEntropyByHand() {
  QuantizedTensor tensor;
  tensor.rows = 1;
  tensor.columns = 8;
  tensor.codes = Codes(std::vector<std::uint8_t>{0, 1, 2, 3, 0, 1, 2, 3});
  tensor.width.uniform = 4;
  QCOMPARE(countCodes(tensor, {}).bitsPerWeight, 2.0);
  tensor.codes = Codes(std::vector<std::int32_t>{-5, 7, -5, 7, -5, 7, -5, 7});
  QCOMPARE(countCodes(tensor, {}).bitsPerWeight, 1.0);
  QVERIFY(countCodes(tensor, {}).occupancy.empty());
  tensor.codes = Codes(std::vector<std::uint16_t>{300, 300, 300, 300, 300, 300, 300, 300});
  QCOMPARE(countCodes(tensor, {}).bitsPerWeight, 0.0);
  // Four weights a code: two codes used once each are one bit over eight weights twice; signs half negative are one bit each.
  tensor.codes = Codes(std::vector<std::uint16_t>{3, 900});
  tensor.levels.dimension = 4;
  QCOMPARE(countCodes(tensor, {}).bitsPerWeight, 0.25);
  tensor.signs = {0x0F};
  QCOMPARE(countCodes(tensor, {}).bitsPerWeight, 1.25);
}

void TestBound::codeEntropyOfMixedWidths() {
  // Columns 0..3 have 4 bits, all codes different (2 bits each); columns 4..7 have 2 bits, two codes (1 bit each).
  QuantizedTensor tensor;
  tensor.rows = 2;
  tensor.columns = 8;
  tensor.codes = Codes(std::vector<std::uint8_t>{0, 1, 8, 9, 0, 1, 0, 1, 9, 8, 1, 0, 1, 1, 0, 0});
  tensor.width.grouping = Grouping::blocks(2, 8, 0, 4);
  tensor.width.bits = {4, 2};
  QCOMPARE(countCodes(tensor, {}).bitsPerWeight, 1.5);
}

QTEST_GUILESS_MAIN(TestBound)
#include "test_bound.moc"
