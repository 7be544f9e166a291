// SPDX-License-Identifier: GPL-3.0-or-later
// Two checkpoints tensor by tensor: figures against sums written out here, matching of names, ranking, the reference.
#include "core/io/npy.h"
#include "core/run/diff.h"
#include "tests/support/files.h"
#include "tests/support/golden.h"

#include <QtTest>

#include <cmath>

using namespace nibble;

namespace {

using Tensors = std::vector<std::pair<std::string, std::vector<float>>>;

std::unique_ptr<WeightList> listOf(const test::ScratchFolder& scratch, const std::string& name, const Tensors& tensors) {
  test::writeWhole(scratch.file(name), test::safetensorsOf(tensors));
  auto opened = Checkpoint::open(scratch.file(name));
  if (!opened) qFatal("%s", opened.error().message.c_str());
  return std::make_unique<WeightList>(*opened);
}

std::vector<float> wave(std::size_t count, float phase) {
  std::vector<float> values(count);
  for (std::size_t i = 0; i < count; ++i) values[i] = std::sin(static_cast<float>(i) * 0.11f + phase);
  return values;
}

}  // namespace

class TestDiff : public QObject {
  Q_OBJECT
  test::ScratchFolder m_scratch;

 private slots:
  void figures() {
    const auto x = wave(70000, 0), y = wave(70000, 0.01f);
    const auto a = listOf(m_scratch, "a.safetensors", {{"w", x}}), b = listOf(m_scratch, "b.safetensors", {{"w", y}});
    const auto rows = diff({a.get(), b.get(), nullptr, {}, {}}, {});
    QVERIFY(rows.has_value());
    QCOMPARE(rows->size(), std::size_t{1});
    double error = 0, weight = 0, largest = 0;
    for (std::size_t i = 0; i < x.size(); ++i) {
      const double e = double(x[i]) - double(y[i]);
      error += e * e;
      weight += double(x[i]) * x[i];
      largest = std::max(largest, double(std::fabs(x[i] - y[i])));
    }
    const ErrorReport& report = (*rows)[0].difference;
    QVERIFY(std::fabs(report.mse() - error / 70000) < 1e-12 * report.mse());
    QVERIFY(std::fabs(report.sqnrDb() - 10 * std::log10(weight / error)) < 1e-9);
    QCOMPARE(report.maxError(), largest);
    QCOMPARE((*rows)[0].a.storedAs, std::string("F32"));
    QVERIFY(!(*rows)[0].aFromReference);
  }

  void ranksAndMatches() {
    std::vector<std::string> warnings;
    const auto x = wave(64, 0);
    std::vector<float> slightly = x, far = x;
    slightly[3] += 0.001f;
    far[5] += 10;
    const auto a = listOf(m_scratch, "a.safetensors",
                          {{"same", x}, {"slight", x}, {"layers.0.far", x}, {"only.a", x}, {"other.shape", wave(8, 0)}});
    const auto b = listOf(m_scratch, "b.safetensors",
                          {{"same", x}, {"slight", slightly}, {"model.layers.0.far", far}, {"only.b", x}, {"other.shape", x}});
    DiffJob job{a.get(), b.get(), nullptr, {}, [&](const std::string& line) { warnings.push_back(line); }};
    const auto rows = diff(job, {});
    QVERIFY(rows.has_value());
    std::vector<std::string> names;
    for (const DiffedTensor& row : *rows) names.push_back(row.a.name);
    QCOMPARE(names, (std::vector<std::string>{"layers.0.far", "slight", "same"}));
    QCOMPARE((*rows)[0].b.name, std::string("model.layers.0.far"));
    QCOMPARE((*rows)[2].difference.mse(), 0.0);
    QVERIFY(std::isinf((*rows)[2].difference.sqnrDb()));
    QCOMPARE(warnings.size(), std::size_t{3});
    QVERIFY(warnings[0].find("other.shape is 8 in A and 64 in B") != std::string::npos);
    QVERIFY(warnings[1].find("1 tensor is only in A: only.a") != std::string::npos);
    QVERIFY(warnings[2].find("1 tensor is only in B: only.b") != std::string::npos);

    job.tensors = {"layers.0.far"};
    QCOMPARE(diff(job, {})->size(), std::size_t{1});
    for (const char* name : {"only.a", "other.shape", "nowhere"}) {
      job.tensors = {name};
      QVERIFY(!diff(job, {}).has_value());
    }
  }

  // Two possible partners are none.
  void ambiguousNamesAreNotMatched() {
    const auto a = listOf(m_scratch, "a.safetensors", {{"w", wave(4, 0)}});
    const auto b = listOf(m_scratch, "b.safetensors", {{"x.w", wave(4, 1)}, {"y.w", wave(4, 2)}});
    const auto rows = diff({a.get(), b.get(), nullptr, {}, {}}, {});
    QVERIFY(!rows && rows.error().message.find("no tensor of A") != std::string::npos);
  }

  void reference() {
    const auto x = wave(256, 0);
    std::vector<float> near = x, far = x;
    for (std::size_t i = 0; i < x.size(); ++i) {
      near[i] += 0.01f;
      far[i] -= 0.1f;
    }
    const auto a = listOf(m_scratch, "a.safetensors", {{"w", near}}), b = listOf(m_scratch, "b.safetensors", {{"w", far}}),
               c = listOf(m_scratch, "c.safetensors", {{"w", x}});
    const auto rows = diff({a.get(), b.get(), c.get(), {}, {}}, {});
    QVERIFY(rows.has_value());
    const DiffedTensor& row = (*rows)[0];
    QVERIFY(row.aFromReference && row.bFromReference);
    QVERIFY(std::fabs(row.aFromReference->mse() - 1e-4) < 1e-7);
    QVERIFY(std::fabs(row.bFromReference->mse() - 1e-2) < 1e-6);
    QVERIFY(std::fabs(row.aFromReference->meanError() + 0.01) < 1e-6);  // reference - A
  }

  // A packed layer takes part under its module's name with what its library decodes it to.
  void packedLayers() {
    for (const char* folder : {"gptq-4b-g32-desc_act", "awq-autoawq-4b-g32", "hqq-4b-g64-ax1", "bnb-nf4"}) {
      const auto path = test::dataPath("packed") / folder;
      const WeightList a(*Checkpoint::open(path / "model.safetensors")), b(*Checkpoint::open(path / "expected.safetensors"));
      const auto rows = diff({&a, &b, nullptr, {}, {}}, {});
      QVERIFY2(rows.has_value(), folder);
      QCOMPARE((*rows)[0].difference.sums.errorSquared, 0.0);
      QCOMPARE((*rows)[0].a.storedAs, a.packedLayers()[0].layer.description);
      QVERIFY((*rows)[0].a.bitsPerWeight < 8);
    }
  }

  void stops() {
    const auto a = listOf(m_scratch, "a.safetensors", {{"w", wave(64, 0)}});
    std::stop_source source;
    source.request_stop();
    Context context;
    context.stop = source.get_token();
    const auto rows = diff({a.get(), a.get(), nullptr, {}, {}}, context);
    QVERIFY(!rows && rows.error().kind == ErrorKind::Cancelled);
  }
};

QTEST_APPLESS_MAIN(TestDiff)
#include "test_diff.moc"
