// SPDX-License-Identifier: GPL-3.0-or-later
// The error report: hand-computed answers, naive loops in double, and the cases where a figure has no ordinary value.
#include "core/quant/decode.h"
#include "core/quant/layout.h"
#include "core/report/error_report.h"
#include "core/run/run.h"
#include "core/tensor/synthetic.h"

#include <QtTest>
#include <algorithm>
#include <cmath>
#include <map>

using namespace nibble;

class TestErrorReport : public QObject {
  Q_OBJECT
 private slots:
  void byHand();
  void percentileBetweenTwoWeights();
  void againstNaiveLoops_data();
  void againstNaiveLoops();
  void exactReconstruction();
  void allZeros();
  void zerosLost();
  void negativeZero();
  void oneWeight();
  void wideCodes();
  void signedCodes();
  void groupsOfEveryKind();
  void decodedByRows();
  void metricTable();
  void cancelled();
  void wrongInputWeights();
};

namespace {

// Codes that decode to themselves: the error is the weight's fraction.
QuantizedTensor plain(std::uint64_t rows, std::uint64_t columns, std::vector<std::uint8_t> codes, int bits = 4) {
  QuantizedTensor tensor;
  tensor.rows = rows;
  tensor.columns = columns;
  tensor.shape = {rows, columns};
  tensor.layout = denseLayout(codes.size(), bits);
  tensor.codes = Codes(std::move(codes));
  tensor.width.uniform = static_cast<std::uint8_t>(bits);
  return tensor;
}

ErrorReport report(const Tensor& tensor, const QuantizedTensor& quantized, const ReportOptions& options = {}) {
  auto result = errorReport(tensor, quantized, options, {});
  if (!result) qFatal("%s", result.error().message.c_str());
  return *std::move(result);
}

bool near(double a, double b, double tolerance = 1e-12) {
  return a == b || std::fabs(a - b) <= tolerance * std::max(std::fabs(a), std::fabs(b));
}

#define NEAR(a, b) QVERIFY2(near(double(a), double(b)), qPrintable(QString("%1 instead of %2").arg(double(a), 0, 'g', 17).arg(double(b), 0, 'g', 17)))

// numpy's default percentile.
double percentile(std::vector<double> values, double q) {
  std::sort(values.begin(), values.end());
  const double position = q * static_cast<double>(values.size() - 1);
  const auto below = static_cast<std::size_t>(position);
  const double above = values[std::min(below + 1, values.size() - 1)];
  return values[below] + (position - static_cast<double>(below)) * (above - values[below]);
}

}  // namespace

void TestErrorReport::byHand() {
  // w 1.5 2 -0.5 3.25, r 1 2 0 3: e 0.5 0 -0.5 0.25.
  const Tensor tensor = Tensor::fromFloats("w", {2, 2}, {1.5f, 2, -0.5f, 3.25f});
  const float inputs[] = {2, 10};
  const ErrorReport r = report(tensor, plain(2, 2, {1, 2, 0, 3}),
                               {.histogramBins = 4, .perGroup = true, .perRow = true, .inputWeights = inputs});
  QCOMPARE(r.sums.count, std::uint64_t{4});
  NEAR(r.mse(), 0.5625 / 4);
  NEAR(r.rmse(), 0.375);
  NEAR(r.l2(), 0.75);
  NEAR(r.maxError(), 0.5);
  NEAR(r.meanError(), 0.0625);
  NEAR(r.sqnrDb(), 10 * std::log10(17.0625 / 0.5625));  // 2.25 + 4 + 0.25 + 10.5625
  NEAR(r.relativeFrobenius(), 0.75 / std::sqrt(17.0625));
  NEAR(r.cosine(), (1.5 + 4 + 9.75) / (std::sqrt(17.0625) * std::sqrt(14.0)));
  NEAR(r.p99Error, 0.5);          // |e| 0 0.25 0.5 0.5; place 2.97 lies between two of 0.5
  NEAR(r.weightedMse, (2 * 0.25 + 10 * 0 + 2 * 0.25 + 10 * 0.0625) / 4);
  NEAR(r.codeEntropy, 2.0);       // four codes once each
  QCOMPARE(r.occupancy.size(), std::size_t{16});
  QCOMPARE(r.occupancy[3], std::uint64_t{1});
  QCOMPARE(r.weightLow, -0.5);
  QCOMPARE(r.weightHigh, 3.25);
  QCOMPARE(r.errors.low, -0.5);
  QCOMPARE(r.errors.high, 0.5);
  QCOMPARE(r.errors.counts, (std::vector<std::uint64_t>{1, 0, 1, 2}));   // bins of 0.25 from -0.5; 0.5 is the end of the last
  QCOMPARE(r.weights.counts, (std::vector<std::uint64_t>{1, 0, 2, 1}));  // bins of 0.9375 from -0.5
  QCOMPARE(r.errors.total(), std::uint64_t{4});
  QCOMPARE(r.rows.size(), std::size_t{2});
  NEAR(r.rows[0].errorSquared, 0.25);
  NEAR(r.rows[1].errorSquared, 0.3125);
  QCOMPARE(r.rows[1].maxError, 0.5f);
  QCOMPARE(r.rows[1].count, 2u);
  QCOMPARE(r.groups.size(), std::size_t{1});  // no scale, no tables: one for the tensor
  NEAR(r.groups[0].errorSquared, 0.5625);
}

