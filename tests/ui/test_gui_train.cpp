// SPDX-License-Identifier: GPL-3.0-or-later
// The Train page by mouse and keys: step, step back, play to the end, reset, other settings, undo. No event may keep the loop
// busy for 50 ms.
#include "tests/ui/support/window_under_test.h"

#include <QLabel>
#include <QTest>

using namespace nibble::test;

class TestGuiTrain : public QObject {
  Q_OBJECT
 private slots:
  void init() { (void)watchedApplication().takeStalls(); }
  void cleanup();
  void stepsPlaysAndGoesBack();
  void comparesSideBySide();
};

namespace {

QString textOf(const QString& name) {
  const auto* label = qobject_cast<QLabel*>(waitFor(name));
  return label != nullptr ? label->text() : QString();
}

bool atStep(int step, int of) {
  return waitUntil([=] { return textOf("trainPosition") == QString("step %1 of %2").arg(step).arg(of); }, 30000);
}

bool openTrainPage() {
  if (!waitUntil([] { return !findVisible("bpwKey") || !textOf("bpwKey").isEmpty(); })) return false;
  if (!typeInto("tensorFilter", "query.weight") || !clickRow("tensorTree", "query.weight")) return false;
  press(Qt::Key_4, Qt::ControlModifier);
  return waitFor("trainPage") != nullptr;
}

}  // namespace

void TestGuiTrain::cleanup() {
  const QStringList stalls = watchedApplication().takeStalls();
  QVERIFY2(stalls.isEmpty(), qPrintable("the event loop stalled: " + stalls.join("; ")));
}

void TestGuiTrain::stepsPlaysAndGoesBack() {
  TestWindow window(sampleFile());
  QVERIFY(waitFor("explorePage"));
  QVERIFY(openTrainPage());
  QVERIFY(atStep(0, 100));
  const QImage empty = picture("trainLossPanel");
  QVERIFY(click("trainStep"));
  QVERIFY(atStep(1, 100));
  QVERIFY(click("trainPlay"));
  QVERIFY(atStep(100, 100));
  QVERIFY(waitUntil([&] { return picture("trainLossPanel") != empty && findVisible("trainBack")->isEnabled(); }));
  QVERIFY(click("trainBack"));
  QVERIFY(atStep(99, 100));
  QVERIFY(click("trainReset"));
  QVERIFY(atStep(0, 100));
}

void TestGuiTrain::comparesSideBySide() {
  TestWindow window(sampleFile());
  QVERIFY(waitFor("explorePage"));
  QVERIFY(openTrainPage());
  QVERIFY(chooseItem("train_method", "dora"));
  QVERIFY(click("trainBeside"));
  QVERIFY(click("trainStep"));
  QVERIFY(atStep(1, 100));
  QVERIFY(waitUntil([] { return rowsOf("trainTable").size() == 5; }));
  QVERIFY(rowsOf("trainTable").front().startsWith("dora\tfloat base"));
}

int main(int argc, char** argv) { return runGuiTest<TestGuiTrain>(argc, argv); }
#include "test_gui_train.moc"
