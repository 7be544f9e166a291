// SPDX-License-Identifier: GPL-3.0-or-later
// The activations view by mouse and keys: drawn inputs, alpha by the slider, inputs from a file, a file that does not fit, the table
// copied and saved, undo. No event may keep the loop busy for 50 ms.
#include "tests/ui/support/window_under_test.h"

#include <QClipboard>
#include <QGuiApplication>
#include <QLabel>
#include <QTest>
#include <cstring>

using namespace nibble::test;

class TestGuiActivations : public QObject {
  Q_OBJECT
 private slots:
  void init() { (void)watchedApplication().takeStalls(); }
  void cleanup();
  void smoothsDrawnOutliers();
  void readsInputsFromAFile();
};

namespace {

QString textOf(const QString& name) {
  const auto* label = qobject_cast<QLabel*>(findVisible(name));
  return label != nullptr ? label->text() : QString();
}

// All figures of the table are there.
bool complete(int rows = 8) {
  return waitUntil([=] {
    const QStringList lines = rowsOf("linearTable");
    return lines.size() == rows && !lines.join('\n').contains(QChar(0x2013));
  }, 30000);
}

bool openView() {
  if (!waitUntil([] { return findVisible("bpwKey") && !textOf("bpwKey").isEmpty(); })) return false;
  if (!typeInto("tensorFilter", "query.weight") || !clickRow("tensorTree", "query.weight")) return false;
  press(Qt::Key_2, Qt::ControlModifier);
  return waitFor("comparePage") != nullptr && click("compareMode_activations") && waitFor("activationsView") != nullptr;
}

QByteArray npy(int rows, int columns) {
  std::string header = "{'descr': '<f4', 'fortran_order': False, 'shape': (" + std::to_string(rows) + ", " + std::to_string(columns) + "), }";
  header.resize((10 + header.size() + 64) / 64 * 64 - 10 - 1, ' ');
  header += '\n';
  QByteArray bytes("\x93NUMPY\x01\x00", 8);
  bytes.append(static_cast<char>(header.size() % 256)).append(static_cast<char>(header.size() / 256)).append(header.c_str());
  for (int i = 0; i < rows * columns; ++i) {
    const float value = static_cast<float>((i * 37 % 101) - 50) / 50.0F * (i % columns == 5 ? 40.0F : 1.0F);
    bytes.append(reinterpret_cast<const char*>(&value), sizeof value);
  }
  return bytes;
}

}  // namespace

void TestGuiActivations::cleanup() {
  const QStringList stalls = watchedApplication().takeStalls();
  QVERIFY2(stalls.isEmpty(), qPrintable("the event loop stalled: " + stalls.join("; ")));
}

void TestGuiActivations::smoothsDrawnOutliers() {
  TestWindow window(sampleFile());
  QVERIFY(waitFor("explorePage"));
  QVERIFY(openView());
  QVERIFY(complete());
  QVERIFY2(textOf("activationProfilePanelLine").startsWith("4 outlier channels"), qPrintable(textOf("activationProfilePanelLine")));
  QVERIFY2(textOf("activationOutlierText").startsWith("smoothed: 0 outlier channels"), qPrintable(textOf("activationOutlierText")));
  const QStringList half = rowsOf("linearTable");
  QVERIFY(half.last().contains("8-bit integers") && half.first().contains("simulated"));
  // The profile follows the slider at once, the smoothed figures soon.
  const QImage profile = picture("activationProfilePanel"), weights = picture("weightProfilePanel");
  QVERIFY(click("activationAlpha"));
  for (int i = 0; i < 20; ++i) press(Qt::Key_Left);
  QVERIFY(waitUntil([] { return textOf("activationAlphaText") == "0.30"; }));
  QVERIFY(picture("activationProfilePanel") != profile && picture("weightProfilePanel") != weights);
  QVERIFY(complete());
  const QStringList less = rowsOf("linearTable");
  for (qsizetype i = 0; i < less.size(); ++i) {
    const QStringList before = half[i].split('\t'), after = less[i].split('\t');
    QCOMPARE(after[2], before[2]);       // not smoothed
    QVERIFY2(after[3] != before[3], qPrintable(less[i]));
  }
  press(Qt::Key_Home);  // alpha 0: all of it stays in the inputs
  QVERIFY(waitUntil([] { return textOf("activationAlphaText") == "0.00"; }));
  QVERIFY(typeInto("activationOutliers", "0"));
  QVERIFY(waitUntil([] { return textOf("activationProfilePanelLine").startsWith("0 outlier channels"); }));
  QVERIFY(complete());
  // Another scheme in the dock is another layer.
  QVERIFY(typeInto("schemeText", "minmax:bits=3"));
  QVERIFY(complete());
  QVERIFY2(rowsOf("linearTable").front().startsWith("minmax 3"), qPrintable(rowsOf("linearTable").front()));
}

void TestGuiActivations::readsInputsFromAFile() {
  TestWindow window(sampleFile());
  QVERIFY(waitFor("explorePage"));
  writeFile(window.file("inputs.npy"), npy(16, 384));
  writeFile(window.file("narrow.npy"), npy(16, 100));
  QVERIFY(openView());
  QVERIFY(complete());
  const QStringList drawn = rowsOf("linearTable");
  QVERIFY(withFileDialog(window.file("inputs.npy"), [] { click("activationBrowse"); }));
  QVERIFY(waitUntil([] { return textOf("linearPanelLine").startsWith("16 inputs"); }));
  QVERIFY(complete());
  QVERIFY(rowsOf("linearTable") != drawn);
  QVERIFY(textOf("activationProfilePanelLine").startsWith("1 outlier channel,"));
  QVERIFY(!findVisible("activationRows")->isEnabled());
  press(Qt::Key_C, Qt::ControlModifier | Qt::ShiftModifier);
  const QString command = QGuiApplication::clipboard()->text();
  QVERIFY2(command.startsWith("nibblescope-cli linear ") && command.contains("--inputs") && command.contains("--smooth 0.5"), qPrintable(command));
  QVERIFY(click("copyTable"));
  QVERIFY(QGuiApplication::clipboard()->text().startsWith("weights\tinputs\tsqnrDb"));
  QVERIFY(withFileDialog(window.file("linear.json"), [] { click("saveTable"); }));
  QVERIFY(waitUntil([&] { return fileBytes(window.file("linear.json")).contains("smoothedSqnrDb"); }));
  QVERIFY(typeInto("activationFile", window.file("narrow.npy")));
  QVERIFY(waitUntil([] { return textOf("activationNote").contains("100") && textOf("activationNote").contains("384"); }));
  QVERIFY(rowsOf("linearTable").isEmpty());
  QVERIFY(click("undoButton"));
  QVERIFY(waitUntil([] { return textOf("activationNote").isEmpty(); }));
  QVERIFY(complete());
}

int main(int argc, char** argv) { return runGuiTest<TestGuiActivations>(argc, argv); }
#include "test_gui_activations.moc"