void TestErrorReport::percentileBetweenTwoWeights() {
  // |e| = 0, 1/128 .. 100/128: place 0.99 * 100 = 99 exactly; one weight less: 98.01.
  std::vector<float> weights;
  for (int i = 0; i <= 100; ++i) weights.push_back(static_cast<float>((i * 37) % 101) / 128.0f);
  const auto all = Tensor::fromFloats("w", {1, 101}, weights);
  NEAR(report(all, plain(1, 101, std::vector<std::uint8_t>(101, 0))).p99Error, 99.0 / 128);
  weights.erase(std::find(weights.begin(), weights.end(), 100.0f / 128.0f));
  const auto fewer = Tensor::fromFloats("w", {1, 100}, weights);
  NEAR(report(fewer, plain(1, 100, std::vector<std::uint8_t>(100, 0))).p99Error, (98 + 0.01) / 128);
}

void TestErrorReport::againstNaiveLoops_data() {
  QTest::addColumn<QByteArray>("choice");
  QTest::addColumn<int>("distribution");
  for (const char* choice : {"uniform:bits=4", "uniform:bits=11", "minmax:bits=3,group=60", "hqq:axis=0", "nf4:nested=true", "codebook:bits=2", "float:type=bf16"})
    for (const Distribution distribution : allDistributions())
      QTest::addRow("%s %s", choice, name(distribution).data()) << QByteArray(choice) << static_cast<int>(distribution);
}

// Large enough for several strips and chunks.
void TestErrorReport::againstNaiveLoops() {
  QFETCH(QByteArray, choice);
  QFETCH(int, distribution);
  const Tensor tensor = syntheticTensor(static_cast<Distribution>(distribution), {150, 640}, 8);
  const auto outcome = run(tensor, *Choice::parse(choice.toStdString()), {}, {.percentile = false});
  QVERIFY2(outcome, outcome ? "" : outcome.error().message.c_str());
  std::vector<float> inputs(640);
  for (std::size_t i = 0; i < inputs.size(); ++i) inputs[i] = static_cast<float>(i % 7) * 0.5f;
  const ErrorReport r = report(tensor, *outcome->quantized,
                               {.histogramBins = 37, .perGroup = true, .perRow = true, .inputWeights = inputs});
  const std::vector<float> w = *tensor.readAll(), d = decodeAll(*outcome->quantized);
  long double squares = 0, sum = 0, weightSquares = 0, decodedSquares = 0, product = 0, weighted = 0;
  double largest = 0;
  std::vector<double> magnitudes;
  std::map<std::int64_t, double> codes;
  for (std::size_t i = 0; i < w.size(); ++i) {
    const double e = static_cast<double>(w[i] - d[i]);
    squares += e * e;
    sum += e;
    weightSquares += static_cast<double>(w[i]) * w[i];
    decodedSquares += static_cast<double>(d[i]) * d[i];
    product += static_cast<double>(w[i]) * d[i];
    weighted += inputs[i % 640] * e * e;
    largest = std::max(largest, std::fabs(e));
    magnitudes.push_back(std::fabs(e));
    codes[outcome->quantized->codes.at(i)] += 1;
  }
  const auto count = static_cast<double>(w.size());
  NEAR(r.mse(), squares / count);
  QVERIFY(std::fabs(r.meanError() - static_cast<double>(sum / count)) <= 1e-12 * largest);
  NEAR(r.maxError(), largest);
  NEAR(r.p99Error, percentile(magnitudes, 0.99));
  NEAR(r.weightedMse, weighted / count);
  if (weightSquares > 0 && decodedSquares > 0) NEAR(r.cosine(), product / std::sqrt(weightSquares) / std::sqrt(decodedSquares));
  QVERIFY(r.cosine() <= 1);
  double entropy = 0;
  for (const auto& [code, number] : codes) entropy -= number / count * std::log2(number / count);
  QVERIFY(std::fabs(r.codeEntropy - entropy) <= 1e-9);
  const auto [low, high] = std::minmax_element(w.begin(), w.end());
  QVERIFY(r.weightLow == *low && r.weightHigh == *high);
  QCOMPARE(r.errors.total(), std::uint64_t{150 * 640});
  QCOMPARE(r.weights.total(), std::uint64_t{150 * 640});
  double ofRows = 0, ofGroups = 0;
  std::uint64_t inGroups = 0;
  for (const GroupError& row : r.rows) ofRows += row.errorSquared;
  for (const GroupError& group : r.groups) {
    ofGroups += group.errorSquared;
    inGroups += group.count;
  }
  NEAR(ofRows, squares);
  NEAR(ofGroups, squares);
  QCOMPARE(inGroups, std::uint64_t{150 * 640});
}

