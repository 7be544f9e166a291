// SPDX-License-Identifier: GPL-3.0-or-later
// train on the command line: PEFT's numbers through files, the contract's JSON and trace, adapters out, resuming, refusals.
#include "core/io/checkpoint.h"
#include "core/train/layer_data.h"
#include "tests/app/cli_runner.h"
#include "tests/support/files.h"
#include "tests/support/train_numbers.h"

#include <QProcess>
#include <QTemporaryDir>
#include <QtTest>

#include <cmath>
#include <limits>

using namespace nibble;
using namespace nibble::test;
using nlohmann::json;

namespace {

}  // namespace

class TestCliTrain : public QObject {
  Q_OBJECT
  QTemporaryDir m_folder;
  QString file(const QString& name) const { return m_folder.filePath(name); }
  // A quick run on the sample's 384 x 384 layer.
  static QStringList quick(const QStringList& more) {
    return QStringList{"train", samplePath(), "--tensor", sampleTensor(), "--rank", "4", "--rows", "16", "--json"} + more;
  }

 private slots:
  // Float64 files in, three steps, the same numbers as PEFT and PyTorch.
  void referenceThroughFiles() {
    const json golden = loadJson("dora.json").at("cases").at(0);
    const json &input = golden.at("input"), &settings = golden.at("settings"), &expect = golden.at("expect");
    const auto array = [&](const char* key, const std::string& name) {
      return doubleArray(name, input.at(key).is_object() ? input.at(key).at("shape").get<Shape>() : Shape{input.at(key).size()},
                         numbers(input.at(key)));
    };
    QVERIFY(writeNpz(file("w.npz").toStdString(), {array("weight", "layer.weight"), array("bias", "layer.bias")}));
    QVERIFY(writeNpy(file("x.npy").toStdString(), array("x", "x")));
    QVERIFY(writeNpy(file("t.npy").toStdString(), array("target", "t")));
    QVERIFY(writeNpz(file("start.npz").toStdString(),
                     {array("A", "lora_A"), array("B", "lora_B"), array("magnitude", "lora_magnitude_vector")}));
    const auto number = [&](const char* key) { return QString::number(settings.at(key).get<double>(), 'g', 17); };
    const Ran ran = runCli({"train",          file("w.npz"),
                            "--tensor",       "layer.weight",
                            "--method",       "dora",
                            "--rank",         number("r"),
                            "--alpha",        number("lora_alpha"),
                            "--scaling",      "rank",
                            "--optimizer",    "adamw",
                            "--lr",           number("lr"),
                            "--beta1",        "0.9",
                            "--beta2",        "0.99",
                            "--epsilon",      number("eps"),
                            "--weight-decay", number("weight_decay"),
                            "--dtype",        "f64",
                            "--loss",         "mse",
                            "--inputs",       file("x.npy"),
                            "--targets",      file("t.npy"),
                            "--init",         file("start.npz"),
                            "--steps",        "3",
                            "--trace",        file("trace.npz"),
                            "--json"});
    QCOMPARE(ran.err, QByteArray());
    QCOMPARE(ran.status, 0);
    const json document = ran.json();
    QCOMPARE(document["steps"].size(), std::size_t{3});
    QVERIFY(near({document["steps"][0]["loss"].get<double>()}, numbers(expect.at("loss")), 1e-9));
    QVERIFY(near({document["final"]["loss"].get<double>()}, numbers(expect.at("adamw_steps")[2].at("loss_after")), 1e-9));
    QCOMPARE(document["steps"][2]["moved"]["magnitude"], json({6, 6}));
    for (const char* key : {"A", "B", "magnitude"}) QVERIFY(document["steps"][0]["gradNorm"][key].get<double>() > 0);
    const QString trace = file("trace.npz");
    QVERIFY(near(arrayOf(trace, "1/loss"), numbers(expect.at("loss")), 1e-9));
    QVERIFY(near(arrayOf(trace, "1/output"), numbers(expect.at("y")), 1e-9));
    const std::pair<const char*, const char*> names[] = {{"A", "A"}, {"B", "B"}, {"magnitude", "m"}};
    for (const auto& [ours, theirs] : names) {
      QVERIFY(near(arrayOf(trace, std::string("1/grad/") + ours), numbers(expect.at("grad").at(theirs)), 1e-9));
      for (int step = 1; step <= 3; ++step)
        QVERIFY(near(arrayOf(trace, std::to_string(step) + "/" + ours),
                     numbers(expect.at("adamw_steps")[static_cast<std::size_t>(step - 1)].at("values").at(theirs)), 1e-9));
    }
  }

