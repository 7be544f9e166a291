// SPDX-License-Identifier: GPL-3.0-or-later
// Each lint rule says what it should, where it should, and nothing of ordinary weights.
#include "core/report/lint.h"
#include "core/tensor/synthetic.h"

#include <QtTest>
#include <cmath>
#include <set>

using namespace nibble;

class TestLint : public QObject {
  Q_OBJECT
 private slots:
  void table();
  void ordinary();
  void values_data();
  void values();
  void types();
  void emptyTensors();
  void vectorsMayBeConstant();
  void cancelled();
};

namespace {

TensorEntry entry(const char* name, DType type, Shape shape) {
  TensorEntry one;
  one.name = name;
  one.type = type;
  one.shape = std::move(shape);
  return one;
}

}  // namespace

void TestLint::table() {
  std::set<std::string_view> ids;
  for (const LintRule& rule : lintRules()) {
    QVERIFY(ids.insert(rule.id).second && !rule.explanation.empty());
    QCOMPARE(findLintRule(rule.id)->id, rule.id);
  }
  QVERIFY(findLintRule("nonsense") == nullptr);
  QCOMPARE(name(Severity::Warning), std::string_view("warning"));
  QCOMPARE(name(Severity::Note), std::string_view("note"));
}

void TestLint::ordinary() {
  for (const Distribution distribution : {Distribution::Gauss, Distribution::Uniform, Distribution::Ramp, Distribution::SignOnly})
    QVERIFY(lintValues(syntheticTensor(distribution, {64, 128}, 1), {})->empty());
}

void TestLint::values_data() {
  QTest::addColumn<int>("place");
  QTest::addColumn<int>("length");
  QTest::addColumn<float>("value");
  QTest::addColumn<QByteArray>("rule");
  QTest::addColumn<QByteArray>("what");
  QTest::newRow("NaN") << 3 * 128 + 17 << 1 << NAN << QByteArray("non-finite") << QByteArray("1 weight is NaN or infinite, the first at [3, 17]");
  QTest::newRow("infinities") << 200 << 3 << -HUGE_VALF << QByteArray("non-finite") << QByteArray("3 weights are NaN or infinite, the first at [1, 72]");
  QTest::newRow("zero rows") << 2 * 128 << 256 << 0.0f << QByteArray("zero-rows") << QByteArray("2 of 64 rows are all zero, the first is row 2");
  QTest::newRow("one zero row") << 63 * 128 << 128 << -0.0f << QByteArray("zero-rows") << QByteArray("1 of 64 rows is all zero, the first is row 63");
  QTest::newRow("not a whole row") << 2 * 128 + 1 << 128 << 0.0f << QByteArray() << QByteArray();
  QTest::newRow("denormals") << 5 << 2 << 0x1p-140f << QByteArray("denormals") << QByteArray("2 weights are denormal in float32");
  QTest::newRow("outlier") << 77 << 1 << 1.0f << QByteArray("outliers") << QByteArray("the farthest weight lies ");
  QTest::newRow("not far enough") << 77 << 1 << 0.3f << QByteArray() << QByteArray();
  QTest::newRow("constant") << 0 << 64 * 128 << 0.5f << QByteArray("constant") << QByteArray("all 8192 weights are 0.5");
  QTest::newRow("all zero") << 0 << 64 * 128 << 0.0f << QByteArray("constant") << QByteArray("all 8192 weights are 0");
}

void TestLint::values() {
  QFETCH(int, place);
  QFETCH(int, length);
  QFETCH(float, value);
  QFETCH(QByteArray, rule);
  QFETCH(QByteArray, what);
  std::vector<float> weights = *syntheticTensor(Distribution::Gauss, {64, 128}, 1).readAll();
  std::fill_n(weights.begin() + place, length, value);
  const auto findings = lintValues(Tensor::fromFloats("layer.weight", {64, 128}, std::move(weights)), {});
  QVERIFY(findings);
  QCOMPARE(findings->size(), std::size_t{rule.isEmpty() ? 0u : 1u});
  if (rule.isEmpty()) return;
  const Finding& finding = findings->front();
  QCOMPARE(finding.tensor, std::string("layer.weight"));
  QCOMPARE(finding.rule, rule.toStdString());
  QVERIFY2(finding.what.rfind(what.toStdString(), 0) == 0, finding.what.c_str());
  QVERIFY(finding.severity == findLintRule(finding.rule)->severity);
}

void TestLint::types() {
  std::vector<TensorEntry> entries{entry("a.weight", DType::F32, {8, 8}), entry("b.weight", DType::F32, {8, 8}),
                                   entry("c.weight", DType::F32, {8, 8}), entry("d.weight", DType::BF16, {8, 8}),
                                   entry("a.norm", DType::F16, {8}),      entry("b.norm", DType::F32, {8}),
                                   entry("ids", DType::I64, {8})};
  auto findings = lintHeaders(entries);
  QCOMPARE(findings.size(), std::size_t{1});  // two vectors are too few to say which is odd
  QCOMPARE(findings[0].tensor, std::string("d.weight"));
  QCOMPARE(findings[0].what, std::string("BF16, where nearly all matrices are F32"));
  entries.push_back(entry("c.norm", DType::F32, {8}));
  entries.push_back(entry("d.norm", DType::F32, {8}));
  findings = lintHeaders(entries);
  QCOMPARE(findings.size(), std::size_t{2});
  QCOMPARE(findings[1].what, std::string("F16, where nearly all vectors are F32"));
  entries.push_back(entry("e.weight", DType::BF16, {8, 8}));  // two of five: a mixture that is meant
  QCOMPARE(lintHeaders(entries).size(), std::size_t{1});
}

void TestLint::emptyTensors() {
  const TensorEntry entries[] = {entry("nothing", DType::F32, {0, 64})};
  const auto findings = lintHeaders(entries);
  QCOMPARE(findings.size(), std::size_t{1});
  QCOMPARE(findings[0].what, std::string("no elements (0 x 64)"));
  QVERIFY(lintValues(Tensor::fromFloats("nothing", {0, 64}, {}), {})->empty());
}

void TestLint::vectorsMayBeConstant() {
  QVERIFY(lintValues(Tensor::fromFloats("norm.weight", {64}, std::vector<float>(64, 1.0f)), {})->empty());
  QVERIFY(lintValues(Tensor::fromFloats("bias", {64}, std::vector<float>(64, 0.0f)), {})->empty());
  const auto large = lintValues(Tensor::fromFloats("norm.weight", {2}, {1e5f, 1.0f}), {});
  QCOMPARE(large->size(), std::size_t{1});
  QCOMPARE(large->front().rule, std::string("beyond-float16"));
}

void TestLint::cancelled() {
  std::stop_source stop;
  stop.request_stop();
  Context context;
  context.stop = stop.get_token();
  QVERIFY(lintValues(syntheticTensor(Distribution::Gauss, {64, 64}), context).error().kind == ErrorKind::Cancelled);
}

QTEST_APPLESS_MAIN(TestLint)
#include "test_lint.moc"
