// SPDX-License-Identifier: GPL-3.0-or-later
// The window and the command line say the same, to the last bit: forty candidates of a saved session, packed layers cell by cell
// as stored and quantized anew, two files compared, and runs of training.
#include "core/report/microscope.h"
#include "core/schemes/gguf_mixes.h"
#include "tests/app/cli_runner.h"
#include "ui/models/candidate_model.h"
#include "ui/models/diff_model.h"
#include "ui/pages/compare_data.h"
#include "ui/session/comparer.h"
#include "ui/session/differ.h"
#include "ui/session/explorer.h"
#include "ui/session/session.h"
#include "ui/session/trainer.h"

#include <QTemporaryDir>
#include <QTest>

using namespace nibble;
using nlohmann::json;
using test::runCli;

namespace {

QString packed(const QString& folder) { return QString::fromStdString((test::dataPath("packed") / folder.toStdString() / "model.safetensors").string()); }

bool idle(Session& session) {
  return !session.opening().busy() && !session.explorer().lane().busy() && !session.comparer().lane().busy() && !session.differ().lane().busy();
}

void open(Session& session, const QString& path) {
  session.open(path);
  QTRY_VERIFY_WITH_TIMEOUT(session.state().file != nullptr, 10000);
  QTRY_VERIFY_WITH_TIMEOUT(idle(session) && session.explorer().current(), 10000);
}

// What the Compare table of the window saves.
json tableOf(Session& session) {
  CandidateModel model;
  model.setRows(candidateRows(session));
  json rows = json::object();
  for (const json& row : json::parse(model.toJson().toStdString())) rows[row["scheme"].get<std::string>()] = row;
  return rows;
}

void compareFigures(Session& session, const json& candidates, std::size_t count) {
  const json window = tableOf(session);
  QCOMPARE(window.size(), count);
  QCOMPARE(candidates.size(), count);
  for (const json& cli : candidates) {
    const std::string scheme = cli["scheme"].get<std::string>();
    QVERIFY2(window.contains(scheme), scheme.c_str());
    for (const char* key : {"bitsPerWeight", "sizeBytes", "mse", "sqnrDb", "relativeFrobenius", "maxError", "cosine", "codeEntropy", "decibelsFromBound"}) {
      const json here = window[scheme].value(key, json()), there = cli.value(key, json());
      QVERIFY2(here == there, (scheme + " " + key + ": window " + here.dump() + ", command line " + there.dump()).c_str());
    }
  }
}

}  // namespace

class TestWindowAndCli : public QObject {
  Q_OBJECT
 private slots:
  // The bundled sessions of QDoRA over 3-bit bases: the window, `run SESSION` and the line the window copies give one set of losses.
  void trainsASession_data() {
    QTest::addColumn<QString>("name");
    QTest::newRow("minmax") << "minmax";
    QTest::newRow("hqq") << "hqq";
  }
  void trainsASession() {
    QFETCH(QString, name);
    Session session;
    session.openSession(QString::fromStdString((test::resourcePath("sample") / ("qdora-" + name.toStdString() + ".nibble")).string()));
    QTRY_VERIFY_WITH_TIMEOUT(session.state().file != nullptr, 10000);
    session.edit("fewer", {}, [](SessionState& state) { state.view["train.steps"] = "20"; });
    session.trainer().play();
    QTRY_VERIFY_WITH_TIMEOUT(!session.trainer().busy() && session.trainer().snapshot() && session.trainer().snapshot()->step() == 20, 60000);
    const auto& run = *session.trainer().snapshot()->runs.front();
    QTemporaryDir folder;
    const QString file = folder.filePath("fewer.nibble");
    QVERIFY(session.saveSession(file));
    const json ran = runCli({"run", file, "--json"}).json();
    QStringList words = trainCommand(session.state()).split(' ');
    const json trained = runCli(words.mid(1) + QStringList{"--json"}).json();
    QCOMPARE(ran, trained);
    QCOMPARE(ran["steps"].size(), std::size_t{20});
    for (std::size_t i = 0; i < 20; ++i) QCOMPARE(ran["steps"][i]["loss"].get<double>(), run.records[i].loss);
    QCOMPARE(ran["final"]["loss"].get<double>(), run.lossNow);
    QVERIFY(run.lossNow < 0.95 * run.records.front().loss);
  }

