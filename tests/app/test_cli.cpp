// SPDX-License-Identifier: GPL-3.0-or-later
// Every command of nibblescope-cli on the bundled sample: the documents keep the contract, and their figures agree with each
// other.
#include "core/io/checkpoint.h"
#include "core/run/session_file.h"
#include "tests/app/cli_runner.h"

#include <QTemporaryDir>
#include <QtTest>

#include <cmath>

using namespace nibble;
using namespace nibble::test;
using nlohmann::json;

namespace {

std::vector<std::string> keys(const json& object) {
  std::vector<std::string> names;
  for (const auto& [key, value] : object.items()) names.push_back(key);
  std::sort(names.begin(), names.end());
  return names;
}

std::vector<std::string> sorted(std::vector<std::string> names) {
  std::sort(names.begin(), names.end());
  return names;
}

std::vector<float> valuesOf(const QString& path, const std::string& name = {}) {
  const auto file = Checkpoint::open(path.toStdString());
  if (!file) return {};
  const auto tensor = name.empty() ? (*file)->read(std::size_t{0}) : (*file)->read(name);
  return tensor ? tensor->readAll().value_or(std::vector<float>{}) : std::vector<float>{};
}

double meanSquare(const std::vector<float>& a, const std::vector<float>& b) {
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += std::pow(double(a[i] - b[i]), 2);
  return sum / double(a.size());
}

}  // namespace

class TestCli : public QObject {
  Q_OBJECT
  QTemporaryDir m_folder;
  QString file(const QString& name) const { return m_folder.filePath(name); }

 private slots:
  void infoListsTheSample() {
    const Ran ran = runCli({"info", samplePath(), "--json"});
    QCOMPARE(ran.status, 0);
    QCOMPARE(ran.err, QByteArray());
    const json document = ran.json();
    QCOMPARE(keys(document), sorted({"path", "format", "tensors", "metadata", "findings"}));
    QCOMPARE(document["format"], json("safetensors"));
    std::uint64_t bytes = 0;
    for (const json& tensor : document["tensors"]) {
      QCOMPARE(keys(tensor), sorted({"name", "dtype", "shape", "sizeBytes"}));
      bytes += tensor["sizeBytes"].get<std::uint64_t>();
    }
    QVERIFY(bytes > 3'900'000 && bytes < 3'953'960);
    QVERIFY(document["findings"].empty());
    QVERIFY(runCli({"info", samplePath()}).out.contains(sampleTensor().toUtf8()));
  }

  void infoReadsValuesWhenAsked() {
    QVERIFY(writeNpy(file("ramp.npy").toStdString(), floatArray("ramp", {2, 4}, {-3, -2, -1, 0, 0, 1, 2, 5})));
    const Ran ran = runCli({"info", file("ramp.npy"), "--stats", "--lint", "--json"});
    QCOMPARE(ran.status, 0);
    const json stats = ran.json()["tensors"][0]["stats"];
    QCOMPARE(keys(stats), sorted({"min", "max", "mean", "std", "absMax", "zeros", "nonFinite", "p01", "p99", "kurtosis"}));
    QCOMPARE(stats["min"], json(-3.0));
    QCOMPARE(stats["max"], json(5.0));
    QCOMPARE(stats["mean"], json(0.25));
    QCOMPARE(stats["absMax"], json(5.0));
    QCOMPARE(stats["zeros"], json(2));
    QCOMPARE(stats["nonFinite"], json(0));
  }

  void lintFindsNonFiniteWeights() {
    QVERIFY(writeNpy(file("nan.npy").toStdString(), floatArray("nan", {1, 3}, {1, NAN, INFINITY})));
    const Ran ran = runCli({"info", file("nan.npy"), "--lint", "--json"});
    QCOMPARE(ran.status, 0);
    const json findings = ran.json()["findings"];
    QVERIFY(!findings.empty());
    for (const json& finding : findings) QCOMPARE(keys(finding), sorted({"severity", "tensor", "what"}));
    QCOMPARE(findings[0]["tensor"], json("nan"));
  }

