// SPDX-License-Identifier: GPL-3.0-or-later
// Packed checkpoints on the command line: info tells of two readings, decode takes either, diff ranks tensors and measures each
// against a reference, compare requantizes what is packed.
#include "core/io/checkpoint.h"
#include "tests/app/cli_runner.h"
#include "tests/support/files.h"

#include <QTemporaryDir>
#include <QtTest>

#include <cmath>

using namespace nibble;
using namespace nibble::test;
using nlohmann::json;

namespace {

const QString layer = "model.layers.0.self_attn.k_proj.weight";

QString packed(const QString& folder, const QString& file) {
  return QString::fromStdString((dataPath("packed") / folder.toStdString() / file.toStdString()).string());
}

std::vector<float> valuesOf(const QString& path) {
  const auto file = Checkpoint::open(path.toStdString());
  return file ? (*file)->read(std::size_t{0})->readAll().value_or(std::vector<float>{}) : std::vector<float>{};
}

}  // namespace

class TestCliPacked : public QObject {
  Q_OBJECT
  QTemporaryDir m_folder;
  QString file(const QString& name) const { return m_folder.filePath(name); }

 private slots:
  void infoTellsOfTwoReadings() {
    const QString silent = packed("ar-auto_gptq-W4A16-g32", "model.safetensors");
    const Ran ran = runCli({"info", silent, "--json"});
    QCOMPARE(ran.status, 0);
    const json document = ran.json();
    QCOMPARE(document["findings"].size(), std::size_t{1});
    QCOMPARE(document["findings"][0]["tensor"], json(layer.toStdString()));
    QVERIFY(document["findings"][0]["what"].get<std::string>().find("can be read as v1 or v2") == 0);
    QCOMPARE(document["tensors"][0]["readings"], json({"v1", "v2"}));
    QVERIFY(runCli({"info", silent}).out.contains("can be read as v1 or v2"));
    const json clear = runCli({"info", packed("gptq-4b-g32-asym", "model.safetensors"), "--json"}).json();
    QVERIFY(clear["findings"].empty());
    QVERIFY(!clear["tensors"][0].contains("readings"));
  }

  void decodeTakesEitherReading() {
    const QString model = packed("ar-auto_gptq-W4A16-g32", "model.safetensors");
    const Ran first = runCli({"decode", model, "--tensor", layer, "--out", file("d.npy"), "--json"});
    QCOMPARE(first.status, 0);
    QVERIFY(first.err.contains("--reading chooses"));
    const Ran one = runCli({"decode", model, "--tensor", layer, "--out", file("1.npy"), "--reading", "v1", "--json"});
    const Ran two = runCli({"decode", model, "--tensor", layer, "--out", file("2.npy"), "--reading", "v2", "--json"});
    QCOMPARE(one.status, 0);
    QCOMPARE(two.status, 0);
    QCOMPARE(one.err, QByteArray());
    QCOMPARE(two.json()["reading"], json("v2"));
    const auto expected = valuesOf(packed("ar-auto_gptq-W4A16-g32", "expected.safetensors"));
    QCOMPARE(valuesOf(file("d.npy")), expected);
    QCOMPARE(valuesOf(file("1.npy")), expected);
    QVERIFY(valuesOf(file("2.npy")) != expected);
    QCOMPARE(runCli({"decode", model, "--tensor", layer, "--out", file("3.npy"), "--reading", "v3"}).status, 1);
    QVERIFY(!QFile::exists(file("3.npy")));
    QCOMPARE(
        runCli({"decode", packed("bnb-nf4", "model.safetensors"), "--tensor", layer, "--out", file("3.npy"), "--reading", "v1"})
            .status,
        1);
  }

  void diffRanksTensors() {
    const auto other = floatArray("b", {64, 64}, std::vector<float>(4096, 0.25f));
    QVERIFY(writeNpz(file("a.npz").toStdString(),
                     {floatArray("a", {64, 64}, someWeights(4096)), floatArray("b", {64, 64}, someWeights(4096))}));
    QVERIFY(writeNpz(file("b.npz").toStdString(), {floatArray("a", {64, 64}, someWeights(4096)), other}));
    const Ran ran = runCli({"diff", file("a.npz"), file("b.npz"), "--json"});
    QCOMPARE(ran.status, 0);
    const json rows = ran.json();
    QCOMPARE(rows.size(), std::size_t{2});
    QCOMPARE(rows[0]["tensor"], json("b"));
    QCOMPARE(rows[1]["tensor"], json("a"));
    QCOMPARE(rows[1]["mse"], json(0.0));
    QVERIFY(rows[1]["sqnrDb"].is_null());
    for (const char* key : {"tensor", "a", "b", "mse", "sqnrDb", "maxError"}) QVERIFY(rows[0].contains(key));
    QVERIFY(runCli({"diff", file("a.npz"), file("b.npz")}).out.contains("SQNR dB"));
    QCOMPARE(runCli({"diff", file("a.npz"), file("missing.npz")}).status, 1);
    QCOMPARE(runCli({"diff", file("a.npz"), file("b.npz"), "--tensor", "a", "--json"}).json().size(), std::size_t{1});
  }

