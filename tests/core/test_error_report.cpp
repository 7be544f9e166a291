// SPDX-License-Identifier: GPL-3.0-or-later
// The error report against answers by hand and against plain loops over whole copies; independent of backend and threads.
#include "core/quant/decode.h"
#include "core/quant/layout.h"
#include "core/report/error_report.h"
#include "core/report/reconstruction.h"
#include "core/run/run.h"
#include "core/tensor/synthetic.h"
#include "kernels/backend.h"

#include <QtTest>
#include <algorithm>
#include <cmath>
#include <map>

using namespace nibble;

class TestErrorReport : public QObject {
  Q_OBJECT
 private slots:
  void byHand();
  void exactReconstruction();
  void zerosKept();
  void zerosLost();
  void likePlainLoops_data();
  void likePlainLoops();
  void histograms();
  void histogramOfOneValue();
  void weighted();
  void groupsAndRows_data();
  void groupsAndRows();
  void permutedColumns();
  void columnGroups();
  void sixteenBitCodes();
  void independentOfThreads();
  void metricsAreDefined();
  void pairsByHand();
  void pairsLikePlainLoops_data();
  void pairsLikePlainLoops();
  void refusals();
};

namespace {

constexpr auto infinite = std::numeric_limits<double>::infinity();

// Codes that decode to themselves.
QuantizedTensor identity(std::uint64_t rows, std::uint64_t columns, std::vector<std::uint8_t> codes, int bits) {
  QuantizedTensor tensor;
  tensor.rows = rows;
  tensor.columns = columns;
  tensor.shape = {rows, columns};
  tensor.layout = denseLayout(codes.size(), bits);
  tensor.codes = Codes(std::move(codes));
  tensor.width.uniform = static_cast<std::uint8_t>(bits);
  return tensor;
}

Tensor matrix(std::uint64_t rows, std::uint64_t columns, std::vector<float> values) {
  return Tensor::fromFloats("w", {rows, columns}, std::move(values));
}

ErrorReport reportOf(const Tensor& tensor, const QuantizedTensor& quantized, const ReportOptions& options = {},
                     const Context& context = {}) {
  const auto report = errorReport(tensor, quantized, options, context);
  if (!report) qFatal("%s", report.error().message.c_str());
  return *report;
}

Outcome outcomeOf(const Tensor& tensor, const std::string& choice) {
  auto outcome = run(tensor, *Choice::parse(choice), {});
  if (!outcome) qFatal("%s", outcome.error().message.c_str());
  return *outcome;
}

bool near(double a, double b, double relative = 1e-12) {
  return a == b || std::fabs(a - b) <= relative * std::max(std::fabs(a), std::fabs(b));
}

// numpy.percentile(values, 99) with its default, linear interpolation.
double percentile99(std::vector<float> values) {
  std::sort(values.begin(), values.end());
  const double position = 0.99 * static_cast<double>(values.size() - 1);
  const auto below = static_cast<std::size_t>(position);
  const double low = values[below], high = values[std::min(below + 1, values.size() - 1)];
  return low + (position - static_cast<double>(below)) * (high - low);
}

std::vector<float> magnitudes(const std::vector<float>& w, const std::vector<float>& r) {
  std::vector<float> errors(w.size());
  for (std::size_t i = 0; i < w.size(); ++i) errors[i] = std::fabs(w[i] - r[i]);
  return errors;
}

}  // namespace

void TestErrorReport::byHand() {
  // e = 0 0 1 -2
  const ErrorReport report = reportOf(matrix(2, 2, {1, 2, 3, 4}), identity(2, 2, {1, 2, 2, 6}, 3));
  QCOMPARE(report.sums.count, std::uint64_t{4});
  QCOMPARE(report.mse(), 1.25);
  QCOMPARE(report.rmse(), std::sqrt(1.25));
  QCOMPARE(report.sqnrDb(), 10 * std::log10(6.0));
  QCOMPARE(report.relativeFrobenius(), std::sqrt(5.0 / 30));
  QCOMPARE(report.l2(), std::sqrt(5.0));
  QCOMPARE(report.maxError(), 2.0);
  QCOMPARE(report.meanError(), -0.25);
  QCOMPARE(report.p99Error, 1.97);
  QCOMPARE(report.cosine(), 35 / std::sqrt(30.0 * 45));
  QCOMPARE(report.codeEntropy, 1.5);
  QCOMPARE(report.occupancy, (std::vector<std::uint64_t>{0, 1, 2, 0, 0, 0, 1, 0}));
  QCOMPARE(report.weightLow, 1.0);
  QCOMPARE(report.weightHigh, 4.0);
  QVERIFY(report.weightedMse < 0 && report.rows.empty() && report.groups.empty() && report.errors.counts.empty());
}

