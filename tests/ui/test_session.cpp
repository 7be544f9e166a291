// SPDX-License-Identifier: GPL-3.0-or-later
// The session's state: undo gives back exactly what was there, drags merge into one step, a saved session reads back equal, and
// the newest answer is the one that is shown.
#include "tests/support/golden.h"
#include "ui/session/comparer.h"
#include "ui/session/explorer.h"
#include "ui/session/session.h"
#include "ui/session/session_text.h"

#include <QRandomGenerator>
#include <QSignalSpy>
#include <QTemporaryDir>
#include <QTest>

using namespace nibble;

namespace {

const QString sample = QString::fromStdString(nibble::test::resourcePath("sample/minilm-sample.safetensors").string());

bool idle(Session& session) {
  return !session.opening().busy() && !session.explorer().lane().busy() && !session.comparer().lane().busy();
}

void openSample(Session& session) {
  session.open(sample);
  QTRY_VERIFY_WITH_TIMEOUT(session.state().file != nullptr, 10000);
  QTRY_VERIFY_WITH_TIMEOUT(idle(session), 10000);
}

Choice choice(const char* text) { return *Choice::parse(text); }

void changeSomething(Session& session, QRandomGenerator& random) {
  static const char* const choices[] = {"hqq:bits=3,group=64", "hqq:bits=4,group=128", "nf4", "uniform:bits=4", "minmax"};
  const auto pick = random.bounded(9);
  if (pick == 0) return session.comparer().add({choice(choices[random.bounded(5)])}, "add");
  if (pick == 1 && !session.state().candidates.empty()) return session.comparer().remove(0);
  session.edit("change", {}, [&](SessionState& state) {
    switch (pick) {
      case 2: state.choice = choice(choices[random.bounded(5)]); break;
      case 3: state.cell = Cell{random.bounded(384u), random.bounded(384u)}; break;
      case 4: state.page = static_cast<Page>(random.bounded(3)); break;
      case 5: state.exporting.out = "out" + std::to_string(random.bounded(4)); break;
      case 6: state.view["weights.scale"] = random.bounded(2) != 0 ? "log" : "lin"; break;
      case 7: state.whatIf = WhatIf{0.1 + random.bounded(3), 0}; break;
      default: state.tensor = state.file->tree->items()[static_cast<std::size_t>(random.bounded(4))].name; break;
    }
  });
}

}  // namespace

class TestSession : public QObject {
  Q_OBJECT
 private slots:
  void undoGivesBackTheStart() {
    Session session;
    const SessionState empty = session.state();
    openSample(session);
    const SessionState start = session.state();
    QRandomGenerator random(7);
    for (int i = 0; i < 500; ++i) {
      changeSomething(session, random);
      if (i % 50 == 0) QTest::qWait(5);
    }
    const SessionState end = session.state();
    QVERIFY(!(end == start));
    while (session.history().index() > 1) session.history().undo();
    QVERIFY(session.state() == start);
    session.history().undo();
    QVERIFY(session.state() == empty);
    while (session.history().canRedo()) session.history().redo();
    QVERIFY(session.state() == end);
    QTRY_VERIFY_WITH_TIMEOUT(idle(session), 20000);
  }

  void dragsMergeIntoOneStep() {
    Session session;
    openSample(session);
    const int before = session.history().count();
    for (int i = 0; i < 20; ++i) session.edit("drag", "whatif.scale", [&](SessionState& state) { state.whatIf = WhatIf{0.1 * (i + 1), 0}; });
    QCOMPARE(session.history().count(), before + 1);
    session.edit("other", "whatif.zero", [&](SessionState& state) { state.whatIf = WhatIf{2, 1}; });
    QCOMPARE(session.history().count(), before + 2);
    session.history().undo();
    session.history().undo();
    QVERIFY(!session.state().whatIf.has_value());
  }

  void savedSessionReadsBackEqual() {
    QTemporaryDir folder;
    const QString path = folder.filePath("work.nibble");
    SessionState saved;
    {
      Session session;
      openSample(session);
      session.comparer().add({choice("hqq:bits=4,group=64"), choice("nf4"), choice("uniform:bits=4")}, "add");
      session.edit("change", {}, [](SessionState& state) {
        state.choice = choice("hqq:bits=3,group=32,axis=0");
        state.cell = Cell{17, 3};
        state.baseline = 2;
        state.candidates[1].ticked = false;
        state.page = Page::Compare;
        state.exporting = {"hqq", "transformers", "packed", false, false};
        state.view["matrix.quantity"] = "scale";
        state.backend = "host";
      });
      saved = session.state();
      const Status written = session.saveSession(path);
      QVERIFY2(written.has_value(), written ? "" : written.error().message.c_str());
    }
    Session session;
    QSignalSpy problems(&session, &Session::problem);
    session.openSession(path);
    QTRY_VERIFY_WITH_TIMEOUT(session.state().file != nullptr || problems.count() > 0, 10000);
    QCOMPARE(problems.count(), 0);
    SessionState read = session.state();
    QCOMPARE(read.file->path, saved.file->path);
    read.file = saved.file;
    read.selection = saved.selection;
    QVERIFY(read == saved);
    QTRY_VERIFY_WITH_TIMEOUT(idle(session), 20000);
  }

