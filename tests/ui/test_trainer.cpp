// SPDX-License-Identifier: GPL-3.0-or-later
// The session's training: steps forward and back give the same records, the loss falls, settings drop a run and undo, and the
// command line names what is chosen.
#include "tests/support/golden.h"
#include "ui/session/session.h"
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
    QVERIFY(trainer.snapshot()->arrays.contains("BA"));
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
};

QTEST_MAIN(TestTrainer)
#include "test_trainer.moc"
