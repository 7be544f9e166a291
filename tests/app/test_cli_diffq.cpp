// SPDX-License-Identifier: GPL-3.0-or-later
// train --method diffq, lsq, ste on the command line: noise and logits out of files, the trace, several tensors under one size,
// learned bits through export and compare, resuming, refusals.
#include "core/io/checkpoint.h"
#include "core/train/layer_data.h"
#include "tests/app/cli_runner.h"
#include "tests/support/files.h"
#include "tests/support/train_numbers.h"

#include <QTemporaryDir>
#include <QtTest>

#include <cmath>
#include <limits>

using namespace nibble;
using namespace nibble::test;
using nlohmann::json;

namespace {

std::vector<double> waves(std::size_t count, double phase, double size) {
  std::vector<double> values(count);
  for (std::size_t i = 0; i < count; ++i) values[i] = size * std::sin(phase + 1.7 * static_cast<double>(i));
  return values;
}

const QString query = "encoder.layer.0.attention.self.query.weight", key = "encoder.layer.0.attention.self.key.weight";

}  // namespace

class TestCliDiffq : public QObject {
  Q_OBJECT
  QTemporaryDir m_folder;
  QString file(const QString& name) const { return m_folder.filePath(name); }
  // A quick run on two of the sample's 384 x 384 layers.
  static QStringList quick(const QStringList& more) {
    return QStringList{"train", samplePath(), "--tensor", query, "--tensor", key, "--rows", "16", "--json"} + more;
  }

 private slots:
  // One step from files in float64: what the trace holds follows from the formulas (parametrisation "bits").
  void oneStepFromFiles() {
    const std::size_t out = 3, in = 4, tokens = 5, group = 6;
    const auto w = waves(12, 1, 0.6), b = waves(3, 2, 0.1), x = waves(20, 3, 1.2), t = waves(15, 4, 1), e = waves(12, 5, 0.4);
    const std::vector<double> logits{0.4, -0.7};
    const std::string name = "layer.weight";
    QVERIFY(writeNpz(file("w.npz").toStdString(), {doubleArray(name, {out, in}, w), doubleArray("layer.bias", {out}, b)}));
    QVERIFY(writeNpy(file("x.npy").toStdString(), doubleArray("x", {tokens, in}, x)));
    QVERIFY(writeNpy(file("t.npy").toStdString(), doubleArray("t", {tokens, out}, t)));
    QVERIFY(writeNpz(file("e.npz").toStdString(), {doubleArray("1/" + name, {out * in / group, group}, e)}));
    QVERIFY(writeNpz(file("logits.npz").toStdString(), {doubleArray("logits", {2}, logits)}));
    const Ran ran = runCli({"train",    file("w.npz"), "--tensor",    "layer.weight",
                            "--method", "diffq",       "--dtype",     "f64",
                            "--inputs", file("x.npy"), "--targets",   file("t.npy"),
                            "--noise",  file("e.npz"), "--init",      file("logits.npz"),
                            "--group",  "6",           "--min-size",  "0",
                            "--lambda", "1000",        "--optimizer", "sgd",
                            "--lr",     "0.1",         "--lr-logits", "0.05",
                            "--steps",  "1",           "--trace",     file("trace.npz"),
                            "--json"});
    QCOMPARE(ran.err, QByteArray());
    QCOMPARE(ran.status, 0);
    double low = w[0], high = w[0], bitsSum = 0;
    for (const double value : w) low = std::min(low, value), high = std::max(high, value);
    std::vector<double> noisy(12), y(15), bits(2);
    for (std::size_t i = 0; i < 12; ++i) {
      const double s = 1 / (1 + std::exp(-logits[i / group]));
      bits[i / group] = 15 * s + 2 * (1 - s);
      noisy[i] = w[i] + (high - low) / (std::exp2(bits[i / group]) - 1) * e[i];
      bitsSum += bits[i / group];
    }
    double task = 0;
    std::vector<double> biasGradient(3);
    for (std::size_t n = 0; n < tokens; ++n)
      for (std::size_t i = 0; i < out; ++i) {
        double value = b[i];
        for (std::size_t j = 0; j < in; ++j) value += noisy[i * in + j] * x[n * in + j];
        y[n * out + i] = value;
        task += (value - t[n * out + i]) * (value - t[n * out + i]) / 15;
        biasGradient[i] += 2 * (value - t[n * out + i]) / 15;
      }
    const double sizeBits = bitsSum + 64 + 8 + 2 * std::ceil(std::log2(1 + std::nearbyint(bits[0]) - 2)) + 3 * 32;
    const json step = ran.json()["steps"][0];
    QVERIFY(near({step["taskLoss"].get<double>()}, {task}, 1e-9));
    QVERIFY(near({step["sizeMb"].get<double>()}, {sizeBits / 8388608}, 1e-12));
    QVERIFY(near({step["loss"].get<double>()}, {task + 1000 * sizeBits / 8388608}, 1e-9));
    const QString trace = file("trace.npz");
    QVERIFY(near(arrayOf(trace, "1/loss"), {task + 1000 * sizeBits / 8388608}, 1e-9));
    QVERIFY(near(arrayOf(trace, "1/output"), y, 1e-9));
    QVERIFY(near(arrayOf(trace, "1/grad/bias"), biasGradient, 1e-9));
    // SGD on weights and bias, Adam at its own rate on the logits: its first step is the rate against the gradient's sign.
    const auto gradient = arrayOf(trace, "1/grad/weight"), after = arrayOf(trace, "1/weight");
    QCOMPARE(gradient.size(), std::size_t{12});
    for (std::size_t i = 0; i < 12; ++i) QVERIFY(std::fabs(after[i] - (w[i] - 0.1 * gradient[i])) < 1e-12);
    const auto slope = arrayOf(trace, "1/grad/logits"), moved = arrayOf(trace, "1/logits");
    for (std::size_t g = 0; g < 2; ++g) QVERIFY(std::fabs(moved[g] - (logits[g] - (slope[g] > 0 ? 0.05 : -0.05))) < 1e-6);
  }