  void schemesTellTheirTables() {
    const Ran ran = runCli({"schemes", "--json"});
    QCOMPARE(ran.status, 0);
    std::vector<std::string> ids;
    for (const json& scheme : ran.json()) {
      QCOMPARE(keys(scheme), sorted({"id", "name", "summary", "reference", "settings", "promises", "formats", "transforms"}));
      ids.push_back(scheme["id"]);
      for (const json& setting : scheme["settings"]) {
        for (const char* key : {"key", "label", "type", "default", "help"})
          QVERIFY2(setting.contains(key), setting.dump().c_str());
        if (setting.contains("range")) QCOMPARE(setting["range"].size(), std::size_t{2});
      }
    }
    for (const char* id : {"uniform", "minmax", "hqq", "nf4", "fp4", "float", "codebook"})
      QVERIFY2(std::find(ids.begin(), ids.end(), id) != ids.end(), id);
  }

  void formatsAndTargets() {
    std::vector<std::string> ids;
    for (const json& format : runCli({"formats", "--json"}).json()) ids.push_back(format["id"]);
    for (const char* id : {"npz", "hqq", "bnb", "gptq", "document000"})
      QVERIFY2(std::find(ids.begin(), ids.end(), id) != ids.end(), id);
    const json targets = runCli({"targets", "--json"}).json();
    QVERIFY(!targets.empty());
    for (const json& target : targets)
      for (const json& format : target["formats"]) QVERIFY(std::find(ids.begin(), ids.end(), format) != ids.end());
  }

  // For people: without the keys that are as by default. JSON and CSV have them all.
  void tablesNameWhatIsNotDefault() {
    const QStringList compare{"compare", samplePath(), "hqq:bits=3", "--tensor", sampleTensor()};
    const Ran ran = runCli(compare);
    QCOMPARE(ran.status, 0);
    QVERIFY2(ran.out.contains(" hqq:bits=3,group=64 ") && !ran.out.contains("kappa"), ran.out.constData());
    QVERIFY(runCli(compare + QStringList{"--csv"}).out.contains("kappa=1.01"));
    QVERIFY(runCli(compare + QStringList{"--json"}).out.contains("kappa=1.01"));
  }

  void compareKeepsItsContract() {
    const Ran ran =
        runCli({"compare", samplePath(), "hqq:bits=4", "nf4", "--tensor", sampleTensor(), "--histogram", "64", "--json"});
    QCOMPARE(ran.status, 0);
    const json document = ran.json();
    QCOMPARE(keys(document), sorted({"path", "backend", "candidates", "bounds"}));
    QCOMPARE(document["candidates"].size(), std::size_t{2});
    const json& bound = document["bounds"][0];
    QVERIFY(bound["validBits"].get<double>() > 7 && bound["validBits"].get<double>() < 9);  // the sample is bfloat16
    QVERIFY(bound["note"].get<std::string>().find("bfloat16") != std::string::npos);
    for (const json& candidate : document["candidates"]) {
      const double least = std::exp2(2 * (bound["entropyBits"].get<double>() - candidate["bitsPerWeight"].get<double>())) / 17.079468445347132;
      QVERIFY(std::abs(candidate["decibelsFromBound"].get<double>() - 10 * std::log10(candidate["mse"].get<double>() / least)) < 1e-6);
    }
    for (json candidate : document["candidates"]) {
      candidate.erase("notes");
      QCOMPARE(keys(candidate), sorted({"tensor", "scheme", "bitsPerWeight", "sizeBytes", "breakdown", "mse", "rmse", "sqnrDb",
                                        "relativeFrobenius", "l2", "maxError", "meanError", "p99Error", "cosine", "codeEntropy",
                                        "decibelsFromBound", "histogram", "seconds"}));
      const json& parts = candidate["breakdown"];
      QCOMPARE(keys(parts), sorted({"codes", "scales", "zeros", "other"}));
      const std::uint64_t size = parts["codes"].get<std::uint64_t>() + parts["scales"].get<std::uint64_t>() +
                                 parts["zeros"].get<std::uint64_t>() + parts["other"].get<std::uint64_t>();
      QCOMPARE(candidate["sizeBytes"].get<std::uint64_t>(), size);
      QCOMPARE(candidate["bitsPerWeight"].get<double>(), 8.0 * double(size) / (384.0 * 384.0));
      QCOMPARE(candidate["rmse"].get<double>(), std::sqrt(candidate["mse"].get<double>()));
      std::uint64_t counted = 0;
      for (const json& count : candidate["histogram"]["counts"]) counted += count.get<std::uint64_t>();
      QCOMPARE(counted, std::uint64_t{384 * 384});
      QCOMPARE(candidate["histogram"]["counts"].size(), std::size_t{64});
    }
    QVERIFY(document["candidates"][0]["scheme"].get<std::string>().starts_with("hqq:bits=4,group=64,axis=1,"));
  }

