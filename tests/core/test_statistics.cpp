// SPDX-License-Identifier: GPL-3.0-or-later
// Statistics of tensors and rows: by hand, against plain sorting and loops, for any backend and number of threads.
#include "core/report/order_statistics.h"
#include "core/report/statistics.h"
#include "core/tensor/synthetic.h"
#include "kernels/backend.h"

#include <QtTest>
#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>

using namespace nibble;

class TestStatistics : public QObject {
  Q_OBJECT
 private slots:
  void byHand();
  void againstLoops_data();
  void againstLoops();
  void threadsAndBackends();
  void nothingFinite();
  void empty();
  void halves();
  void largeMean();
  void rowsByHand();
  void longRows();
  void quantilesOfManyKinds();
  void cancelled();
};

namespace {

TensorStatistics statistics(const Tensor& tensor, const Context& context = {}) {
  auto result = tensorStatistics(tensor, context);
  if (!result) qFatal("%s", result.error().message.c_str());
  return *result;
}

bool near(double a, double b, double tolerance = 1e-12) {
  return a == b || std::fabs(a - b) <= tolerance * std::max(std::fabs(a), std::fabs(b));
}

double percentile(std::vector<float> values, double q) {
  std::sort(values.begin(), values.end());
  const double position = q * static_cast<double>(values.size() - 1);
  const auto below = static_cast<std::size_t>(position);
  const double low = values[below], high = values[std::min(below + 1, values.size() - 1)];
  return low + (position - static_cast<double>(below)) * (high - low);
}

}  // namespace

void TestStatistics::byHand() {
  const Tensor tensor = Tensor::fromFloats("w", {2, 4}, {1, -3, NAN, 0, 0x1p-130f, 5, -HUGE_VALF, -0.0f});
  const TensorStatistics s = statistics(tensor);
  QCOMPARE(s.count, std::uint64_t{6});
  QCOMPARE(s.nonFinite, std::uint64_t{2});
  QCOMPARE(s.firstNonFinite, std::uint64_t{2});
  QCOMPARE(s.zeros, std::uint64_t{2});
  QCOMPARE(s.denormals, std::uint64_t{1});
  QVERIFY(s.min == -3 && s.max == 5 && s.absMax == 5);
  QVERIFY(near(s.mean, 0.5));
  QVERIFY(near(s.std, std::sqrt((0.25 + 12.25 + 0.25 + 0.25 + 20.25 + 0.25) / 6)));
  QVERIFY(near(s.p01, -3 + 0.05 * 3));
  QVERIFY(near(s.p99, 1 + 0.95 * 4));
  // Two-point distribution: kurtosis 1.
  QVERIFY(near(statistics(Tensor::fromFloats("w", {4}, {1, -1, 1, -1})).kurtosis, 1));
  const TensorStatistics flat = statistics(Tensor::fromFloats("w", {3}, {2, 2, 2}));
  QVERIFY(flat.std == 0 && flat.kurtosis == 0 && flat.p01 == 2 && flat.p99 == 2);
}

void TestStatistics::againstLoops_data() {
  QTest::addColumn<int>("distribution");
  for (const Distribution distribution : allDistributions()) QTest::newRow(name(distribution).data()) << static_cast<int>(distribution);
}

void TestStatistics::againstLoops() {
  QFETCH(int, distribution);
  const Tensor tensor = syntheticTensor(static_cast<Distribution>(distribution), {301, 700}, 6);
  const std::vector<float> w = *tensor.readAll();
  const TensorStatistics s = statistics(tensor);
  long double sum = 0, second = 0, fourth = 0;
  for (const float weight : w) sum += weight;
  const long double mean = sum / static_cast<long double>(w.size());
  for (const float weight : w) {
    second += (weight - mean) * (weight - mean);
    fourth += (weight - mean) * (weight - mean) * (weight - mean) * (weight - mean);
  }
  second /= static_cast<long double>(w.size());
  fourth /= static_cast<long double>(w.size());
  QVERIFY(std::fabs(s.mean - static_cast<double>(mean)) <= 1e-12 * s.absMax);
  QVERIFY(near(s.std, static_cast<double>(std::sqrt(second)), 1e-10));
  QVERIFY(near(s.kurtosis, second > 0 ? static_cast<double>(fourth / (second * second)) : 0, 1e-10));
  QCOMPARE(s.p01, percentile(w, 0.01));
  QCOMPARE(s.p99, percentile(w, 0.99));
  QVERIFY(s.min == *std::min_element(w.begin(), w.end()) && s.max == *std::max_element(w.begin(), w.end()));
  QCOMPARE(s.zeros, static_cast<std::uint64_t>(std::count(w.begin(), w.end(), 0.0f)));
}

void TestStatistics::threadsAndBackends() {
  const Tensor tensor = syntheticTensor(Distribution::HeavyTail, {640, 512}, 6);
  const TensorStatistics first = statistics(tensor);
  for (const kernels::Backend* backend : kernels::allBackends()) {
    if (!backend->unusableReason().empty()) continue;
    for (const int threads : {1, 4}) {
      kernels::setThreadCount(threads);
      Context context;
      context.backend = backend;
      const TensorStatistics s = statistics(tensor, context);
      kernels::setThreadCount(0);
      QVERIFY(s.mean == first.mean && s.std == first.std && s.kurtosis == first.kurtosis && s.p01 == first.p01 && s.p99 == first.p99);
    }
  }
}

