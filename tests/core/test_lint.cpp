// SPDX-License-Identifier: GPL-3.0-or-later
// Every rule finds what it is for, and only that; the bundled sample says what it should.
#include "core/report/lint.h"
#include "core/tensor/synthetic.h"
#include "tests/support/golden.h"

#include <QtTest>
#include <cmath>
#include <limits>
#include <set>

using namespace nibble;

class TestLint : public QObject {
  Q_OBJECT
 private slots:
  void rulesExplainThemselves();
  void empty();
  void oddTypeAmongLayers();
  void oddTypeAmongVectors();
  void mixedFileHasNoUsualType();
  void columnsAndBlocks();
  void nonFinite();
  void constantTensor();
  void zeroRows();
  void denormals();
  void outliers();
  void ordinaryWeights();
  void integersAreLeftAlone();
  void sample();
  void stops();
};

namespace {

TensorEntry entry(const std::string& name, DType type, Shape shape) {
  return {name, type, shape, 0, 0};
}

std::vector<Finding> lintOf(std::vector<float> values, Shape shape) {
  return *lintValues(Tensor::fromFloats("w", std::move(shape), std::move(values)), {});
}

std::vector<float> gauss(std::uint64_t rows, std::uint64_t columns) {
  return *syntheticTensor(Distribution::Gauss, {rows, columns}, 4).readAll();
}

std::vector<std::string> rulesOf(const std::vector<Finding>& findings) {
  std::vector<std::string> rules;
  for (const Finding& finding : findings) rules.push_back(finding.rule);
  return rules;
}

using Names = std::vector<std::string>;

}  // namespace

void TestLint::rulesExplainThemselves() {
  std::set<std::string_view> ids;
  for (const LintRule& rule : lintRules()) {
    QVERIFY(ids.insert(rule.id).second);
    QVERIFY(rule.explanation.size() > 20);
    QCOMPARE(findLintRule(rule.id), &rule);
  }
  QVERIFY(findLintRule("no such rule") == nullptr);
  QVERIFY(name(Severity::Warning) == "warning" && name(Severity::Note) == "note");
}

void TestLint::empty() {
  const auto findings = lintHeaders(std::vector{entry("a", DType::F32, {4, 0}), entry("b", DType::F32, {})});
  QCOMPARE(findings.size(), std::size_t{1});
  QCOMPARE(findings[0], (Finding{Severity::Warning, "a", "no elements (4 x 0)", "empty"}));
}

void TestLint::oddTypeAmongLayers() {
  std::vector<TensorEntry> entries;
  for (int layer = 0; layer < 12; ++layer) {
    const std::string p = "layers." + std::to_string(layer);
    entries.push_back(entry(p + ".q.weight", layer == 10 ? DType::F32 : DType::BF16, {64, 256}));
    entries.push_back(entry(p + ".router.weight", DType::F32, {8, 256}));  // F32 in every layer: meant so
    entries.push_back(entry(p + ".k.weight", DType::BF16, {64, 256}));
    entries.push_back(entry(p + ".v.weight", DType::BF16, {64, 256}));
    entries.push_back(entry(p + ".o.weight", DType::BF16, {64, 256}));
  }
  const auto findings = lintHeaders(entries);
  QCOMPARE(rulesOf(findings), (Names{"odd-dtype"}));
  QCOMPARE(findings[0].tensor, std::string("layers.10.q.weight"));
  QCOMPARE(findings[0].what, std::string("F32, where nearly all layers.#.q.weight are BF16"));
  QVERIFY(findings[0].severity == Severity::Note);
}

void TestLint::oddTypeAmongVectors() {
  std::vector<TensorEntry> entries;
  for (const char* name : {"a.bias", "b.bias", "c.bias", "norm.weight"}) entries.push_back(entry(name, DType::F32, {64}));
  entries.push_back(entry("final_norm.weight", DType::F16, {64}));
  entries.push_back(entry("ids", DType::I64, {64}));
  const auto findings = lintHeaders(entries);
  QCOMPARE(findings.size(), std::size_t{1});
  QCOMPARE(findings[0].tensor, std::string("final_norm.weight"));
  QCOMPARE(findings[0].what, std::string("F16, where nearly all vectors are F32"));
}

void TestLint::mixedFileHasNoUsualType() {
  std::vector<TensorEntry> entries;
  for (const char* name : {"a", "b", "c"}) entries.push_back(entry(name, DType::F32, {64, 256}));
  for (const char* name : {"d", "e", "f"}) entries.push_back(entry(name, DType::BF16, {64, 256}));
  QVERIFY(lintHeaders(entries).empty());
  QVERIFY(lintHeaders({}).empty());
}

void TestLint::columnsAndBlocks() {
  const auto findings = lintHeaders(std::vector{entry("a", DType::F32, {384, 384}), entry("b", DType::F32, {384, 1536}),
                                                entry("c", DType::F32, {100, 50}), entry("d", DType::F32, {384, 640}),
                                                entry("tiny", DType::F32, {3, 5})});
  QCOMPARE(rulesOf(findings), (Names{"odd-columns", "narrow-blocks"}));
  QCOMPARE(findings[0].tensor, std::string("c"));
  QVERIFY2(findings[0].what.starts_with("50 columns, no multiple of 32"), findings[0].what.c_str());
  QVERIFY2(findings[0].what.find("; refused with default settings by hqq") != std::string::npos, findings[0].what.c_str());
  QCOMPARE(findings[1].tensor, std::string());
  QVERIFY2(findings[1].what.starts_with("blocks of 256 do not divide the columns of 2 matrices, the first a (384 x 384)"),
           findings[1].what.c_str());
}