  // Two packed files of the same model against the original, and the figures of compare for the same layer.
  void diffOfTwoPackedFilesAgainstAReference() {
    const QString a = packed("gptq-4b-g32-asym", "model.safetensors"), b = packed("gptq-8b-g64-sym", "model.safetensors");
    const QString c = packed("gptq-8b-g64-sym", "expected.safetensors");
    const json rows = runCli({"diff", a, b, "--reference", c, "--json"}).json();
    QCOMPARE(rows.size(), std::size_t{1});
    QCOMPARE(rows[0]["a"], json("gptq 4 bit group 32"));
    QCOMPARE(rows[0]["b"], json("gptq 8 bit group 64"));
    QCOMPARE(rows[0]["reference"]["b"]["mse"], json(0.0));
    QVERIFY(rows[0]["reference"]["a"]["mse"].get<double>() > 0);
    QCOMPARE(rows[0]["reference"]["nearer"], json("b"));
    QVERIFY(std::fabs(rows[0]["mse"].get<double>() - rows[0]["reference"]["a"]["mse"].get<double>()) < 1e-12);
    QVERIFY(runCli({"diff", a, b, "--reference", c}).out.contains("B: SQNR dB"));
  }

  // Requantizing: the packed layer's values are the weights, the error is against the original.
  void compareRequantizesPackedLayers() {
    const QString model = packed("gptq-8b-g64-sym", "model.safetensors"),
                  original = packed("gptq-4b-g32-asym", "expected.safetensors");
    const json plain = runCli({"compare", model, "uniform:bits=4", "--tensor", layer, "--json"}).json();
    const json chain =
        runCli({"compare", model, "uniform:bits=4", "--tensor", layer, "--reference", original, "--json"}).json();
    const json bare =
        runCli({"compare", packed("gptq-8b-g64-sym", "expected.safetensors"), "uniform:bits=4", "--tensor", layer, "--json"})
            .json();
    QCOMPARE(plain["candidates"][0]["mse"], bare["candidates"][0]["mse"]);
    QVERIFY(plain["candidates"][0]["mse"] != chain["candidates"][0]["mse"]);
    QCOMPARE(chain["candidates"].size(), std::size_t{1});
    // A file of doubtful reading has a row for each.
    const json both = runCli({"compare", packed("ar-auto_gptq-W4A16-g32", "model.safetensors"), "uniform:bits=8", "--tensor",
                              layer, "--reference", packed("ar-auto_gptq-W4A16-g32", "expected.safetensors"), "--json"})
                          .json()["candidates"];
    QCOMPARE(both.size(), std::size_t{2});
    QCOMPARE(both[0]["reading"], json("v1"));
    QCOMPARE(both[1]["reading"], json("v2"));
    QVERIFY(both[0]["mse"].get<double>() * 10 < both[1]["mse"].get<double>());
  }

  // Fused layers of other settings, and a split that groups do not survive, fail the rules of the runtime that minds.
  void exportTellsWhatTheRuntimeMinds() {
    QVERIFY(QDir().mkpath(file("model")));
    QVERIFY(writeNpz(file("model.npz").toStdString(), {floatArray("l.o_proj.weight", {64, 192}, someWeights(64 * 192)),
                                                       floatArray("l.q_proj.weight", {64, 192}, someWeights(64 * 192))}));
    const auto failing = [&](const QStringList& more) {
      const Ran ran = runCli(QStringList{"export", file("model.npz"), "uniform:bits=4,granularity=group,group=64", "--format",
                                         "gptq", "--target", "vllm", "--out", file("out"), "--dry-run", "--json"} +
                             more);
      QStringList rules;
      const json document = ran.json();
      for (const json& rule : document["preflight"])
        if (!rule["ok"]) rules += QString::fromStdString(rule["rule"].get<std::string>());
      return std::pair(ran.status, rules);
    };
    QCOMPARE(failing({}), std::pair(0, QStringList{}));
    QCOMPARE(failing({"--tp", "3"}).first, 3);  // 64 outputs over 3 cards
    QCOMPARE(failing({"--tp", "2"}).second, QStringList{"Groups and words stay whole on every card"});
  }
};

QTEST_APPLESS_MAIN(TestCliPacked)
#include "test_cli_packed.moc"