  void newestAnswerIsShown() {
    Session session;
    openSample(session);
    for (const char* text : {"hqq:bits=2,group=64", "hqq:bits=3,group=64", "nf4", "hqq:bits=8,group=64"})
      session.edit("choice", "choice", [&](SessionState& state) { state.choice = choice(text); });
    QTRY_VERIFY_WITH_TIMEOUT(idle(session), 20000);
    QVERIFY(session.explorer().current()->choice == choice("hqq:bits=8,group=64"));
    QVERIFY(session.explorer().current()->report.sqnrDb() > 35);
  }

  void candidatesAreMeasuredOnceAndMatchTheExploration() {
    Session session;
    openSample(session);
    QTRY_VERIFY_WITH_TIMEOUT(session.explorer().current() != nullptr, 10000);
    session.comparer().add({*session.state().choice, choice("nf4")}, "add");
    QTRY_VERIFY_WITH_TIMEOUT(idle(session), 20000);
    const auto* result = session.comparer().result(*session.state().choice);
    QVERIFY(result != nullptr && result->problem.empty());
    QCOMPARE(result->report.mse(), session.explorer().current()->report.mse());
    QCOMPARE(result->bitsPerWeight, session.explorer().current()->bitsPerWeight);
  }

  // Stored or quantized anew, and which reading, is part of what is saved.
  void packedLayersKeepHowTheyAreShown() {
    const auto path = nibble::test::dataPath("packed") / "gptq-4b-g32-asym" / "model.safetensors";
    QTemporaryDir folder;
    Session session;
    session.open(QString::fromStdString(path.string()));
    QTRY_VERIFY_WITH_TIMEOUT(session.state().file != nullptr && idle(session) && session.explorer().current(), 10000);
    QVERIFY(session.state().storedLayer() != nullptr && session.explorer().current()->isStored());
    const auto& layer = session.state().file->weights->packedLayers()[0].layer;
    QCOMPARE(layer.readings.size(), std::size_t{2});
    const auto first = session.explorer().current()->facts->tensor;
    session.edit("read", {}, [&](SessionState& state) { state.view["stored.reading"] = layer.readings[1]; });
    QTRY_VERIFY_WITH_TIMEOUT(idle(session), 10000);
    QCOMPARE(session.state().reading(), layer.readings[1]);
    const auto second = session.explorer().current()->facts->tensor;
    QVERIFY(first.floats()->front() != second.floats()->front());  // zero points one apart
    for (const bool anew : {false, true}) {
      if (anew) session.edit("choose", {}, [](SessionState& state) { state.choose(choice("nf4")); });
      const SessionState saved = session.state();
      QVERIFY(session.saveSession(folder.filePath("packed.nibble")).has_value());
      Session other;
      other.openSession(folder.filePath("packed.nibble"));
      QTRY_VERIFY_WITH_TIMEOUT(other.state().file != nullptr && idle(other) && other.explorer().current(), 10000);
      QCOMPARE(other.state().asStored, saved.asStored);
      QCOMPARE(other.state().reading(), saved.reading());
      QCOMPARE(other.explorer().current()->isStored(), !anew);
    }
    session.edit("read", {}, [](SessionState& state) { state.view["stored.reading"] = "v3"; });
    QCOMPARE(session.state().reading(), std::string());  // a name that the layer does not know means nothing
  }

  void wrongFilesAreAProblemAndChangeNothing() {
    Session session;
    const SessionState before = session.state();
    QSignalSpy problems(&session, &Session::problem);
    session.open("/nowhere/at/all.safetensors");
    QTRY_COMPARE_WITH_TIMEOUT(problems.count(), 1, 10000);
    QVERIFY(problems[0][0].toString().contains("all.safetensors"));
    session.openSession("/nowhere/at/all.nibble");
    QCOMPARE(problems.count(), 2);
    QVERIFY(session.state() == before);
    QCOMPARE(session.history().count(), 0);
  }
};

QTEST_MAIN(TestSession)
#include "test_session.moc"