  // Two tensors under one size; the bits go out as a recipe, export packs them, compare measures them.
  void learnedBitsGoOn() {
    const Ran ran = runCli(quick(
        {"--method", "diffq", "--lambda", "0.5", "--steps", "30", "--lr", "0", "--lr-logits", "0.2", "--out", file("bits")}));
    QCOMPARE(ran.status, 0);
    const json document = ran.json(), last = document["final"];
    QCOMPARE(document["steps"].size(), std::size_t{30});
    for (const char* figure : {"taskLoss", "sizeMb", "trueSizeMb", "bitsMean", "bitsMin", "bitsMax"})
      QVERIFY2(document["steps"][29].contains(figure), figure);
    QVERIFY(document["steps"][29].contains(query.toStdString() + "/bitsMean"));
    QVERIFY(document["steps"][29]["gradNorm"].contains(key.toStdString() + "/logits"));
    QVERIFY(document["steps"][29]["sizeMb"].get<double>() < document["steps"][0]["sizeMb"].get<double>());
    QVERIFY(last["bitsMin"].get<double>() < last["bitsMax"].get<double>());
    QCOMPARE(last["files"], json({"weights.safetensors", "bits.safetensors", "recipe.json"}));
    const Ran packed = runCli({"export", file("bits/weights.safetensors"), "--recipe", file("bits/recipe.json"), "--format",
                               "diffq", "--out", file("packed"), "--json"});
    QCOMPARE(packed.err, QByteArray());
    QCOMPARE(packed.status, 0);
    QCOMPARE(packed.json()["verified"], json(true));
    const double weights = 2 * 384 * 384, bits = last["trueSizeMb"].get<double>() * 8388608 - 2 * 384 * 32;
    QVERIFY(std::fabs(packed.json()["bitsPerWeight"].get<double>() - bits / weights) < 1e-3);
    QVERIFY(std::fabs(last["bitsPerWeight"].get<double>() - bits / weights) < 1e-9);
    // The same bits as a scheme of the original file, whose weights have not moved.
    const Ran compared = runCli(
        {"compare", samplePath(), "diffq:bits=@" + file("bits/bits.safetensors"), "diffq:bits=2", "--tensor", query, "--json"});
    QCOMPARE(compared.err, QByteArray());
    const json rows = compared.json()["candidates"];
    QCOMPARE(rows.size(), std::size_t{2});
    QVERIFY(rows[0]["mse"].get<double>() < rows[1]["mse"].get<double>());
    QCOMPARE(rows[0]["sizeBytes"], packed.json()["tensors"][0]["sizeBytes"]);
    // Learned logits are a start again.
    const Ran table = runCli(
        {"train", samplePath(), "--tensor", query, "--tensor", key, "--rows", "16", "--method", "diffq", "--steps", "2"});
    QCOMPARE(table.status, 0);
    QVERIFY(table.out.contains("bitsMean") && table.out.contains("taskLoss"));
  }