void TestStatistics::nothingFinite() {
  const TensorStatistics s = statistics(Tensor::fromFloats("w", {2}, {NAN, HUGE_VALF}));
  QVERIFY(s.count == 0 && s.nonFinite == 2 && s.min == 0 && s.max == 0 && s.std == 0 && s.p99 == 0);
}

void TestStatistics::empty() {
  const TensorStatistics s = statistics(Tensor::fromFloats("w", {0, 4}, {}));
  QVERIFY(s.count == 0 && s.nonFinite == 0 && s.min == 0);
  QVERIFY(rowSpreads(Tensor::fromFloats("w", {0, 4}, {}), {})->empty());
  QCOMPARE(rowSpreads(Tensor::fromFloats("w", {4, 0}, {}), {})->size(), std::size_t{4});
}

void TestStatistics::halves() {
  // 16-bit tensors are converted strip by strip: the same figures as their float32 copy.
  auto bytes = std::make_shared<std::vector<std::uint16_t>>();
  for (int i = 0; i < 100000; ++i) bytes->push_back(static_cast<std::uint16_t>(0x2000 + i % 7919));
  const Tensor halves("h", DType::F16, {100, 1000}, std::as_bytes(std::span<const std::uint16_t>(*bytes)), bytes);
  const Tensor wide = Tensor::fromFloats("w", {100, 1000}, *halves.readAll());
  const TensorStatistics a = statistics(halves), b = statistics(wide);
  QVERIFY(a.mean == b.mean && a.std == b.std && a.p01 == b.p01 && a.p99 == b.p99 && a.max == b.max);
}

void TestStatistics::largeMean() {
  // Deviations far smaller than the mean: sums of raw powers would lose them.
  std::vector<float> weights(100000, 4096.0f);
  for (std::size_t i = 0; i < weights.size(); i += 2) weights[i] += 0x1p-10f;
  const TensorStatistics s = statistics(Tensor::fromFloats("w", {100, 1000}, std::move(weights)));
  QVERIFY(near(s.std, 0x1p-11, 1e-9));
  QVERIFY(near(s.kurtosis, 1, 1e-9));
}

void TestStatistics::rowsByHand() {
  std::vector<float> weights(202);
  for (int i = 0; i <= 100; ++i) weights[static_cast<std::size_t>(i)] = static_cast<float>((i * 37) % 101);
  std::fill(weights.begin() + 101, weights.end(), NAN);
  weights[150] = -0.0f;
  const auto rows = rowSpreads(Tensor::fromFloats("w", {2, 101}, weights), {});
  QVERIFY(rows);
  QVERIFY((*rows)[0].min == 0 && (*rows)[0].p01 == 1 && (*rows)[0].median == 50 && (*rows)[0].p99 == 99 && (*rows)[0].max == 100);
  QVERIFY((*rows)[1].min == 0 && (*rows)[1].median == 0 && !std::signbit((*rows)[1].max));
}

void TestStatistics::longRows() {
  const Tensor tensor = syntheticTensor(Distribution::HeavyTail, {2, 300000}, 3);
  const std::vector<float> w = *tensor.readAll();
  const auto rows = rowSpreads(tensor, {});
  QVERIFY(rows);
  for (std::size_t row = 0; row < 2; ++row) {
    const std::vector<float> one(w.begin() + static_cast<std::ptrdiff_t>(row * 300000), w.begin() + static_cast<std::ptrdiff_t>((row + 1) * 300000));
    QCOMPARE((*rows)[row].p01, static_cast<float>(percentile(one, 0.01)));
    QCOMPARE((*rows)[row].median, static_cast<float>(percentile(one, 0.5)));
    QCOMPARE((*rows)[row].p99, static_cast<float>(percentile(one, 0.99)));
    QCOMPARE((*rows)[row].min, *std::min_element(one.begin(), one.end()));
  }
}

void TestStatistics::quantilesOfManyKinds() {
  const double asked[] = {0, 0.001, 0.25, 0.5, 0.75, 0.999, 1};
  for (const Distribution distribution : allDistributions()) {
    for (const std::uint64_t count : {1u, 2u, 3u, 1000u}) {
      const std::vector<float> w = *syntheticTensor(distribution, {count}, 9).readAll();
      CoarseCounts coarse;
      coarse.add(w);
      FineCounts fine(coarse, asked);
      fine.add(w);
      for (std::size_t i = 0; i < std::size(asked); ++i) QVERIFY(fine.quantile(i) == percentile(w, asked[i]));
    }
  }
}

void TestStatistics::cancelled() {
  std::stop_source stop;
  stop.request_stop();
  Context context;
  context.stop = stop.get_token();
  const Tensor tensor = syntheticTensor(Distribution::Gauss, {64, 64});
  QVERIFY(tensorStatistics(tensor, context).error().kind == ErrorKind::Cancelled);
  QVERIFY(rowSpreads(tensor, context).error().kind == ErrorKind::Cancelled);
}

QTEST_APPLESS_MAIN(TestStatistics)
#include "test_statistics.moc"