  void adapterFolder() {
    const Ran ran = runCli(quick({"--method", "qdora", "--base", "minmax:bits=3", "--alpha", "8", "--steps", "5", "--lr",
                                  "0.01", "--out", file("adapter")}));
    QCOMPARE(ran.status, 0);
    const json last = ran.json()["final"];
    for (const char* key : {"startLoss", "loss", "baseLoss", "mergedLoss", "requantizedLoss", "requantizedWeightMse"})
      QVERIFY2(last.contains(key) && last[key].get<double>() > 0, key);
    QVERIFY(last["loss"].get<double>() < last["baseLoss"].get<double>());
    QVERIFY(std::fabs(last["mergedLoss"].get<double>() / last["loss"].get<double>() - 1) < 1e-3);
    const json config = json::parse(readWhole(file("adapter/adapter_config.json").toStdString()));
    QCOMPARE(config["peft_type"], json("LORA"));
    QCOMPARE(config["r"], json(4));
    QCOMPARE(config["lora_alpha"], json(8));
    QCOMPARE(config["use_dora"], json(true));
    QCOMPARE(config["use_rslora"], json(false));
    QCOMPARE(config["target_modules"], json({"encoder.layer.0.attention.self.query"}));
    const auto model = Checkpoint::open(file("adapter/adapter_model.safetensors").toStdString());
    QVERIFY(model);
    const std::string head = "base_model.model.encoder.layer.0.attention.self.query.";
    QCOMPARE((*model)->read(head + "lora_A.weight")->shape(), (Shape{4, 384}));
    QCOMPARE((*model)->read(head + "lora_B.weight")->shape(), (Shape{384, 4}));
    QCOMPARE((*model)->read(head + "lora_magnitude_vector")->shape(), (Shape{384}));
    QCOMPARE(arrayOf(file("adapter/merged.safetensors"), sampleTensor().toStdString()).size(), std::size_t{384 * 384});
    // The folder is a start like any other, under PEFT's names.
    const Ran again = runCli(quick({"--method", "qdora", "--base", "minmax:bits=3", "--alpha", "8", "--steps", "0", "--init",
                                    file("adapter/adapter_model.safetensors")}));
    QCOMPARE(again.status, 0);
    QVERIFY(std::fabs(again.json()["final"]["loss"].get<double>() / last["loss"].get<double>() - 1) < 1e-5);
    // Never over what is there.
    QCOMPARE(runCli(quick({"--method", "lora", "--steps", "1", "--out", file("adapter")})).status, 1);
  }

  // Packed weights that train: codes flipped in every step, saved and gone on from, written as a packed checkpoint.
  void packedWeights() {
    const QStringList method{"--method", "mbwq", "--base", "mbwq:bits=4", "--lr", "0.01", "--residual"};
    const Ran whole = runCli(quick(method + QStringList{"--steps", "10", "--out", file("packed")}));
    QCOMPARE(whole.status, 0);
    QVERIFY(whole.err.contains("--rank means nothing to mbwq"));
    const json document = whole.json();
    std::uint64_t flipped = 0;
    for (const json& step : document["steps"]) {
      QCOMPARE(step["moved"]["codes"][1], json(384 * 384));
      flipped += step["moved"]["codes"][0].get<std::uint64_t>();
    }
    QVERIFY(flipped > 100 && document["final"]["changedShare"].get<double>() > 0);
    QCOMPARE(document["final"]["baseLoss"], document["final"]["startLoss"]);
    QVERIFY(std::fabs(document["final"]["bitsPerWeight"].get<double>() - 5) < 0.1);
    QCOMPARE(runCli(quick(method + QStringList{"--steps", "6", "--checkpoint", file("codes")})).status, 0);
    const Ran second = runCli(quick(method + QStringList{"--steps", "10", "--resume", file("codes")}));
    QCOMPARE(second.json()["steps"], document["steps"]);
    const Ran info = runCli({"info", file("packed/packed.safetensors"), "--json"});
    QVERIFY2(info.out.contains("quantizedAs") && info.out.contains("mbwq"), info.out.constData());
    const Ran own = runCli(quick({"--method", "mbwq"}));  // quantized by the scheme of that name
    QCOMPARE(own.status, 0);
    QVERIFY2(own.out.contains("bitsPerWeight"), own.out.constData());
    QCOMPARE(runCli(quick({"--method", "mbwq", "--base", "mbwq:bits=4", "--rounding", "other"})).status, 2);
  }

  void resumesToTheSameBits() {
    const QStringList method{"--method", "qdora", "--base", "hqq:bits=3", "--seed", "5", "--lr", "0.003"};
    const Ran whole = runCli(quick(method + QStringList{"--steps", "12", "--threads", "1"}));
    const Ran first = runCli(quick(method + QStringList{"--steps", "7", "--checkpoint", file("run")}));
    const Ran second = runCli(quick(method + QStringList{"--steps", "12", "--resume", file("run")}));
    QCOMPARE(whole.status, 0);
    QCOMPARE(first.status, 0);
    QCOMPARE(second.status, 0);
    QCOMPARE(second.out, whole.out);
    QCOMPARE(runCli(quick({"--method", "lora", "--steps", "12", "--resume", file("run")})).status, 1);
  }