void TestErrorReport::exactReconstruction() {
  const ErrorReport r = report(Tensor::fromFloats("w", {1, 3}, {1, 2, 3}), plain(1, 3, {1, 2, 3}), {.histogramBins = 3});
  QCOMPARE(r.mse(), 0.0);
  QVERIFY(std::isinf(r.sqnrDb()) && r.sqnrDb() > 0);
  QCOMPARE(r.relativeFrobenius(), 0.0);
  NEAR(r.cosine(), 1.0);
  QCOMPARE(r.p99Error, 0.0);
  QCOMPARE(r.errors.total(), std::uint64_t{3});  // the range is a point: all in one bin
}

void TestErrorReport::allZeros() {
  const ErrorReport r = report(Tensor::fromFloats("w", {2, 2}, {0, 0, 0, 0}), plain(2, 2, {0, 0, 0, 0}), {.histogramBins = 2});
  QCOMPARE(r.mse(), 0.0);
  QVERIFY(std::isinf(r.sqnrDb()));
  QCOMPARE(r.relativeFrobenius(), 0.0);
  QCOMPARE(r.cosine(), 1.0);
  QCOMPARE(r.codeEntropy, 0.0);
  QCOMPARE(r.weights.total(), std::uint64_t{4});
}

void TestErrorReport::zerosLost() {
  // All zeros, but decoded as 1: no signal, only noise.
  const ErrorReport r = report(Tensor::fromFloats("w", {1, 2}, {0, 0}), plain(1, 2, {1, 1}));
  QCOMPARE(r.mse(), 1.0);
  QVERIFY(std::isinf(r.sqnrDb()) && r.sqnrDb() < 0);
  QVERIFY(std::isinf(r.relativeFrobenius()));
  QCOMPARE(r.cosine(), 0.0);
}

void TestErrorReport::negativeZero() {
  const ErrorReport r = report(Tensor::fromFloats("w", {1, 2}, {-0.0f, -1.0f}), plain(1, 2, {0, 0}), {.histogramBins = 2});
  QCOMPARE(r.sums.errorSquared, 1.0);
  QCOMPARE(r.maxError(), 1.0);
  NEAR(r.p99Error, 0.99);
  QCOMPARE(r.meanError(), -0.5);
  QCOMPARE(r.weightHigh, 0.0);
}

void TestErrorReport::oneWeight() {
  const ErrorReport r = report(Tensor::fromFloats("w", {1}, {2.25f}), plain(1, 1, {2}));
  QCOMPARE(r.p99Error, 0.25);
  QCOMPARE(r.mse(), 0.0625);
  QCOMPARE(r.codeEntropy, 0.0);
}

void TestErrorReport::wideCodes() {
  // 65536 possible codes: too many to show, but their entropy counts: a ramp of 256 codes once each is 8 bits.
  std::vector<std::uint16_t> codes;
  std::vector<float> weights;
  for (int i = 0; i < 256; ++i) {
    codes.push_back(static_cast<std::uint16_t>(i * 200));
    weights.push_back(static_cast<float>(i * 200));
  }
  QuantizedTensor tensor = plain(16, 16, std::vector<std::uint8_t>(256));
  tensor.codes = Codes(codes);
  tensor.width.uniform = 16;
  const ErrorReport r = report(Tensor::fromFloats("w", {16, 16}, weights), tensor);
  QCOMPARE(r.mse(), 0.0);
  NEAR(r.codeEntropy, 8.0);
  QVERIFY(r.occupancy.empty());
  tensor.width.uniform = 12;
  for (auto& code : codes) code /= 16;
  tensor.codes = Codes(codes);
  QCOMPARE(report(Tensor::fromFloats("w", {16, 16}, weights), tensor).occupancy.size(), std::size_t{4096});
}

void TestErrorReport::signedCodes() {
  QuantizedTensor tensor = plain(1, 4, {0, 0, 0, 0});
  tensor.codes = Codes(std::vector<std::int32_t>{-5, 300, -5, 300});
  tensor.width.uniform = 32;
  const ErrorReport r = report(Tensor::fromFloats("w", {1, 4}, {-5, 300, -5, 299}), tensor);
  QCOMPARE(r.sums.errorSquared, 1.0);
  NEAR(r.codeEntropy, 1.0);
  QVERIFY(r.occupancy.empty());
}