  void columnsAreTheSameNumbers() {
    const QStringList arguments{"compare", samplePath(), "uniform:bits=6", "fp4", "--tensor", sampleTensor()};
    const json document = runCli(arguments + QStringList{"--json"}).json();
    const QList<QByteArray> lines = runCli(arguments + QStringList{"--tsv"}).out.split('\n');
    QCOMPARE(lines.size(), 4);
    const QList<QByteArray> titles = lines[0].split('\t');
    for (int row = 0; row < 2; ++row) {
      const QList<QByteArray> cells = lines[row + 1].split('\t');
      QCOMPARE(cells.size(), titles.size());
      const json& candidate = document["candidates"][std::size_t(row)];
      for (const char* key : {"bitsPerWeight", "mse", "sqnrDb", "l2", "cosine", "codeEntropy", "decibelsFromBound"})
        QCOMPARE(cells[titles.indexOf(key)].toDouble(), candidate[key].get<double>());
      QCOMPARE(cells[titles.indexOf("scheme")].toStdString(), candidate["scheme"].get<std::string>());
    }
    const QByteArray csv = runCli(arguments + QStringList{"--csv"}).out;
    QVERIFY(csv.contains(",\"uniform:bits=6,"));
  }

  void varyMultiplies() {
    const Ran ran = runCli({"compare", samplePath(), "uniform:granularity=group", "hqq", "--vary", "bits=2..4", "--vary",
                            "group=64|128", "--tensor", sampleTensor(), "--json"});
    QCOMPARE(ran.status, 0);
    QCOMPARE(ran.json()["candidates"].size(), std::size_t{12});
  }

  void varySkipsWhatDoesNotFit() {
    QVERIFY(writeNpy(file("odd.npy").toStdString(), floatArray("odd", {5, 24}, someWeights(120))));
    const Ran ran = runCli({"compare", file("odd.npy"), "hqq", "--vary", "group=8|64", "--tensor", "odd", "--json"});
    QCOMPARE(ran.status, 0);
    QCOMPARE(ran.json()["candidates"].size(), std::size_t{1});
    QVERIFY(ran.err.contains("warning"));
    QVERIFY(runCli({"--quiet", "compare", file("odd.npy"), "hqq", "--vary", "group=8|64", "--tensor", "odd"}).err.isEmpty());
  }

  void selectionIsByNamePatternOrWorth() {
    const auto tensors = [](const QStringList& more) {
      std::vector<std::string> names;
      const json document = runCli(QStringList{"compare", samplePath(), "uniform", "--json"} + more).json();
      for (const json& candidate : document["candidates"]) names.push_back(candidate["tensor"]);
      return names;
    };
    QCOMPARE(tensors({}).size(), std::size_t{7});
    QCOMPARE(tensors({"--select", "query|key"}).size(), std::size_t{2});
    QCOMPARE(tensors({"--tensor", sampleTensor(), "--tensor", "encoder.layer.0.output.LayerNorm.weight"}).size(),
             std::size_t{2});
  }

  void expertsAreMatrices() {
    QVERIFY(writeNpz(file("experts.npz").toStdString(), {floatArray("up", {3, 64, 64}, someWeights(3 * 64 * 64))}));
    const json document = runCli({"compare", file("experts.npz"), "uniform", "--json"}).json();
    QCOMPARE(document["candidates"].size(), std::size_t{3});
    QCOMPARE(document["candidates"][2]["tensor"], json("up[2]"));
    const json second = runCli({"compare", file("experts.npz"), "uniform", "--tensor", "up[1]", "--json"}).json();
    QCOMPARE(second["candidates"][0]["mse"], document["candidates"][1]["mse"]);
  }