void TestErrorReport::exactReconstruction() {
  const ErrorReport report = reportOf(matrix(1, 4, {0, 1, 2, 3}), identity(1, 4, {0, 1, 2, 3}, 2));
  QCOMPARE(report.mse(), 0.0);
  QCOMPARE(report.sqnrDb(), infinite);
  QCOMPARE(report.maxError(), 0.0);
  QCOMPARE(report.p99Error, 0.0);
  QCOMPARE(report.relativeFrobenius(), 0.0);
  QVERIFY(near(report.cosine(), 1));
  QCOMPARE(report.codeEntropy, 2.0);
}

void TestErrorReport::zerosKept() {
  const ErrorReport report = reportOf(matrix(1, 3, {0, 0, 0}), identity(1, 3, {0, 0, 0}, 4));
  QCOMPARE(report.mse(), 0.0);
  QCOMPARE(report.sqnrDb(), infinite);
  QCOMPARE(report.relativeFrobenius(), 0.0);
  QCOMPARE(report.cosine(), 1.0);
  QCOMPARE(report.codeEntropy, 0.0);
}

void TestErrorReport::zerosLost() {
  const ErrorReport report = reportOf(matrix(1, 2, {0, 0}), identity(1, 2, {1, 0}, 4));
  QCOMPARE(report.mse(), 0.5);
  QCOMPARE(report.sqnrDb(), -infinite);
  QCOMPARE(report.relativeFrobenius(), infinite);
  QCOMPARE(report.cosine(), 0.0);
}

void TestErrorReport::likePlainLoops_data() {
  QTest::addColumn<QString>("choice");
  QTest::addColumn<int>("distribution");
  for (const char* choice : {"uniform:bits=4,granularity=group,group=64", "uniform:bits=3,symmetric=false,granularity=tensor",
                             "hqq:bits=4,group=64,axis=0", "nf4", "minmax:bits=3", "codebook:bits=2", "float:type=f16"})
    for (const Distribution d : {Distribution::Gauss, Distribution::HeavyTail, Distribution::OneOutlier, Distribution::Ramp})
      QTest::addRow("%s %s", choice, std::string(name(d)).c_str()) << choice << static_cast<int>(d);
}

