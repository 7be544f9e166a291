// SPDX-License-Identifier: GPL-3.0-or-later
// Statistics against answers by hand and against a plain double loop with sorted copies; the same on every backend.
#include "core/report/statistics.h"
#include "core/tensor/synthetic.h"
#include "kernels/backend.h"

#include <QtTest>
#include <algorithm>
#include <cmath>
#include <limits>

using namespace nibble;

class TestStatistics : public QObject {
  Q_OBJECT
 private slots:
  void byHand();
  void constantAndOne();
  void leavesOutWhatIsNotFinite();
  void nothingFinite();
  void emptyTensor();
  void likeAPlainLoop_data();
  void likeAPlainLoop();
  void otherTypes();
  void rowsLikeSorting_data();
  void rowsLikeSorting();
  void longRows();
  void sameOnEveryBackend();
  void stops();
};

namespace {

Tensor tensorOf(std::vector<float> values) {
  const Shape shape{1, values.size()};
  return Tensor::fromFloats("w", shape, std::move(values));
}

// numpy.percentile(..., method="linear") of sorted values.
double quantile(const std::vector<float>& sorted, double fraction) {
  const double position = fraction * static_cast<double>(sorted.size() - 1);
  const auto below = static_cast<std::size_t>(std::floor(position));
  const std::size_t above = std::min(below + 1, sorted.size() - 1);
  return sorted[below] + (position - static_cast<double>(below)) * (static_cast<double>(sorted[above]) - sorted[below]);
}

bool near(double a, double b, double relative) {
  return std::fabs(a - b) <= relative * std::max(std::fabs(a), std::fabs(b));
}

}  // namespace

void TestStatistics::byHand() {
  // Mean 2, deviations -2 -1 0 1 2: variance 2, fourth moment (16 + 1 + 1 + 16) / 5 = 6.8.
  const auto s = tensorStatistics(tensorOf({4, 0, 3, 1, 2}), {});
  QVERIFY(s.has_value());
  QCOMPARE(s->count, std::uint64_t{5});
  QCOMPARE(s->min, 0.0f);
  QCOMPARE(s->max, 4.0f);
  QCOMPARE(s->absMax, 4.0f);
  QCOMPARE(s->mean, 2.0);
  QCOMPARE(s->std, std::sqrt(2.0));
  QCOMPARE(s->kurtosis, 6.8 / 4);
  QCOMPARE(s->zeros, std::uint64_t{1});
  QCOMPARE(s->p01, 0.04);
  QCOMPARE(s->p99, 3.96);
  const auto negative = tensorStatistics(tensorOf({-7, -0.0f, 0.0f, 5}), {});
  QCOMPARE(negative->absMax, 7.0f);
  QCOMPARE(negative->zeros, std::uint64_t{2});
  QVERIFY(near(negative->p01, -7 + 0.03 * 7, 1e-15));
}

void TestStatistics::constantAndOne() {
  const auto constant = tensorStatistics(tensorOf(std::vector<float>(100003, 0.1f)), {});
  QCOMPARE(constant->mean, static_cast<double>(0.1f));
  QCOMPARE(constant->std, 0.0);
  QCOMPARE(constant->kurtosis, 0.0);
  QCOMPARE(constant->p01, static_cast<double>(0.1f));
  const auto one = tensorStatistics(tensorOf({-3}), {});
  QCOMPARE(one->p99, -3.0);
  QCOMPARE(one->std, 0.0);
}

void TestStatistics::leavesOutWhatIsNotFinite() {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  std::vector<float> values(200000, 1.0f);
  values[70001] = -HUGE_VALF;
  values[150000] = nan;
  values[5] = 3;
  values[6] = 0x1p-140f;
  const auto s = tensorStatistics(tensorOf(values), {});
  QCOMPARE(s->nonFinite, std::uint64_t{2});
  QCOMPARE(s->firstNonFinite, std::uint64_t{70001});
  QCOMPARE(s->count, std::uint64_t{199998});
  QCOMPARE(s->denormals, std::uint64_t{1});
  QCOMPARE(s->max, 3.0f);
  QCOMPARE(s->min, 0x1p-140f);
  QVERIFY(near(s->mean, (199996.0 + 3) / 199998, 1e-14));
}

void TestStatistics::nothingFinite() {
  const auto s = tensorStatistics(tensorOf({HUGE_VALF, -HUGE_VALF}), {});
  QVERIFY(s.has_value());
  QCOMPARE(s->count, std::uint64_t{0});
  QCOMPARE(s->nonFinite, std::uint64_t{2});
  QCOMPARE(s->min, 0.0f);
  QCOMPARE(s->p99, 0.0);
  const auto rows = rowSpreads(tensorOf({HUGE_VALF}), {});
  QCOMPARE(rows->at(0).max, 0.0f);
}

void TestStatistics::emptyTensor() {
  const Tensor empty = Tensor::fromFloats("w", {3, 0}, {});
  QCOMPARE(tensorStatistics(empty, {})->count, std::uint64_t{0});
  QCOMPARE(rowSpreads(empty, {})->size(), std::size_t{3});
}

void TestStatistics::likeAPlainLoop_data() {
  QTest::addColumn<int>("distribution");
  for (const Distribution d : allDistributions()) QTest::newRow(std::string(name(d)).c_str()) << static_cast<int>(d);
}

