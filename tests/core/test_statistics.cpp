// SPDX-License-Identifier: GPL-3.0-or-later
// Statistics against answers by hand and against a plain double loop with sorted copies; singular values against Eigen's Jacobi
// SVD; the same on every backend.
#include "core/report/spectrum.h"
#include "core/report/statistics.h"
#include "core/run/run.h"
#include "core/tensor/synthetic.h"
#include "kernels/backend.h"

#include <Eigen/SVD>
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
  void spectrumLikeJacobi_data();
  void spectrumLikeJacobi();
  void spectrumOfALargeMatrix();
  void spectrumOfLowRank();
  void spectrumOfTheError();
  void spectrumRefusals();
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

using Matrix = Eigen::MatrixXd;

// Reads a matrix in Eigen's hands as its float numbers.
RowReader readerOf(const Matrix& matrix) {
  return [&matrix](std::uint64_t first, std::span<float> out) -> Status {
    for (std::size_t i = 0; i < out.size(); ++i)
      out[i] = static_cast<float>(matrix(static_cast<Eigen::Index>(first + i / static_cast<std::size_t>(matrix.cols())),
                                         static_cast<Eigen::Index>(i % static_cast<std::size_t>(matrix.cols()))));
    return {};
  };
}

Result<Spectrum> spectrumOf(const Matrix& matrix, const Context& context = {}) {
  return spectrum(static_cast<std::uint64_t>(matrix.rows()), static_cast<std::uint64_t>(matrix.cols()), readerOf(matrix), context);
}

Matrix noise(Eigen::Index rows, Eigen::Index columns, std::uint64_t seed) {
  const Tensor tensor = syntheticTensor(Distribution::Gauss, {static_cast<std::uint64_t>(rows), static_cast<std::uint64_t>(columns)}, seed);
  const auto values = tensor.readAll();
  return Eigen::Map<const Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>>(values->data(), rows, columns).cast<double>();
}

