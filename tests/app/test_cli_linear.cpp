// SPDX-License-Identifier: GPL-3.0-or-later
// The commands `linear` and `modules` as a user runs them.
#include "tests/app/cli_runner.h"
#include "core/io/checkpoint.h"

#include <QTemporaryDir>
#include <QtTest>

using namespace nibble;
using namespace nibble::test;

namespace {

constexpr const char* myNet = R"({"name": "", "type": "MyNet", "children": [{"name": "fc1", "type": "Linear"},
  {"name": "relu", "type": "ReLU"}, {"name": "fc2", "type": "Linear"}, {"name": "fc3", "type": "MyLinear"},
  {"name": "seq", "type": "Sequential", "children": [{"name": "0", "type": "Linear"}, {"name": "1", "type": "ReLU"},
  {"name": "2", "type": "Linear"}, {"name": "3", "type": "MyLinear"}]}]})";

}  // namespace

class TestCliLinear : public QObject {
  Q_OBJECT
  QTemporaryDir m_folder;
  QString path(const QString& name) const { return m_folder.filePath(name); }
  QString text(const QString& name, const char* content) const {
    QFile file(path(name));
    if (!file.open(QIODevice::WriteOnly) || file.write(content) < 0) qFatal("cannot write");
    return file.fileName();
  }
  QStringList linear(const QStringList& more) const {
    return QStringList{"linear", samplePath(), "--tensor", sampleTensor(), "--inputs", path("x.npy"), "--json"} + more;
  }

 private slots:
  void initTestCase() {
    auto values = someWeights(2 * 5 * 384);
    for (std::size_t i = 0; i < values.size(); ++i) values[i] *= i % 384 == 7 ? 900.0f : 20.0f;
    QVERIFY(writeNpy(path("x.npy").toStdString(), floatArray("x", {2, 5, 384}, values)).has_value());
  }

  void integersAndSimulation() {
    const Ran w8a8 = runCli(linear({"--weights", "uniform", "--activations", "uniform:granularity=token", "--outputs", path("y.npy")}));
    QVERIFY2(w8a8.status == 0, w8a8.err.constData());
    const auto json = w8a8.json();
    QVERIFY(json["integer"].get<bool>() && json["bias"].get<bool>());
    QVERIFY(json["outputMse"].get<double>() > 0 && json["outputSqnrDb"].get<double>() > 20);
    QVERIFY(json["cosine"].get<double>() > 0.99 && json["outputMaxError"].get<double>() > 0);
    QCOMPARE(json["shape"], (nlohmann::json{2, 5, 384}));
    const auto written = Checkpoint::open(path("y.npy").toStdString());
    QVERIFY(written.has_value());
    QCOMPARE((*written)->entries()[0].shape, (Shape{2, 5, 384}));

    const Ran columns = runCli(linear({"--weights", "uniform", "--activations", "uniform:granularity=channel"}));
    QVERIFY(!columns.json()["integer"].get<bool>());
    QVERIFY2(columns.err.contains("simulated"), columns.err.constData());
    const Ran plain = runCli(linear({}));
    QCOMPARE(plain.json()["outputMse"].get<double>(), 0.0);

    const double before = json["outputMse"];
    const Ran smooth = runCli(linear({"--weights", "uniform", "--activations", "uniform:granularity=token", "--smooth", "0.5"}));
    QVERIFY(smooth.json()["integer"].get<bool>());
    QVERIFY(smooth.json()["outputMse"].get<double>() < before);  // channel 7 is an outlier
    QVERIFY(!smooth.json()["smoothing"]["folds"].get<bool>());
    const Ran rounded = runCli(linear({"--weights", "uniform", "--activations", "uniform:granularity=token", "--quantize-output"}));
    QVERIFY(rounded.json()["outputMse"].get<double>() > before);
  }