void TestStatistics::likeAPlainLoop() {
  QFETCH(int, distribution);
  const Tensor tensor = syntheticTensor(static_cast<Distribution>(distribution), {377, 411}, 3);
  std::vector<float> values = *tensor.readAll();
  const auto s = tensorStatistics(tensor, {});
  QVERIFY(s.has_value());
  const auto n = static_cast<long double>(values.size());
  long double sum = 0, second = 0, fourth = 0;
  std::uint64_t zeros = 0, denormals = 0;
  for (const float value : values) {
    sum += value;
    zeros += value == 0 ? 1 : 0;
    denormals += std::fpclassify(value) == FP_SUBNORMAL ? 1 : 0;
  }
  for (const float value : values) {
    const long double square = (value - sum / n) * (value - sum / n);
    second += square;
    fourth += square * square;
  }
  std::sort(values.begin(), values.end());
  QCOMPARE(s->min, values.front());
  QCOMPARE(s->max, values.back());
  QCOMPARE(s->absMax, std::max(std::fabs(values.front()), std::fabs(values.back())));
  QCOMPARE(s->zeros, zeros);
  QCOMPARE(s->denormals, denormals);
  QVERIFY(near(s->p01, quantile(values, 0.01), 1e-14));
  QVERIFY(near(s->p99, quantile(values, 0.99), 1e-14));
  QVERIFY(std::fabs(s->mean - static_cast<double>(sum / n)) <= 1e-13 * static_cast<double>(s->absMax));
  if (values.front() == values.back()) return;
  QVERIFY(near(s->std, static_cast<double>(std::sqrt(second / n)), 1e-12));
  QVERIFY(near(s->kurtosis, static_cast<double>(fourth * n / (second * second)), 1e-11));
}

void TestStatistics::otherTypes() {
  const std::uint16_t halves[] = {0x3C00, 0xC000, 0x0000, 0x7C00};  // 1, -2, 0, infinity
  const auto bytes = std::as_bytes(std::span(halves));
  const auto s = tensorStatistics(Tensor("h", DType::F16, {2, 2}, bytes, nullptr), {});
  QCOMPARE(s->min, -2.0f);
  QCOMPARE(s->max, 1.0f);
  QCOMPARE(s->nonFinite, std::uint64_t{1});
  QCOMPARE(s->firstNonFinite, std::uint64_t{3});
}

void TestStatistics::rowsLikeSorting_data() {
  likeAPlainLoop_data();
}

void TestStatistics::rowsLikeSorting() {
  QFETCH(int, distribution);
  const Tensor tensor = syntheticTensor(static_cast<Distribution>(distribution), {101, 263}, 5);
  const auto spreads = rowSpreads(tensor, {});
  QCOMPARE(spreads->size(), std::size_t{101});
  for (std::size_t row = 0; row < 101; ++row) {
    std::vector<float> values(263);
    QVERIFY(tensor.read(row * 263, values).has_value());
    std::sort(values.begin(), values.end());
    const RowSpread& spread = (*spreads)[row];
    QCOMPARE(spread.min, values.front());
    QCOMPARE(spread.max, values.back());
    QCOMPARE(spread.p01, static_cast<float>(quantile(values, 0.01)));
    QCOMPARE(spread.median, static_cast<float>(quantile(values, 0.5)));
    QCOMPARE(spread.p99, static_cast<float>(quantile(values, 0.99)));
  }
}

void TestStatistics::longRows() {
  // Rows beyond the length that is sorted take the counting way: the same answers.
  const std::uint64_t columns = (std::uint64_t{1} << 22) + 3;
  std::vector<float> values(2 * columns);
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i * 2654435761u % 1000003u) - 500000.0f;
  const auto spreads = rowSpreads(Tensor::fromFloats("w", {2, columns}, values), {});
  QCOMPARE(spreads->size(), std::size_t{2});
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(columns);
  std::sort(middle, values.end());
  const std::vector<float> second(middle, values.end());
  QCOMPARE((*spreads)[1].min, second.front());
  QCOMPARE((*spreads)[1].median, static_cast<float>(quantile(second, 0.5)));
  QCOMPARE((*spreads)[1].p99, static_cast<float>(quantile(second, 0.99)));
}

void TestStatistics::sameOnEveryBackend() {
  const Tensor tensor = syntheticTensor(Distribution::HeavyTail, {700, 999}, 1);
  const auto reference = tensorStatistics(tensor, {});
  for (const kernels::Backend* backend : kernels::allBackends()) {
    if (!backend->unusableReason().empty()) continue;
    Context context;
    context.backend = backend;
    const auto s = tensorStatistics(tensor, context);
    QVERIFY(s->mean == reference->mean && s->std == reference->std && s->kurtosis == reference->kurtosis);
    QVERIFY(s->p01 == reference->p01 && s->p99 == reference->p99);
  }
}

void TestStatistics::stops() {
  std::stop_source source;
  source.request_stop();
  Context context;
  context.stop = source.get_token();
  const Tensor tensor = syntheticTensor(Distribution::Gauss, {64, 64});
  QVERIFY(tensorStatistics(tensor, context).error().kind == ErrorKind::Cancelled);
  QVERIFY(rowSpreads(tensor, context).error().kind == ErrorKind::Cancelled);
}

QTEST_APPLESS_MAIN(TestStatistics)
#include "test_statistics.moc"