void TestErrorReport::groupsOfEveryKind() {
  const std::uint64_t rows = 6, columns = 10;
  const Tensor tensor = syntheticTensor(Distribution::Uniform, {rows, columns}, 2);
  const std::vector<float> weights = *tensor.readAll();
  for (const Grouping& grouping : {Grouping::blocks(rows, columns, 1, 4), Grouping::blocks(rows, columns, 4, 3), Grouping::flat(rows, columns, 7),
                                   Grouping::modulo(rows, columns, 4), Grouping::columnMap(rows, {0, 1, 0, 2, 2, 1, 0, 0, 1, 2})}) {
    QuantizedTensor quantized = plain(rows, columns, std::vector<std::uint8_t>(60, 0));
    quantized.scale = Plane::implied(grouping, 1);
    const ErrorReport r = report(tensor, quantized, {.perGroup = true});
    QCOMPARE(r.groups.size(), std::size_t{grouping.groupCount()});
    for (std::uint64_t group = 0; group < grouping.groupCount(); ++group) {
      double squares = 0;
      float largest = 0;
      const auto members = grouping.members(group);
      for (const std::uint64_t i : members) {
        squares += static_cast<double>(weights[i]) * weights[i];
        largest = std::max(largest, std::fabs(weights[i]));
      }
      NEAR(r.groups[group].errorSquared, squares);
      QCOMPARE(r.groups[group].maxError, largest);
      QCOMPARE(std::size_t{r.groups[group].count}, members.size());
    }
  }
}

void TestErrorReport::decodedByRows() {
  // A permutation makes rows the unit of decoding; strips must then be whole rows.
  const std::uint64_t rows = 90, columns = 1000;
  std::vector<std::uint8_t> codes(rows * columns);
  std::vector<float> weights(codes.size());
  QuantizedTensor quantized = plain(rows, columns, codes, 8);
  for (std::uint32_t i = 0; i < columns; ++i) quantized.order.push_back((i * 7 + 3) % columns);
  for (std::uint64_t i = 0; i < codes.size(); ++i) {
    codes[i] = static_cast<std::uint8_t>(i * 31 % 251);
    weights[i / columns * columns + quantized.order[i % columns]] = codes[i] + (i % 2 == 0 ? 0.25f : 0.0f);
  }
  quantized.codes = Codes(codes);
  const ErrorReport r = report(Tensor::fromFloats("w", {rows, columns}, weights), quantized, {.perRow = true});
  NEAR(r.sums.errorSquared, 45000 * 0.0625);
  for (const GroupError& row : r.rows) NEAR(row.errorSquared, 500 * 0.0625);
}

void TestErrorReport::metricTable() {
  std::vector<std::string> keys;
  const ErrorReport r = report(Tensor::fromFloats("w", {1, 2}, {1.5f, 2}), plain(1, 2, {1, 2}));
  for (const Metric& metric : metrics()) {
    keys.emplace_back(metric.key);
    QVERIFY2(!metric.label.empty() && !metric.definition.empty() && metric.value != nullptr, keys.back().c_str());
    QCOMPARE(findMetric(metric.key), &metric);
    QVERIFY(!std::isnan(metric.value(r)));
  }
  std::sort(keys.begin(), keys.end());
  QCOMPARE(keys, (std::vector<std::string>{"codeEntropy", "cosine", "l2", "maxError", "meanError", "mse", "p99Error", "relativeFrobenius",
                                           "rmse", "sqnrDb", "weightedMse"}));
  QVERIFY(findMetric("nonsense") == nullptr);
  QCOMPARE(r.weightedMse, -1.0);  // not asked for
}

void TestErrorReport::cancelled() {
  std::stop_source stop;
  stop.request_stop();
  Context context;
  context.stop = stop.get_token();
  const auto result = errorReport(Tensor::fromFloats("w", {1, 2}, {1, 2}), plain(1, 2, {1, 2}), {}, context);
  QVERIFY(!result);
  QVERIFY(result.error().kind == ErrorKind::Cancelled);
}

void TestErrorReport::wrongInputWeights() {
  const float inputs[] = {1, 2, 3};
  const auto result = errorReport(Tensor::fromFloats("w", {1, 2}, {1, 2}), plain(1, 2, {1, 2}), {.inputWeights = inputs}, {});
  QVERIFY(!result);
  QVERIFY(result.error().message.find("w") == 0);
}

QTEST_APPLESS_MAIN(TestErrorReport)
#include "test_error_report.moc"