  void fortyCandidates() {
    Session session;
    open(session, test::samplePath());
    session.edit("choose", {}, [](SessionState& state) {
      state.tensor = test::sampleTensor().toStdString();
      state.selection = {state.tensor};
    });
    std::vector<Choice> choices;
    for (const Scheme* scheme : allSchemes()) choices.push_back(Choice(*scheme));
    std::erase_if(choices, [](const Choice& choice) { return choice.refusal({384, 384}).has_value(); });
    for (const char* text : {"hqq:bits=2", "hqq:bits=3,group=32", "nf4:block=128,nested=true", "uniform:bits=4,granularity=group,group=32",
                             "uniform:bits=6,granularity=tensor,symmetric=false", "hadamard:block=128/uniform:bits=4,granularity=group",
                             "clip/uniform:bits=4,granularity=group,group=64", "codebook:bits=3", "minmax:bits=2,group=16", "gptq:bits=3",
                             "mbwq:bits=2", "exl2:bpw=3.5", "mxfp4:rule=even", "nvfp4:variant=ggml", "fp8:granularity=block", "hqq:axis=0", "lsq:bits=3",
                             "fp4:block=128", "float:type=bf16", "minmax:bits=5"}) {
      const auto parsed = Choice::parse(text);
      QVERIFY2(parsed.has_value(), parsed ? "" : parsed.error().message.c_str());
      if (std::find(choices.begin(), choices.end(), *parsed) == choices.end()) choices.push_back(*parsed);
    }
    choices.erase(choices.begin() + 40, choices.end());
    session.comparer().add(choices, "add");
    QTRY_VERIFY_WITH_TIMEOUT(idle(session), 60000);
    QTemporaryDir folder;
    QVERIFY(session.saveSession(folder.filePath("forty.nibble")).has_value());
    const auto ran = runCli({"run", folder.filePath("forty.nibble"), "--json"});
    QVERIFY2(ran.status == 0, ran.err.constData());
    compareFigures(session, ran.json()["candidates"], 40);
  }

  // Which of llama.cpp's named mixes make this of the tensor: beside a point of the Pareto plot, and in the lines of `compare`.
  void namedMixes() {
    Session session;
    open(session, test::samplePath());
    session.edit("choose", {}, [](SessionState& state) {
      state.tensor = test::sampleTensor().toStdString();
      state.selection = {state.tensor};
    });
    QStringList arguments{"compare", test::samplePath(), "--tensor", test::sampleTensor(), "--json"};
    std::map<std::string, std::vector<std::string>> wanted;
    for (const std::string_view mix : mixNames()) arguments << QString::fromUtf8(mix.data(), static_cast<int>(mix.size()));
    const json compared = runCli(arguments).json();
    for (const json& candidate : compared["candidates"])
      wanted[candidate["scheme"].get<std::string>()].push_back(candidate["mix"].get<std::string>());
    QVERIFY(wanted.size() >= 5);
    std::vector<Choice> choices;
    for (const auto& [scheme, mixes] : wanted) choices.push_back(*Choice::parse(scheme));
    session.comparer().add(choices, "add");
    QTRY_VERIFY_WITH_TIMEOUT(idle(session), 60000);
    for (const auto& [scheme, mixes] : wanted) QCOMPARE(session.comparer().mixes(*Choice::parse(scheme)), mixes);
    QVERIFY(session.comparer().mixes(*Choice::parse("hqq")).empty());
  }

  void packedLayers_data() {
    QTest::addColumn<QString>("folder");
    for (const char* folder : {"gptq-4b-g32-asym", "gptq-4b-g32-desc_act", "gptq-3b-g32-asym", "gptq_v2-4b-g64-asym", "awq-autoawq-4b-g32", "hqq-3b-g64-ax1",
                               "hqq-2b-g16-ax0", "mlx-4b-g64", "mlx-nvfp4", "bnb-nf4-dq", "ct-MXFP4A16"})
      QTest::newRow(folder) << QString(folder);
  }

