// SPDX-License-Identifier: GPL-3.0-or-later
// The session's training: steps forward and back give the same records, the loss falls, settings drop a run and undo, and the
// command line names what is chosen; several tensors; every option.
#include "tests/support/golden.h"
#include "ui/session/session.h"
#include "ui/session/session_text.h"
#include "ui/session/trainer.h"

#include <QTest>

using namespace nibble;

namespace {

void openLayer(Session& session) {
  session.openWith(QString::fromStdString(nibble::test::resourcePath("sample/minilm-sample.safetensors").string()), [](SessionState& state) {
    for (const auto& item : state.file->tree->items())
      if (item.name.ends_with("attention.self.query.weight")) state.tensor = item.name;
    state.choice = *Choice::parse("minmax:bits=3");
    state.view["train.rank"] = "4";
    state.view["train.rows"] = "32";
    state.view["train.steps"] = "12";
  });
  QTRY_VERIFY_WITH_TIMEOUT(session.state().file != nullptr, 10000);
}

}  // namespace

class TestTrainer : public QObject {
  Q_OBJECT
 private slots:
  void stepsBackToTheSameRecords() {
    Session session;
    openLayer(session);
    Trainer& trainer = session.trainer();
    trainer.play();
    QTRY_VERIFY_WITH_TIMEOUT(!trainer.busy() && trainer.snapshot() && trainer.snapshot()->step() == 12, 20000);
    const auto records = trainer.snapshot()->runs.front()->records;
    QVERIFY(trainer.snapshot()->runs.front()->lossNow < records.front().loss);
    for (const char* name : {"BA", "grad/BA", "update/A", "update/B", "update/BA", "update/magnitude"}) QVERIFY2(trainer.snapshot()->arrays.contains(name), name);
    trainer.goTo(3);
    QTRY_VERIFY_WITH_TIMEOUT(!trainer.busy() && trainer.snapshot()->step() == 3, 20000);
    trainer.play();
    QTRY_VERIFY_WITH_TIMEOUT(!trainer.busy() && trainer.snapshot()->step() == 12, 20000);
    QVERIFY(trainer.snapshot()->runs.front()->records == records);
  }
  void otherSettingsDropTheRun() {
    Session session;
    openLayer(session);
    Trainer& trainer = session.trainer();
    trainer.step();
    QTRY_VERIFY_WITH_TIMEOUT(!trainer.busy() && trainer.snapshot() && trainer.snapshot()->step() == 1, 20000);
    session.edit("rank", {}, [](SessionState& state) { state.view["train.rank"] = "100000"; });
    QVERIFY(!trainer.snapshot());
    trainer.step();
    QTRY_VERIFY_WITH_TIMEOUT(!trainer.busy(), 20000);
    QVERIFY(!trainer.message().empty());  // no such rank here, and why
    session.history().undo();
    QCOMPARE(trainSettings(session.state()).adapter.rank, std::uint64_t{4});
  }
  void sideBySideAndCommandLine() {
    Session session;
    openLayer(session);
    session.edit("beside", {}, [](SessionState& state) { state.view["train.beside"] = "yes", state.view["train.dtype"] = "bf16"; });
    QCOMPARE(plannedRuns(session.state()).size(), std::size_t{6});
    session.trainer().step();
    QTRY_VERIFY_WITH_TIMEOUT(!session.trainer().busy() && session.trainer().snapshot() && session.trainer().snapshot()->step() == 1, 20000);
    for (const auto& run : session.trainer().snapshot()->runs) QCOMPARE(run->records.size(), std::size_t{1});
    const QString line = trainCommand(session.state());
    QVERIFY2(line.contains("--method qdora --base minmax:bits=3") && line.contains("--rank 4") && line.contains("--dtype bf16"), qPrintable(line));
  }
  // Packed weights: what the last step did to the codes is there to be drawn.
  void packedWeights() {
    Session session;
    openLayer(session);
    session.edit("mbwq", {}, [](SessionState& state) {
      state.choice = *Choice::parse("mbwq:bits=4");
      state.view["train.method"] = "mbwq", state.view["train.lr"] = "0.05";
    });
    session.trainer().goTo(6);
    QTRY_VERIFY_WITH_TIMEOUT(!session.trainer().busy() && session.trainer().snapshot() && session.trainer().snapshot()->step() == 6, 20000);
    const auto snapshot = session.trainer().snapshot();
    for (const char* name : {"weight", "codes", "grad/codes", "update/codes"}) QVERIFY2(snapshot->arrays.contains(name), name);
    std::uint64_t flipped = 0;
    for (const double change : snapshot->arrays.at("update/codes")->values) flipped += change != 0 ? 1 : 0;
    QCOMPARE(flipped, snapshot->runs.front()->records.back().parameters.front().moved.moved);
    QVERIFY(flipped > 0);
  }
  // Selected matrices train together where the method can; the session file and the command line keep them.
  void severalTensorsTogether() {
    Session session;
    openLayer(session);
    std::vector<std::string> several;
    for (const auto& item : session.state().file->tree->items())
      if (item.name.find("attention.self") != std::string::npos && item.name.ends_with(".weight")) several.push_back(item.name);
    QCOMPARE(several.size(), std::size_t{3});
    session.edit("select", {}, [&](SessionState& state) { state.selection = several, state.view["train.method"] = "lsq"; });
    QCOMPARE(trainTensors(session.state()), several);
    session.trainer().goTo(2);
    QTRY_VERIFY_WITH_TIMEOUT(!session.trainer().busy() && session.trainer().snapshot() && session.trainer().snapshot()->step() == 2, 20000);
    const auto& run = *session.trainer().snapshot()->runs.front();
    QCOMPARE(run.records.back().parameters.size(), std::size_t{9});
    QVERIFY(session.trainer().snapshot()->arrays.contains(several[1] + "/bits"));
    QCOMPARE(trainCommand(session.state()).count("--tensor"), 3);
    SessionState read;
    QVERIFY(readSession(writeSession(session.state()), read));
    QCOMPARE(read.selection, several);
    session.edit("method", {}, [](SessionState& state) { state.view["train.method"] = "lora"; });
    QCOMPARE(trainTensors(session.state()), std::vector<std::string>{session.state().tensor});
  }
  // Every option of the table goes through a session's text and back, and the command line names it.
  void everyOptionThroughTheSession() {
    Session session;
    openLayer(session);
    for (const auto& method : train::allMethods())
      for (const auto& option : train::trainOptions()) {
        const train::TrainSettings defaults = train::defaultSettings(method.id);
        if (option.key == std::string("method") || (option.methods & train::forKind(method.kind)) == 0) continue;
        std::string other;
        switch (option.kind) {
          case train::TrainOption::Kind::Choice: other = option.choices().back() == option.get(defaults) ? option.choices().front() : option.choices().back(); break;
          case train::TrainOption::Kind::Flag: other = option.get(defaults) == "yes" ? "no" : "yes"; break;
          case train::TrainOption::Kind::Number: other = "0.375"; break;
          case train::TrainOption::Kind::Count: other = "7"; break;
          case train::TrainOption::Kind::Words: other = "*.bias key?"; break;
          case train::TrainOption::Kind::File: other = "some.npz"; break;
        }
        SessionState state = session.state();
        state.view = {{"train.method", std::string(method.id)}, {std::string("train.") + option.key, other}};
        const train::TrainSettings settings = trainSettings(state);
        QCOMPARE(option.get(settings), other);
        if (applies(option, settings)) QVERIFY2(trainCommand(state).contains(QString(" --%1").arg(option.key)), option.key);
        state.view[std::string("train.") + option.key] = "no such value";
        if (option.kind != train::TrainOption::Kind::Words && option.kind != train::TrainOption::Kind::File)
          QCOMPARE(option.get(trainSettings(state)), option.get(train::chosenSettings({{"method", std::string(method.id)}}).settings));
      }
  }
};

QTEST_MAIN(TestTrainer)
#include "test_trainer.moc"