void TestErrorReport::likePlainLoops() {
  QFETCH(QString, choice);
  QFETCH(int, distribution);
  // More than two strips, with a tail.
  const Tensor tensor = syntheticTensor(static_cast<Distribution>(distribution), {201, 448}, 2);
  const auto quantized = outcomeOf(tensor, choice.toStdString()).quantized;
  const std::vector<float> w = *tensor.readAll(), r = decodeAll(*quantized);
  double error = 0, squared = 0, absolute = 0, ww = 0, rr = 0, wr = 0;
  float largest = 0;
  std::map<std::int64_t, std::uint64_t> codes;
  for (std::size_t i = 0; i < w.size(); ++i) {
    const double e = static_cast<double>(w[i]) - r[i];
    error += e;
    squared += e * e;
    absolute += std::fabs(e);
    ww += static_cast<double>(w[i]) * w[i];
    rr += static_cast<double>(r[i]) * r[i];
    wr += static_cast<double>(w[i]) * r[i];
    largest = std::max(largest, std::fabs(w[i] - r[i]));
    ++codes[quantized->codes.at(i)];
  }
  double entropy = 0;
  const auto n = static_cast<double>(w.size());
  for (const auto& [code, count] : codes) entropy -= static_cast<double>(count) / n * std::log2(static_cast<double>(count) / n);
  const double p99 = percentile99(magnitudes(w, r));
  for (const kernels::Backend* backend : kernels::allBackends()) {
    if (!backend->unusableReason().empty()) continue;
    Context context;
    context.backend = backend;
    const ErrorReport report = reportOf(tensor, *quantized, {}, context);
    QCOMPARE(report.sums.count, static_cast<std::uint64_t>(w.size()));
    QVERIFY(std::fabs(report.sums.error - error) <= 1e-12 * absolute);
    QVERIFY(near(report.sums.errorSquared, squared));
    QVERIFY(near(report.sums.weightSquared, ww) && near(report.sums.reconstructedSquared(), rr));
    QVERIFY(std::fabs(report.sums.product() - wr) <= 1e-12 * std::sqrt(ww * rr));
    QCOMPARE(report.sums.maxError, largest);
    QCOMPARE(report.p99Error, p99);
    QVERIFY(near(report.codeEntropy, entropy, 1e-10));
    QVERIFY(near(report.weightLow, *std::min_element(w.begin(), w.end())) &&
            near(report.weightHigh, *std::max_element(w.begin(), w.end())));
    for (std::size_t code = 0; code < report.occupancy.size(); ++code)
      QCOMPARE(report.occupancy[code],
               codes.contains(static_cast<std::int64_t>(code)) ? codes[static_cast<std::int64_t>(code)] : 0);
  }
}

void TestErrorReport::histograms() {
  const Tensor tensor = syntheticTensor(Distribution::Gauss, {100, 512}, 9);
  const auto quantized = outcomeOf(tensor, "uniform:bits=4,granularity=group,group=64").quantized;
  const std::vector<float> w = *tensor.readAll(), r = decodeAll(*quantized);
  const ErrorReport report = reportOf(tensor, *quantized, {.histogramBins = 37});
  QCOMPARE(report.errors.low, -report.maxError());
  QCOMPARE(report.errors.high, report.maxError());
  QCOMPARE(report.errors.total(), static_cast<std::uint64_t>(w.size()));
  QCOMPARE(report.weights.total(), static_cast<std::uint64_t>(w.size()));
  std::vector<std::uint64_t> errors(37), weights(37);
  const auto binOf = [](double value, const Histogram& h) {
    return static_cast<std::size_t>(std::clamp(std::floor((value - h.low) / h.binWidth()), 0.0, 36.0));
  };
  for (std::size_t i = 0; i < w.size(); ++i) {
    ++errors[binOf(w[i] - r[i], report.errors)];
    ++weights[binOf(w[i], report.weights)];
  }
  // Bins are found in float32: a weight within a rounding of an edge may stand beside it.
  for (std::size_t bin = 0; bin < 37; ++bin) {
    QVERIFY(std::llabs(static_cast<long long>(errors[bin] - report.errors.counts[bin])) <= 2);
    QVERIFY(std::llabs(static_cast<long long>(weights[bin] - report.weights.counts[bin])) <= 2);
  }
}

void TestErrorReport::histogramOfOneValue() {
  const ErrorReport report = reportOf(matrix(1, 3, {2, 2, 2}), identity(1, 3, {2, 2, 2}, 4), {.histogramBins = 5});
  QCOMPARE(report.weights.total(), std::uint64_t{3});
  QCOMPARE(report.errors.total(), std::uint64_t{3});
}