  // As stored: size, and scale, zero, code, words and value of three cells.
  void packedLayers() {
    QFETCH(QString, folder);
    Session session;
    open(session, packed(folder));
    const auto exploration = session.explorer().current();
    QVERIFY2(exploration->ok(), exploration->problem.c_str());
    QVERIFY(exploration->isStored() && exploration->exact() && exploration->quantized);
    const QString name = QString::fromStdString(session.state().tensor);
    const json info = runCli({"info", packed(folder), "--json"}).json();
    bool found = false;
    for (const json& tensor : info["tensors"])
      if (tensor["name"] == session.state().tensor) {
        found = true;
        QCOMPARE(tensor["bitsPerWeight"].get<double>(), exploration->bitsPerWeight);
      }
    QVERIFY(found);
    const auto& tensor = exploration->facts->tensor;
    const PackedView view(exploration->quantized);
    for (const auto& [row, column] : {std::pair<std::uint64_t, std::uint64_t>{0, 0}, {tensor.rows() - 1, tensor.columns() - 1}, {5, 37}}) {
      const json cli = runCli({"inspect", packed(folder), "--tensor", name, "--row", QString::number(row), "--column", QString::number(column), "--json"}).json();
      const auto scope = microscope(&tensor, *exploration->quantized, row, column);
      QVERIFY(scope.has_value());
      QCOMPARE(cli["code"].get<std::int64_t>(), scope->chosen().code);
      QCOMPARE(cli["value"].get<float>(), scope->chosen().decoded);
      QCOMPARE(cli["value"].get<float>(), tensor.floats()->data()[row * tensor.columns() + column]);  // the page shows the decoded values
      QCOMPARE(cli["scale"].is_null(), !scope->hasScale);
      if (scope->hasScale) QCOMPARE(cli["scale"].get<float>(), scope->scale);
      if (scope->hasZero) QCOMPARE(cli["zero"].get<float>(), scope->zero);
      QCOMPARE(cli["layout"].get<std::string>(), view.layoutName());
      const auto places = view.places(scope->chosen().codeIndex);
      QVERIFY(places.has_value());
      QCOMPARE(cli["places"].size(), places->size());
      for (std::size_t i = 0; i < places->size(); ++i) {
        QCOMPARE(cli["places"][i]["wordIndex"].get<std::uint64_t>(), (*places)[i].word);
        QCOMPARE(cli["places"][i]["word"].get<std::string>(), "0x" + view.hex((*places)[i].value));
      }
    }
  }

  // The decoded weights quantized anew, against `compare` on the packed file.
  void packedLayerQuantizedAnew() {
    Session session;
    open(session, packed("gptq-4b-g32-asym"));
    std::vector<Choice> choices;
    for (const char* text : {"hqq", "nf4", "q8_0", "uniform:bits=4,granularity=group,group=32"}) choices.push_back(*Choice::parse(text));
    session.comparer().add(choices, "add");
    QTRY_VERIFY_WITH_TIMEOUT(idle(session), 20000);
    QStringList arguments{"compare", packed("gptq-4b-g32-asym"), "--tensor", QString::fromStdString(session.state().tensor), "--json"};
    for (const Choice& choice : choices) arguments << QString::fromStdString(choice.text());
    const json cli = runCli(arguments).json();
    compareFigures(session, cli["candidates"], choices.size());
    // Values on the levels of a file have no density: no bound, and it is said why.
    QVERIFY(session.comparer().bound() != nullptr && !session.comparer().bound()->ok());
    QVERIFY(cli["candidates"][0]["decibelsFromBound"].is_null());
    QCOMPARE(cli["bounds"][0]["note"].get<std::string>(), session.comparer().bound()->note());
  }

  void twoFiles() {
    Session session;
    open(session, packed("gptq-4b-g32-asym"));
    session.edit("compare", {}, [](SessionState& state) {
      state.page = Page::Compare;
      state.view["compare.mode"] = "files";
      state.view["diff.other"] = packed("gptq-4b-g32-desc_act").toStdString();
      state.view["diff.reference"] = QString(packed("hqq-4b-g64-ax1")).replace("model.", "expected.").toStdString();
    });
    QTRY_VERIFY_WITH_TIMEOUT(session.differ().answer() != nullptr, 20000);
    QVERIFY2(session.differ().answer()->problem.empty(), session.differ().answer()->problem.c_str());
    DiffModel model;
    model.setRows(session.differ().answer()->rows);
    const json window = json::parse(model.toJson().toStdString());
    const json cli = runCli({"diff", packed("gptq-4b-g32-asym"), packed("gptq-4b-g32-desc_act"), "--reference",
                             QString(packed("hqq-4b-g64-ax1")).replace("model.", "expected."), "--json"}).json();
    QVERIFY(!cli.empty());
    QCOMPARE(window.size(), cli.size());
    for (std::size_t i = 0; i < cli.size(); ++i) {
      for (const char* key : {"tensor", "mse", "maxError", "relativeFrobenius", "bitsPerWeight"})
        QVERIFY2(window[i][key] == cli[i][key], (window[i].dump() + "\n" + cli[i].dump()).c_str());
      QCOMPARE(window[i].contains("reference"), cli[i].contains("reference"));
      if (cli[i].contains("reference")) QCOMPARE(window[i]["reference"]["a"]["mse"].get<double>(), cli[i]["reference"]["a"]["mse"].get<double>());
    }
  }
};

QTEST_MAIN(TestWindowAndCli)
#include "test_window_and_cli.moc"