  // Too little room for a checkpoint: said with the step, and the run so far is kept as it was.
  void fullDiskKeepsTheRun() {
    const QStringList method{"--method", "lora", "--checkpoint", file("full")};
    QCOMPARE(runCli(quick(method + QStringList{"--steps", "4"})).status, 0);
    const auto before = readWhole(file("full").toStdString());
    QVERIFY(before.size() > 8 * 1024);
    QStringList words{NIBBLE_CLI};
    for (const QString& word : quick(method + QStringList{"--steps", "8", "--checkpoint-every", "1", "--resume", file("full")}))
      words << "'" + word + "'";
    QProcess process;
    process.start("bash", {"-c", "ulimit -f 8; trap '' XFSZ; exec " + words.join(' ')});  // no file above 8 KiB
    QVERIFY(process.waitForFinished(60000));
    const QByteArray said = process.readAllStandardError();
    QCOMPARE(process.exitCode(), 1);
    QVERIFY2(said.contains("step 5 could not be saved"), said.constData());
    QCOMPARE(process.readAllStandardOutput(), QByteArray());
    QVERIFY(readWhole(file("full").toStdString()) == before);
    QCOMPARE(runCli(quick(method + QStringList{"--steps", "8", "--resume", file("full")})).status, 0);
  }

  void stopsAreChecks() {
    const Ran ran = runCli(quick({"--method", "lora", "--steps", "5", "--stop-loss-above", "-1"}));
    QCOMPARE(ran.status, 3);
    QCOMPARE(ran.json()["final"]["stopped"], json("loss above"));
    QCOMPARE(ran.json()["steps"].size(), std::size_t{1});
    const Ran bf16 = runCli(quick({"--method", "dora", "--steps", "2", "--lr", "1e-6", "--dtype", "bf16"}));
    QCOMPARE(bf16.status, 0);
    QCOMPARE(bf16.json()["steps"][1]["moved"]["magnitude"], json({0, 384}));
    QVERIFY(runCli({"train", samplePath(), "--tensor", sampleTensor(), "--method", "lora", "--steps", "2", "--rows", "8"})
                .out.contains("loss at the start"));
  }

  void refusals() {
    const auto status = [&](const QStringList& more) { return runCli(quick(more)).status; };
    QCOMPARE(status({"--method", "qdora"}), 2);
    QCOMPARE(status({"--method", "other"}), 2);
    QCOMPARE(status({"--method", "lora", "--optimizer", "other"}), 2);
    for (const char* rank : {"0", "385"}) {
      const Ran ran = runCli({"train", samplePath(), "--tensor", sampleTensor(), "--method", "lora", "--rank", rank});
      QCOMPARE(ran.status, 1);
      QVERIFY(ran.err.contains("between 1 and 384"));
    }
    QCOMPARE(status({"--method", "qlora", "--base", "hqq:group=7"}), 1);
    QCOMPARE(status({"--method", "lora", "--lr", "-1"}), 1);
    std::vector<float> samples(8 * 384, 0.5f);
    QVERIFY(writeNpy(file("thin.npy").toStdString(), floatArray("x", {8, 383}, std::vector<float>(8 * 383, 1))));
    QVERIFY(writeNpy(file("good.npy").toStdString(), floatArray("x", {8, 384}, samples)));
    samples[5 * 384 + 3] = std::numeric_limits<float>::quiet_NaN();
    QVERIFY(writeNpy(file("nan.npy").toStdString(), floatArray("x", {8, 384}, samples)));
    const Ran thin = runCli(quick({"--method", "lora", "--inputs", file("thin.npy")}));
    QCOMPARE(thin.status, 1);
    QVERIFY(thin.err.contains("thin.npy") && thin.err.contains("384"));
    const Ran nan = runCli(quick({"--method", "lora", "--inputs", file("nan.npy")}));
    QCOMPARE(nan.status, 1);
    QVERIFY2(nan.err.contains("nan.npy") && nan.err.contains("[5, 3]"), nan.err.constData());
    QCOMPARE(nan.out, QByteArray());
    const Ran targets = runCli(quick({"--method", "lora", "--inputs", file("good.npy"), "--targets", file("thin.npy")}));
    QCOMPARE(targets.status, 1);
    QCOMPARE(status({"--method", "lora", "--inputs", file("good.npy"), "--targets", file("good.npy"), "--steps", "1"}), 0);
    QCOMPARE(runCli({"train", samplePath(), "--method", "lora"}).status, 2);
    QCOMPARE(status({"--method", "lora", "--steps", "1", "--trace", "/nonexistent/trace.npz"}), 1);
  }
};

QTEST_APPLESS_MAIN(TestCliTrain)
#include "test_cli_train.moc"