// A mirror on a plane across all directions: singular values stay, nothing else does.
Matrix mixed(Matrix matrix) {
  const Eigen::VectorXd left = noise(matrix.rows(), 1, 91).normalized(), right = noise(matrix.cols(), 1, 92).normalized();
  matrix -= 2 * left * (left.transpose() * matrix);
  matrix -= 2 * (matrix * right) * right.transpose();
  return matrix;
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

void TestStatistics::spectrumLikeJacobi_data() {
  QTest::addColumn<int>("rows");
  QTest::addColumn<int>("columns");
  for (const auto& [rows, columns] : {std::pair(1, 1), {1, 9}, {9, 1}, {2, 2}, {40, 40}, {65, 30}, {30, 65}, {200, 131}, {131, 2100}})
    QTest::addRow("%d x %d", rows, columns) << rows << columns;
}

void TestStatistics::spectrumLikeJacobi() {
  QFETCH(int, rows);
  QFETCH(int, columns);
  const Matrix matrix = noise(rows, columns, 5).cast<float>().cast<double>();
  const auto answer = spectrumOf(matrix);
  QVERIFY2(answer.has_value(), answer.has_value() ? "" : answer.error().message.c_str());
  const Eigen::VectorXd wanted = Eigen::JacobiSVD<Matrix>(matrix).singularValues();
  QVERIFY(answer->complete() && answer->values.size() == static_cast<std::size_t>(wanted.size()));
  for (Eigen::Index i = 0; i < wanted.size(); ++i)
    QVERIFY2(std::abs(answer->values[static_cast<std::size_t>(i)] - wanted[i]) < 1e-7 * wanted[0], qPrintable(QString::number(i)));
  QVERIFY(near(answer->energy, matrix.squaredNorm(), 1e-12));
  const std::size_t half = static_cast<std::size_t>(wanted.size() + 1) / 2;
  QVERIFY(near(answer->share(half), wanted.head(static_cast<Eigen::Index>(half)).squaredNorm() / wanted.squaredNorm(), 1e-9));
  QVERIFY(near(answer->share(answer->values.size()), 1, 1e-12) && answer->share(0) == 0.0);
}

// Blocks of 20 x 21, each scaled down a little from the last, hidden by two mirrors: all singular values are those of the blocks.
void TestStatistics::spectrumOfALargeMatrix() {
  constexpr Eigen::Index blocks = 55;
  Matrix matrix = Matrix::Zero(blocks * 20, blocks * 21);
  std::vector<double> wanted;
  for (Eigen::Index block = 0; block < blocks; ++block) {
    const Matrix part = noise(20, 21, static_cast<std::uint64_t>(block)) * std::pow(0.97, static_cast<double>(block));
    matrix.block(block * 20, block * 21, 20, 21) = part;
    const Eigen::VectorXd values = Eigen::JacobiSVD<Matrix>(part).singularValues();
    wanted.insert(wanted.end(), values.begin(), values.end());
  }
  std::sort(wanted.rbegin(), wanted.rend());
  matrix = mixed(matrix);
  for (const Matrix& turned : {matrix, Matrix(matrix.transpose())}) {
    const auto answer = spectrumOf(turned);
    QVERIFY(answer.has_value() && answer->values.size() == firstDirections && !answer->complete() && answer->directions == 1100);
    for (std::size_t i = 0; i < firstDirections; ++i) {
      const QByteArray place = QStringLiteral("%1: %2, true %3").arg(i).arg(answer->values[i]).arg(wanted[i]).toUtf8();
      QVERIFY2(answer->values[i] <= wanted[i] * (1 + 1e-6), place);
      QVERIFY2(answer->values[i] >= wanted[i] * (1 - 1e-4), place);
    }
    QVERIFY(near(answer->energy, matrix.squaredNorm(), 1e-6));
    for (const kernels::Backend* backend : kernels::allBackends()) {
      if (!backend->unusableReason().empty()) continue;
      Context context;
      context.backend = backend;
      QCOMPARE(spectrumOf(turned, context)->values, answer->values);
    }
  }
}

void TestStatistics::spectrumOfLowRank() {
  const Matrix left = noise(1100, 3, 1), right = noise(3, 1200, 2);
  const auto large = spectrumOf(left * right);
  const auto small = spectrumOf((left * right).topRows(300));
  QVERIFY(large.has_value() && small.has_value());
  for (const auto& answer : {*large, *small}) {
    QVERIFY(answer.values.at(2) > 0.1 * answer.values[0]);
    if (answer.values.size() > 3) QVERIFY(answer.values[3] < 1e-6 * answer.values[0]);
    QVERIFY(near(answer.share(3), 1, 1e-9));
  }
  for (const Eigen::Index rows : {50, 1100}) {
    const auto nothing = spectrumOf(Matrix::Zero(rows, 1200));
    QVERIFY(nothing.has_value() && nothing->energy == 0.0 && nothing->share(1) == 1.0);
    QVERIFY(std::all_of(nothing->values.begin(), nothing->values.end(), [](double value) { return value == 0; }));
  }
}

void TestStatistics::spectrumOfTheError() {
  const Tensor tensor = syntheticTensor(Distribution::Gauss, {96, 128}, 4);
  const auto outcome = run(tensor, *Choice::parse("uniform:bits=3,granularity=group,group=32"), {});
  QVERIFY(outcome.has_value());
  const auto error = errorSpectrum(tensor, *outcome->quantized, {}), weight = weightSpectrum(tensor, {});
  QVERIFY(error.has_value() && weight.has_value() && error->complete() && weight->complete());
  QVERIFY(near(error->energy, outcome->report.sums.errorSquared, 1e-9));
  QVERIFY(weight->values[0] > error->values[0] && error->values[0] > 0);
}

void TestStatistics::spectrumRefusals() {
  const RowReader never = [](std::uint64_t, std::span<float>) -> Status { return fail("was read"); };
  QVERIFY(spectrum(1 << 20, 1 << 20, never, {}).error().message.find("no spectrum") == 0);
  QCOMPARE(spectrum(8, 8, never, {}).error().message, std::string("was read"));
  QVERIFY(spectrum(0, 8, never, {})->values.empty());
  std::stop_source source;
  source.request_stop();
  Context context;
  context.stop = source.get_token();
  for (const Eigen::Index side : {8, 1100}) {
    Matrix matrix = Matrix::Ones(side, side);
    QVERIFY(spectrumOf(matrix, context).error().kind == ErrorKind::Cancelled);
    matrix(1, 2) = std::numeric_limits<double>::infinity();
    QVERIFY(spectrumOf(matrix).error().message.find("not finite") != std::string::npos);
  }
}

QTEST_APPLESS_MAIN(TestStatistics)
#include "test_statistics.moc"