void TestLint::nonFinite() {
  auto values = gauss(64, 48);
  values[48 * 3 + 7] = std::numeric_limits<float>::quiet_NaN();
  auto findings = lintOf(values, {64, 48});
  QCOMPARE(findings.size(), std::size_t{1});
  QCOMPARE(findings[0], (Finding{Severity::Warning, "w", "1 weight is NaN or infinite, the first at [3, 7]", "non-finite"}));
  values[2] = HUGE_VALF;
  QCOMPARE(lintOf(values, {64, 48})[0].what, std::string("2 weights are NaN or infinite, the first at [0, 2]"));
}

void TestLint::constantTensor() {
  QCOMPARE(lintOf(std::vector<float>(384, 1.0f), {384})[0].what, std::string("all 384 weights are 1"));
  QCOMPARE(rulesOf(lintOf(std::vector<float>(384, 0.0f), {3, 128})), (Names{"constant"}));  // not three zero rows besides
  QVERIFY(lintOf({5}, {1}).empty());
}

void TestLint::zeroRows() {
  auto values = gauss(10, 700);
  for (const std::size_t row : {4, 9}) std::fill_n(values.begin() + static_cast<std::ptrdiff_t>(row * 700), 700, 0.0f);
  values[9 * 700 + 5] = -0.0f;
  const auto findings = lintOf(values, {10, 700});
  QCOMPARE(findings.size(), std::size_t{1});
  QCOMPARE(findings[0], (Finding{Severity::Warning, "w", "2 of 10 rows are all zero, the first is row 4", "zero-rows"}));
  values[9 * 700 + 699] = 0.1f;  // the last weight alone
  QCOMPARE(lintOf(values, {10, 700})[0].what, std::string("1 of 10 rows is all zero, the first is row 4"));
}

void TestLint::denormals() {
  auto values = gauss(16, 16);
  values[3] = 0x1p-127f;
  values[4] = 0x1p-126f;
  values[5] = 0;
  const auto findings = lintOf(values, {16, 16});
  QCOMPARE(rulesOf(findings), (Names{"denormals"}));
  QVERIFY(findings[0].what.starts_with("1 weight is denormal"));
}

void TestLint::outliers() {
  auto values = gauss(128, 128);
  values[77] = -0.50f;  // 25 standard deviations of 0.02
  QVERIFY(lintOf(values, {128, 128}).empty());
  values[77] = -1.00f;
  const auto findings = lintOf(values, {128, 128});
  QCOMPARE(rulesOf(findings), (Names{"outliers"}));
  QVERIFY2(findings[0].what.starts_with("the largest weight is 4") && findings[0].what.find("max |w| 1,") != std::string::npos,
           findings[0].what.c_str());
  QVERIFY(lintOf(values, {128 * 128}).empty());  // a bias or norm is no matrix
}

void TestLint::ordinaryWeights() {
  QVERIFY(lintOf(gauss(300, 100), {300, 100}).empty());
}

void TestLint::integersAreLeftAlone() {
  const std::vector<std::uint8_t> zeros(64);
  const Tensor tensor("codes", DType::U8, {8, 8}, std::as_bytes(std::span(zeros)), nullptr);
  QVERIFY(lintValues(tensor, {})->empty());
}

void TestLint::sample() {
  const auto checkpoint = Checkpoint::open(test::resourcePath("sample/minilm-sample.safetensors"));
  QVERIFY(checkpoint.has_value());
  std::vector<std::string> lines;
  for (const Finding& finding : lintHeaders((*checkpoint)->entries())) lines.push_back(finding.tensor + ": " + finding.what);
  for (std::size_t i = 0; i < (*checkpoint)->entries().size(); ++i) {
    const auto tensor = (*checkpoint)->read(i);
    QVERIFY(tensor.has_value());
    const auto findings = lintValues(*tensor, {});
    QVERIFY(findings.has_value());
    for (const Finding& finding : *findings) lines.push_back(finding.tensor + ": " + finding.what);
  }
  QCOMPARE(lines.size(), std::size_t{3});
  QCOMPARE(lines[0], std::string("embeddings.word_embeddings.weight: F16, where nearly all matrices are BF16"));
  QVERIFY2(lines[1].starts_with(": blocks of 256 do not divide the columns of 6 matrices"), lines[1].c_str());
  QVERIFY2(lines[2].starts_with("encoder.layer.0.output.dense.weight: the largest weight is 175 standard deviations"),
           lines[2].c_str());
}

void TestLint::stops() {
  std::stop_source source;
  source.request_stop();
  Context context;
  context.stop = source.get_token();
  QVERIFY(lintValues(syntheticTensor(Distribution::Gauss, {64, 64}), context).error().kind == ErrorKind::Cancelled);
}

QTEST_APPLESS_MAIN(TestLint)
#include "test_lint.moc"