  void resumesToTheSameBits() {
    const QStringList method{"--method", "diffq", "--lambda",     "0.3",     "--seed",  "5",
                             "--lr",     "1e-3",  "--noise-kind", "uniform", "--param", "noise"};
    const Ran whole = runCli(quick(method + QStringList{"--steps", "9", "--threads", "1"}));
    const Ran first = runCli(quick(method + QStringList{"--steps", "4", "--checkpoint", file("run")}));
    const Ran second = runCli(quick(method + QStringList{"--steps", "9", "--resume", file("run")}));
    QCOMPARE(whole.status, 0);
    QCOMPARE(first.status, 0);
    QCOMPARE(second.out, whole.out);
    QCOMPARE(runCli(quick({"--method", "diffq", "--lambda", "0.4", "--steps", "9", "--resume", file("run")})).status, 1);
  }

  void fixedBits() {
    for (const char* method : {"lsq", "ste"}) {
      const QString out = file(method);
      const Ran ran = runCli(
          quick({"--method", method, "--bits", "3", "--steps", "25", "--lr", "1e-4", "--optimizer", "adam", "--out", out}));
      QCOMPARE(ran.status, 0);
      const json last = ran.json()["final"];
      QVERIFY2(last["loss"].get<double>() < last["startLoss"].get<double>(), method);
      QCOMPARE(last["bitsMean"], json(3.0));
      const Ran packed = runCli({"export", out + "/weights.safetensors", "--recipe", out + "/recipe.json", "--format", "npz",
                                 "--out", file(QString(method) + ".npz"), "--json"});
      QCOMPARE(packed.err, QByteArray());
      QCOMPARE(packed.status, 0);
    }
  }

  void whatStaysFloat() {
    const QStringList method{"--method", "diffq", "--steps", "1", "--exclude", "*.key.weight"};
    const Ran plain = runCli(quick(method)), half = runCli(quick(method + QStringList{"--float16"}));
    QCOMPARE(plain.status, 0);
    QVERIFY(!plain.json()["steps"][0]["gradNorm"].contains(key.toStdString() + "/logits"));
    const double saved = plain.json()["steps"][0]["sizeMb"].get<double>() - half.json()["steps"][0]["sizeMb"].get<double>();
    QVERIFY(std::fabs(saved - 16.0 * (384 * 384 + 2 * 384) / 8388608) < 1e-12);
    const Ran all = runCli(quick({"--method", "diffq", "--steps", "1", "--min-size", "1"}));
    QCOMPARE(all.status, 0);
    QVERIFY(all.err.contains("no tensor is quantized"));
  }

  void refusals() {
    const auto said = [&](const QStringList& more, int status) {
      const Ran ran = runCli(quick(QStringList{"--method", "diffq", "--steps", "1"} + more));
      return ran.status == status && ran.out.isEmpty() ? ran.err : "status " + QByteArray::number(ran.status) + ": " + ran.err;
    };
    QVERIFY(said({"--group", "7"}, 1).contains("does not divide"));
    QVERIFY(said({"--init-bits", "15"}, 1).contains("fewest < first < most"));
    QVERIFY(said({"--lambda", "-1"}, 1).contains("lambda"));
    QVERIFY(said({"--param", "other"}, 2).contains("--param"));
    QVERIFY(said({"--base", "nf4"}, 2).contains("no base"));
    QVERIFY(said({"--noise", file("none.npz")}, 1).contains("none.npz"));
    QVERIFY(said({"--init", file("none.npz")}, 1).contains("none.npz"));
    QVERIFY(writeNpz(file("few.npz").toStdString(), {doubleArray(query.toStdString() + "/logits", {2}, {0, 0})}));
    QVERIFY(said({"--init", file("few.npz")}, 1).contains("2 logits are given, 18432 are needed"));
    QVERIFY(writeNpz(file("nan.npz").toStdString(),
                     {doubleArray(query.toStdString() + "/logits", {2}, {0, std::numeric_limits<double>::quiet_NaN()})}));
    QVERIFY(said({"--init", file("nan.npz")}, 1).contains("nan"));
    QCOMPARE(runCli(quick({"--method", "lsq", "--bits", "9", "--steps", "1"})).status, 1);
    QCOMPARE(runCli(quick({"--method", "lora", "--steps", "1"})).status, 2);  // several tensors
  }
};

QTEST_APPLESS_MAIN(TestCliDiffq)
#include "test_cli_diffq.moc"