void TestErrorReport::weighted() {
  // e = 1 -2 | 0 3 with E[x^2] = 2, 0.5: (2 + 2 + 0 + 4.5) / 4
  const std::vector<float> inputWeights = {2, 0.5f};
  const ErrorReport report =
      reportOf(matrix(2, 2, {1, 1, 5, 3}), identity(2, 2, {0, 3, 5, 0}, 4), {.inputWeights = inputWeights});
  QCOMPARE(report.weightedMse, 2.125);
  const Tensor tensor = syntheticTensor(Distribution::Gauss, {150, 300}, 1);
  const auto quantized = outcomeOf(tensor, "uniform:bits=4").quantized;
  const std::vector<float> w = *tensor.readAll(), r = decodeAll(*quantized);
  const std::vector<float> columns =
      magnitudes(*syntheticTensor(Distribution::Gauss, {300}, 8).readAll(), std::vector<float>(300));
  double sum = 0;
  for (std::size_t i = 0; i < w.size(); ++i) sum += columns[i % 300] * std::pow(static_cast<double>(w[i] - r[i]), 2);
  QVERIFY(near(reportOf(tensor, *quantized, {.inputWeights = columns}).weightedMse, sum / static_cast<double>(w.size())));
  const std::vector<float> wrong(299, 1.0f);
  const auto refused = errorReport(tensor, *quantized, {.inputWeights = wrong}, {});
  QVERIFY(!refused.has_value() && refused.error().message.starts_with("gauss: "));
}

void TestErrorReport::groupsAndRows_data() {
  QTest::addColumn<QString>("choice");
  for (const char* choice :
       {"uniform:granularity=group,group=48,bits=3", "uniform:granularity=tensor", "uniform:granularity=column",
        "hqq:axis=0,group=64", "hqq:axis=1,group=64", "nf4:block=128", "codebook:granularity=group,group=100,bits=2", "float"})
    QTest::newRow(choice) << choice;
}

void TestErrorReport::groupsAndRows() {
  QFETCH(QString, choice);
  const Tensor tensor = syntheticTensor(Distribution::HeavyTail, {130, 320}, 6);
  const auto quantized = outcomeOf(tensor, choice.toStdString()).quantized;
  const std::vector<float> w = *tensor.readAll(), r = decodeAll(*quantized);
  const ErrorReport report = reportOf(tensor, *quantized, {.perGroup = true, .perRow = true});
  QCOMPARE(report.rows.size(), std::size_t{130});
  const Grouping grouping = quantized->scale             ? quantized->scale->grouping
                            : quantized->levels.grouping ? *quantized->levels.grouping
                                                         : Grouping::tensor(130, 320);
  QCOMPARE(report.groups.size(), static_cast<std::size_t>(grouping.groupCount()));
  std::vector<GroupError> rows(130), groups(report.groups.size());
  for (std::size_t i = 0; i < w.size(); ++i) {
    for (GroupError* part : {&rows[i / 320], &groups[grouping.groupOf(i)]}) {
      const float error = w[i] - r[i];
      part->errorSquared += static_cast<double>(error) * error;
      part->maxError = std::max(part->maxError, std::fabs(error));
      ++part->count;
    }
  }
  const auto same = [](const GroupError& a, const GroupError& b) {
    return near(a.errorSquared, b.errorSquared) && a.maxError == b.maxError && a.count == b.count;
  };
  QVERIFY(std::equal(rows.begin(), rows.end(), report.rows.begin(), same));
  QVERIFY(std::equal(groups.begin(), groups.end(), report.groups.begin(), same));
}

void TestErrorReport::permutedColumns() {
  // Stored columns 0 1 are the model's 2 0, stored 2 3 its 3 1. Groups are of two stored columns.
  QuantizedTensor quantized = identity(1, 4, {1, 2, 3, 4}, 3);
  quantized.order = {2, 0, 3, 1};
  quantized.scale = Plane::numbers(Grouping::blocks(1, 4, 1, 2), {1, 10}, Stored::F32);
  QCOMPARE(decodeAll(quantized), (std::vector<float>{2, 40, 1, 30}));
  // e = 1 5 0 -2 in the model's columns: the first group holds columns 2 and 0, the second 3 and 1.
  const ErrorReport report = reportOf(matrix(1, 4, {3, 45, 1, 28}), quantized, {.perGroup = true});
  QCOMPARE(report.groups.at(0).errorSquared, 1.0);
  QCOMPARE(report.groups.at(1).errorSquared, 29.0);
  QCOMPARE(report.groups.at(1).maxError, 5.0f);
}