  void inputWeightsWeighTheError() {
    const std::vector<float> ones(384, 1.0f), twos(384, 2.0f);
    QVERIFY(writeNpy(file("ones.npy").toStdString(), floatArray("ones", {384}, ones)));
    QVERIFY(writeNpz(file("keyed.npz").toStdString(), {floatArray(sampleTensor().toStdString(), {384}, twos)}));
    const QStringList arguments{"compare", samplePath(), "nf4", "--tensor", sampleTensor(), "--json", "--input-weights"};
    const json one = runCli(arguments + QStringList{file("ones.npy")}).json()["candidates"][0];
    QVERIFY(std::abs(one["weightedMse"].get<double>() / one["mse"].get<double>() - 1) < 1e-12);
    const json two = runCli(arguments + QStringList{file("keyed.npz")}).json()["candidates"][0];
    QVERIFY(std::abs(two["weightedMse"].get<double>() / one["weightedMse"].get<double>() - 2) < 1e-12);
  }

  void referenceMovesTheTarget() {
    const std::vector<float> weights = someWeights(64 * 64);
    std::vector<float> shifted = weights;
    for (float& value : shifted) value += 0.5f;
    QVERIFY(writeNpz(file("a.npz").toStdString(), {floatArray("w", {64, 64}, weights)}));
    QVERIFY(writeNpz(file("b.npz").toStdString(), {floatArray("w", {64, 64}, shifted)}));
    const json candidate =
        runCli({"compare", file("a.npz"), "float:type=f32", "--reference", file("b.npz"), "--json"}).json()["candidates"][0];
    QVERIFY(std::abs(candidate["meanError"].get<double>() - 0.5) < 1e-6);
  }

  void exactReconstructionIsNullDecibels() {
    const json candidate =
        runCli({"compare", samplePath(), "float:type=f32", "--tensor", sampleTensor(), "--json"}).json()["candidates"][0];
    QVERIFY(candidate["sqnrDb"].is_null());
    QCOMPARE(candidate["mse"], json(0.0));
  }

  void exportThenDecodeGivesWhatCompareSaid() {
    const QString out = file("packed");
    const Ran ran =
        runCli({"export", samplePath(), "hqq:bits=4", "--tensor", sampleTensor(), "--format", "hqq", "--out", out, "--json"});
    QVERIFY2(ran.status == 0, ran.err.constData());
    const json document = ran.json();
    QCOMPARE(keys(document), sorted({"format", "out", "sizeBytes", "bitsPerWeight", "tensors", "preflight", "verified"}));
    QCOMPARE(document["verified"], json(true));
    QCOMPARE(keys(document["tensors"][0]), sorted({"name", "scheme", "sizeBytes", "maxDifference"}));
    QCOMPARE(document["tensors"][0]["maxDifference"], json(0.0));
    for (const json& rule : document["preflight"]) QCOMPARE(keys(rule), sorted({"rule", "ok", "detail", "source"}));

    const json listed = runCli({"info", out, "--json"}).json();
    QCOMPARE(listed["tensors"][0]["name"], json(sampleTensor().toStdString()));
    QVERIFY(listed["tensors"][0].contains("quantizedAs"));
    const Ran decoded = runCli({"decode", out, "--tensor", sampleTensor(), "--out", file("back.npy"), "--json"});
    QVERIFY2(decoded.status == 0, decoded.err.constData());
    QCOMPARE(keys(decoded.json()), sorted({"tensor", "quantizedAs", "bitsPerWeight", "shape"}));
    QCOMPARE(decoded.json()["shape"], json({384, 384}));

    const json compared =
        runCli({"compare", samplePath(), "hqq:bits=4", "--tensor", sampleTensor(), "--json"}).json()["candidates"][0];
    const double mse = meanSquare(valuesOf(samplePath(), sampleTensor().toStdString()), valuesOf(file("back.npy")));
    QVERIFY(std::abs(mse / compared["mse"].get<double>() - 1) < 1e-9);
  }

  void decodeOfAPlainTensorIsItself() {
    const Ran ran = runCli({"decode", samplePath(), "--tensor", sampleTensor(), "--out", file("plain.npy"), "--json"});
    QCOMPARE(ran.status, 0);
    QVERIFY(ran.json()["quantizedAs"].is_null());
    QCOMPARE(ran.json()["bitsPerWeight"], json(16.0));
    QVERIFY(valuesOf(file("plain.npy")) == valuesOf(samplePath(), sampleTensor().toStdString()));
  }