  void whatIsWrongIsSaid_data() {
    QTest::addColumn<QStringList>("more");
    QTest::addColumn<int>("status");
    QTest::addColumn<QString>("says");
    QTest::newRow("fold") << QStringList{"--smooth", "0.5", "--fold", path("f.safetensors")} << 1 << "residual";
    QTest::newRow("alpha") << QStringList{"--smooth", "2"} << 1 << "0..1";
    QTest::newRow("output") << QStringList{"--quantize-output"} << 2 << "--activations";
    QTest::newRow("transform") << QStringList{"--activations", "smooth/uniform"} << 1 << "transforms";
    QTest::newRow("scheme") << QStringList{"--weights", "nonsense"} << 1 << "nonsense";
    QTest::newRow("source") << QStringList{"--outputs", path("x.npy")} << 1 << "source";
  }
  void whatIsWrongIsSaid() {
    QFETCH(QStringList, more);
    QFETCH(int, status);
    QFETCH(QString, says);
    const Ran ran = runCli(linear(more));
    QCOMPARE(ran.status, status);
    QVERIFY2(QString(ran.err).contains(says), ran.err.constData());
    QVERIFY(ran.out.isEmpty());
  }

  void modulesAreListedAndReplaced() {
    const QString tree = text("net.json", myNet);
    const Ran ran = runCli({"modules", tree, "--replace", "Linear=uniform:bits=8", "--skip", "lm_head", "--json"});
    QVERIFY2(ran.status == 0, ran.err.constData());
    QCOMPARE(ran.json()["replaced"], (nlohmann::json{"fc1", "fc2", "seq.0", "seq.2"}));
    QCOMPARE(ran.json()["modules"].size(), std::size_t{10});
    QCOMPARE(ran.json()["modules"][0], (nlohmann::json{{"name", ""}, {"type", "MyNet"}}));
    const auto skipped = runCli({"modules", tree, "--replace", "Linear=uniform", "--skip", "seq", "--skip", "fc2", "--json"}).json();
    QCOMPARE(skipped["replaced"], (nlohmann::json{"fc1"}));
    QCOMPARE(runCli({"modules", tree, "--replace", "MyLinear=nf4", "--json"}).json()["replaced"], (nlohmann::json{"fc3", "seq.3"}));
  }

  void badTreesAreRefusedWithThePlace_data() {
    QTest::addColumn<QString>("tree");
    QTest::addColumn<QString>("says");
    QTest::newRow("no JSON") << "{" << "no JSON";
    QTest::newRow("no type") << R"({"name": ""})" << "root: the module has no type";
    QTest::newRow("list") << "[]" << "root: a module is an object";
    QTest::newRow("name") << R"({"type": "A", "children": [{"type": "B"}]})" << "root.children[0]: the module has no name";
    QTest::newRow("dot") << R"({"type": "A", "children": [{"name": "a.b", "type": "B"}]})" << "root.children[0]: 'a.b' has a dot";
    QTest::newRow("twice") << R"({"type": "A", "children": [{"name": "a", "type": "B"}, {"name": "a", "type": "B"}]})" << "root.children[1]: a second";
    QTest::newRow("children") << R"({"type": "A", "children": [{"name": "a", "type": "B", "children": 3}]})" << "root.children[0].children: not a list";
    QTest::newRow("deep") << QString(R"({"name": "a", "type": "A", "children": [)").repeated(600) + QString("]}").repeated(600) << "levels deep";
  }
  void badTreesAreRefusedWithThePlace() {
    QFETCH(QString, tree);
    QFETCH(QString, says);
    const Ran ran = runCli({"modules", text("bad.json", tree.toUtf8()), "--json"});
    QCOMPARE(ran.status, 1);
    QVERIFY2(QString(ran.err).contains(says), ran.err.constData());
    QVERIFY(ran.out.isEmpty());
  }
};

QTEST_GUILESS_MAIN(TestCliLinear)
#include "test_cli_linear.moc"