void TestErrorReport::columnGroups() {
  QuantizedTensor quantized = identity(2, 3, {1, 2, 3, 4, 5, 6}, 3);
  quantized.scale = Plane::numbers(Grouping::columnMap(2, {1, 0, 1}), {1, 1, 1, 1}, Stored::F32);
  const ErrorReport report = reportOf(matrix(2, 3, {2, 2, 5, 4, 8, 6}), quantized, {.perGroup = true});
  QCOMPARE(report.groups.size(), std::size_t{4});
  QCOMPARE(report.groups[0].errorSquared, 0.0);
  QCOMPARE(report.groups[1].errorSquared, 5.0);
  QCOMPARE(report.groups[1].count, 2u);
  QCOMPARE(report.groups[2].errorSquared, 9.0);
  QCOMPARE(report.groups[3].errorSquared, 0.0);
}

void TestErrorReport::sixteenBitCodes() {
  const Tensor tensor = syntheticTensor(Distribution::Uniform, {64, 64});
  const ErrorReport twelve = reportOf(tensor, *outcomeOf(tensor, "uniform:bits=12").quantized);
  QCOMPARE(twelve.occupancy.size(), std::size_t{4096});
  const ErrorReport sixteen = reportOf(tensor, *outcomeOf(tensor, "uniform:bits=16").quantized);
  QVERIFY(sixteen.occupancy.empty() && sixteen.codeEntropy > 11 && sixteen.codeEntropy <= 12);
}

void TestErrorReport::independentOfThreads() {
  const Tensor tensor = syntheticTensor(Distribution::HeavyTail, {600, 700}, 12);
  const auto quantized = outcomeOf(tensor, "uniform:bits=4,granularity=group,group=50").quantized;
  const int before = kernels::threadCount();
  std::vector<ErrorReport> reports;
  for (const int threads : {1, 2, 3}) {
    kernels::setThreadCount(threads);
    reports.push_back(reportOf(tensor, *quantized, {.histogramBins = 50}));
  }
  kernels::setThreadCount(before);
  for (const ErrorReport& report : reports) {
    QVERIFY(report.sums.errorSquared == reports[0].sums.errorSquared && report.sums.product() == reports[0].sums.product());
    QVERIFY(report.sums.error == reports[0].sums.error && report.p99Error == reports[0].p99Error);
    QVERIFY(report.errors == reports[0].errors && report.weights == reports[0].weights);
  }
}

void TestErrorReport::metricsAreDefined() {
  const ErrorReport report = reportOf(matrix(2, 2, {1, 2, 3, 4}), identity(2, 2, {1, 2, 2, 6}, 3));
  for (const char* key : {"mse", "rmse", "sqnrDb", "relativeFrobenius", "l2", "maxError", "meanError", "p99Error", "cosine",
                          "codeEntropy", "weightedMse"}) {
    const Metric* metric = findMetric(key);
    QVERIFY2(metric != nullptr, key);
    QVERIFY(!metric->label.empty() && !metric->definition.empty() && metric->value != nullptr);
  }
  QCOMPARE(findMetric("sqnrDb")->value(report), report.sqnrDb());
  QVERIFY(!findMetric("sqnrDb")->lowerIsBetter && !findMetric("cosine")->lowerIsBetter && findMetric("mse")->lowerIsBetter);
  QVERIFY(findMetric("no such metric") == nullptr);
}

void TestErrorReport::pairsByHand() {
  // Columns stored as 2 0 3 1: the codes 1 2 3 4 belong to the model's columns 2 0 3 1. e = 1, 5, 0, -5.
  QuantizedTensor quantized = identity(1, 4, {1, 2, 3, 4}, 3);
  quantized.order = {2, 0, 3, 1};
  const auto answer = reconstruction(matrix(1, 4, {3, 9, 1, -2}), quantized, 6, 3, {});
  QVERIFY(answer.has_value());
  QCOMPARE(answer->reach, 9.0);
  const std::vector<LargeError> wanted{{0, 1, 9, 4, 5, 4}, {0, 3, -2, 3, -5, 3}, {0, 0, 3, 2, 1, 2}};
  QVERIFY(answer->largest == wanted);
  QCOMPARE(answer->binWidth(), 3.0);
  QCOMPARE(answer->at(5, 4), std::uint64_t{1});  // (9, 4)
  QCOMPARE(answer->at(2, 4), std::uint64_t{1});  // (-2, 3)
  QCOMPARE(answer->at(4, 3), std::uint64_t{1});  // (3, 2)
  QCOMPARE(answer->at(3, 3), std::uint64_t{1});  // (1, 1)
  const auto none = reconstruction(matrix(1, 2, {0, 0}), identity(1, 2, {0, 0}, 1), 4, 0, {});
  QVERIFY(none.has_value() && none->largest.empty() && none->at(2, 2) == 2);
  QVERIFY(!reconstruction(matrix(2, 1, {0, 0}), identity(1, 2, {0, 0}, 1), 4, 0, {}).has_value());
}