  void failedPreflightIsStatusThree() {
    QVERIFY(writeNpz(file("small.npz").toStdString(), {floatArray("w.weight", {48, 48}, someWeights(48 * 48))}));
    const QString out = file("never");
    const Ran ran = runCli({"export", file("small.npz"), "hqq:axis=0", "--tensor", "w.weight", "--format", "hqq", "--target",
                            "vllm", "--out", out, "--json"});
    QCOMPARE(ran.status, 3);
    QCOMPARE(ran.json()["verified"], json(false));
    QVERIFY(!QFileInfo::exists(out));
  }

  void inspectShowsOneWeight() {
    const Ran ran = runCli({"inspect", samplePath(), "--tensor", sampleTensor(), "--row", "3", "--column", "70", "--scheme",
                            "hqq:bits=4", "--json"});
    QVERIFY2(ran.status == 0, ran.err.constData());
    const json document = ran.json();
    for (const char* key : {"group", "scale", "zero", "code", "word", "bitRange", "value", "error"})
      QVERIFY2(document.contains(key), key);
    const std::vector<float> weights = valuesOf(samplePath(), sampleTensor().toStdString());
    QVERIFY(std::abs(double(weights[3 * 384 + 70]) - document["value"].get<double>() - document["error"].get<double>()) < 1e-9);
    QVERIFY(!runCli({"inspect", samplePath(), "--tensor", sampleTensor(), "--row", "0", "--column", "0", "--scheme", "nf4"})
                 .out.isEmpty());
  }

  void runGivesTheNumbersOfCompare() {
    SessionFile session;
    session.checkpoint = samplePath().toStdString();
    session.tensors = {sampleTensor().toStdString()};
    session.choice = "hqq:bits=4";
    session.candidates = {"hqq:bits=4", "nf4", "uniform"};
    session.exporting.format = "hqq";
    QVERIFY(session.write(file("s.nibble").toStdString()));
    const Ran ran = runCli({"run", file("s.nibble"), "--out", file("results"), "--json"});
    QVERIFY2(ran.status == 0, ran.err.constData());
    json mine = ran.json()["candidates"];
    json theirs = runCli({"compare", samplePath(), "hqq:bits=4", "nf4", "uniform", "--tensor", sampleTensor(), "--json"})
                      .json()["candidates"];
    for (json* candidates : {&mine, &theirs})
      for (json& candidate : *candidates) candidate.erase("seconds");
    QVERIFY(mine == theirs);
    QVERIFY(QFileInfo::exists(file("results/compare.json")));
    QVERIFY(QFileInfo::exists(file("results/export.json")));
  }

  void benchMeasuresMultiplesOfARead() {
    const Ran ran = runCli({"bench", "--filter", "run minmax", "--json"});
    QVERIFY2(ran.status == 0 || ran.status == 3, ran.err.constData());
    const json document = ran.json();
    QCOMPARE(keys(document), sorted({"read", "backend", "rows"}));
    QVERIFY(document["read"]["gbPerSecond"].get<double>() > 0);
    for (const json& row : document["rows"])
      QCOMPARE(keys(row), sorted({"name", "weights", "seconds", "timesRead", "weightsPerSecond"}));
  }

  void benchCountsWhatCudaKernelsMove() {
    const Ran ran = runCli({"bench", "--filter", "^quantize, error sums$", "--json"});
    QVERIFY2(ran.status == 0, ran.err.constData());
    const json document = ran.json();
    QCOMPARE(keys(document), sorted({"traffic"}));
    QCOMPARE(document["traffic"].size(), std::size_t{1});
    const json& row = document["traffic"][0];
    QCOMPARE(keys(row), sorted({"name", "bytesNeeded", "bytesMoved", "sectorUse", "bankConflicts", "holds"}));
    QVERIFY(row["holds"].get<bool>() && row["sectorUse"].get<double>() >= 0.95 && row["bytesMoved"].get<double>() > 100000);
    const Ran text = runCli({"bench", "--filter", "^quantize, error sums$"});
    QVERIFY2(text.out.contains("no time was measured on a GPU") && text.out.contains("met"), text.out.constData());
  }
};

QTEST_GUILESS_MAIN(TestCli)
#include "test_cli.moc"