void TestErrorReport::pairsLikePlainLoops_data() {
  QTest::addColumn<QString>("choice");
  for (const char* choice : {"uniform:bits=3,granularity=group,group=32", "nf4:block=64", "uniform:bits=2,granularity=tensor", "iq4_nl"})
    QTest::newRow(choice) << choice;
}

void TestErrorReport::pairsLikePlainLoops() {
  QFETCH(QString, choice);
  constexpr int bins = 37;
  constexpr std::size_t listed = 50;
  const Tensor tensor = syntheticTensor(Distribution::HeavyTail, {301, 320}, 3);
  const auto quantized = outcomeOf(tensor, choice.toStdString()).quantized;
  const std::vector<float> weights = *tensor.readAll(), values = decodeAll(*quantized);
  double most = 0, squares = 0;
  for (const auto& numbers : {weights, values})
    for (const float number : numbers) most = std::max(most, static_cast<double>(std::fabs(number))), squares += static_cast<double>(number) * static_cast<double>(number);
  const double rms = std::sqrt(squares / static_cast<double>(2 * weights.size()));
  QVERIFY(most > 5 * rms);  // outliers, which count in the outermost squares
  const double reach = reconstruction(tensor, *quantized, bins, 0, {})->reach;
  QVERIFY(std::fabs(reach - 5 * rms) < 1e-9 * reach);
  std::vector<std::uint64_t> counts(bins * bins);
  std::vector<std::size_t> order(weights.size());
  const auto bin = [&](float number) { return std::clamp(static_cast<int>(std::floor((static_cast<double>(number) + reach) / (2 * reach) * bins)), 0, bins - 1); };
  for (std::size_t i = 0; i < weights.size(); ++i) {
    ++counts[static_cast<std::size_t>(bin(values[i]) * bins + bin(weights[i]))];
    order[i] = i;
  }
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return std::fabs(weights[a] - values[a]) > std::fabs(weights[b] - values[b]); });
  const int before = kernels::threadCount();
  for (const int threads : {1, 3}) {
    kernels::setThreadCount(threads);
    const auto answer = reconstruction(tensor, *quantized, bins, listed, {});
    kernels::setThreadCount(before);
    QVERIFY(answer.has_value());
    QCOMPARE(answer->reach, reach);
    QCOMPARE(answer->counts, counts);
    QCOMPARE(answer->largest.size(), listed);
    for (std::size_t i = 0; i < listed; ++i) {
      const LargeError wanted{order[i] / 320, order[i] % 320, weights[order[i]], values[order[i]], weights[order[i]] - values[order[i]], quantized->codes.at(order[i])};
      QVERIFY2(answer->largest[i] == wanted, qPrintable(QString::number(i)));
    }
  }
}

void TestErrorReport::refusals() {
  std::stop_source source;
  source.request_stop();
  Context context;
  context.stop = source.get_token();
  const auto stopped = errorReport(matrix(2, 2, {1, 2, 3, 4}), identity(2, 2, {1, 2, 2, 6}, 3), {}, context);
  QVERIFY(!stopped.has_value() && stopped.error().kind == ErrorKind::Cancelled);
  const auto pairs = reconstruction(matrix(2, 2, {1, 2, 3, 4}), identity(2, 2, {1, 2, 2, 6}, 3), 4, 4, context);
  QVERIFY(!pairs.has_value() && pairs.error().kind == ErrorKind::Cancelled);
}

QTEST_APPLESS_MAIN(TestErrorReport)
#include "test_error_report.moc"
