// SPDX-License-Identifier: GPL-3.0-or-later
// The whole story by mouse, keys and drops: open, explore, change settings, compare ten candidates, drag a handle, export with
// proof, undo, save the session and open it again. No event may keep the loop busy for 50 ms.
#include "tests/ui/support/window_under_test.h"

#include <QComboBox>
#include <QFile>
#include <QLabel>
#include <QLineEdit>
#include <QMenu>
#include <QTest>
#include <QTimer>
#include <thread>

using namespace nibble::test;

class TestGuiStory : public QObject {
  Q_OBJECT
 private slots:
  void init() { (void)watchedApplication().takeStalls(); }
  void cleanup();
  void aStallIsSeen();
  void opensByMenu();
  void opensByDrop();
  void opensByArgumentAndRefusesABrokenFile();
  void settingsChangeThePlots_data();
  void settingsChangeThePlots();
  void errorViewsFollowTheSettings_data();
  void errorViewsFollowTheSettings();
  void aLargeErrorIsFoundAndChosen();
  void wrongTextKeepsTheResult();
  void comparesTenCandidates();
  void dragsAHandle();
  void exportsWithProof();
  void savesAndReopensTheSession();
  void worksByKeyboard();
};

namespace {

QString textOf(const QString& objectName) {
  QWidget* widget = waitFor(objectName);
  if (const auto* label = qobject_cast<QLabel*>(widget)) return label->text();
  if (const auto* edit = qobject_cast<QLineEdit*>(widget)) return edit->text();
  return {};
}

bool exploring() {
  return waitUntil([] {
    const QWidget* chip = findVisible("exactness");
    return chip != nullptr && qobject_cast<const QLabel*>(chip)->text() == "exact" && !textOf("bpwKey").isEmpty();
  });
}

// Waits until the widget looks different from `before`.
bool looksOtherThan(const QString& objectName, const QImage& before) {
  return waitUntil([&] { return picture(objectName) != before; });
}

bool chooseTensor(const QString& name) {
  return typeInto("tensorFilter", name) && waitUntil([&] { return rowsOf("tensorTree").join('\n').contains("weight"); }) &&
         clickRow("tensorTree", "query.weight");
}

// What stands beside the matrix, chosen by the panel's title with the mouse.
bool showBeside(const QString& view) {
  if (!click("rowsPanelChoice")) return false;
  auto* menu = qobject_cast<QMenu*>(waitFor("rowsPanelMenu"));
  if (menu == nullptr) return false;
  for (QAction* action : menu->actions()) {
    if (action->objectName() != "rowsPanel_" + view) continue;
    QTest::mouseClick(menu, Qt::LeftButton, {}, menu->actionGeometry(action).center());
    return waitUntil([&] { return findVisible("rowsPanelMenu") == nullptr; });
  }
  return false;
}

// What the panel's line says in full; empty while the view has no data.
QString besideLine() {
  const QWidget* line = findVisible("rowsPanelLine");
  return line == nullptr ? QString() : line->accessibleName();
}

bool besideIsThere() {
  return waitUntil([] { return !besideLine().isEmpty(); }) && (QTest::qWait(150), true);
}

}  // namespace

void TestGuiStory::cleanup() {
  const QStringList stalls = watchedApplication().takeStalls();
  QVERIFY2(stalls.isEmpty(), qPrintable("the event loop stalled: " + stalls.join("; ")));
}

// What cleanup() asks after every test: work in an event handler, and not the wait for a processor.
void TestGuiStory::aStallIsSeen() {
  const auto spend = [](std::chrono::milliseconds time) {
    bool done = false;
    QTimer::singleShot(0, qApp, [&] {
      std::this_thread::sleep_for(time);
      done = true;
    });
    return waitUntil([&] { return done; }) ? watchedApplication().takeStalls().size() : -1;
  };
  QCOMPARE(spend(WatchedApplication::limit / 4), 0);
  QCOMPARE(spend(WatchedApplication::limit * 2), 1);
}

void TestGuiStory::opensByMenu() {
  TestWindow window;
  QVERIFY(waitFor("startPage"));
  QVERIFY(waitFor("recentNone"));  // nothing was opened yet: no table, and no word about its keys
  for (const char* name : {"recentTable", "recentKeys"}) QVERIFY2(findVisible(name) == nullptr, name);
  QVERIFY(withFileDialog(sampleFile(), [] { chooseMenu({"File", "Open file..."}); }));
  QVERIFY(waitFor("explorePage"));
  QVERIFY(exploring());
  QVERIFY(rowsOf("tensorTree").join('\n').contains("query.weight"));
}

void TestGuiStory::opensByDrop() {
  TestWindow window;
  QVERIFY(dropPath("startPage", sampleFile()));
  QVERIFY(exploring());
}

void TestGuiStory::opensByArgumentAndRefusesABrokenFile() {
  TestWindow window(sampleFile());
  QVERIFY(exploring());
  const QString name = textOf("tensorShape");
  writeFile(window.file("broken.safetensors"), "\xff\xff\xff\xff\xff\xff\xff\xff not a header");
  QVERIFY(dropPath("explorePage", window.file("broken.safetensors")));
  QVERIFY(waitFor("problemBar"));
  QVERIFY(textOf("problemBarText").contains("broken.safetensors"));
  QCOMPARE(textOf("tensorShape"), name);  // what was open stays
}

void TestGuiStory::settingsChangeThePlots_data() {
  QTest::addColumn<QString>("scheme");
  QTest::addColumn<QString>("button");
  QTest::newRow("hqq bits") << "hqq" << "setting_bits_3";
  QTest::newRow("hqq group") << "hqq" << "setting_group_128";
  QTest::newRow("hqq axis") << "hqq" << "setting_axis_0";
  QTest::newRow("hqq optimize") << "hqq" << "setting_optimize";
  QTest::newRow("hqq params") << "hqq" << "setting_params_bf16";
}

void TestGuiStory::settingsChangeThePlots() {
  QFETCH(QString, scheme);
  QFETCH(QString, button);
  TestWindow window(sampleFile());
  QVERIFY(exploring());
  QVERIFY(chooseTensor("query.weight"));
  QVERIFY(exploring());
  QTest::qWait(300);  // what arrives after the figures: plots repaint in their own time
  QVERIFY(waitFor("settingsForm"));
  const QString textBefore = textOf("schemeText");
  const QImage errors = picture("errorPanel"), weights = picture("weightsPanel"), microscope = picture("microscopePanel");
  QVERIFY(click(button, button == "setting_optimize" ? QPoint(8, 12) : QPoint(-1, -1)));  // a check box is hit at its box
  QVERIFY(waitUntil([&] { return textOf("schemeText") != textBefore; }));
  QVERIFY(looksOtherThan("errorPanel", errors));
  if (button != "setting_params_bf16") {
    QVERIFY(looksOtherThan("weightsPanel", weights));
    QVERIFY(looksOtherThan("microscopePanel", microscope));
  }
  QVERIFY(click("undoButton"));
  QVERIFY(waitUntil([&] { return textOf("schemeText") == textBefore; }));
}

void TestGuiStory::errorViewsFollowTheSettings_data() {
  QTest::addColumn<QString>("view");
  QTest::addColumn<QString>("plot");
  QTest::newRow("reconstruction") << "reconstruction" << "reconstruction";
  QTest::newRow("largest") << "largest" << "largestTable";
  QTest::newRow("spectrum") << "spectrum" << "spectrum";
}

void TestGuiStory::errorViewsFollowTheSettings() {
  QFETCH(QString, view);
  QFETCH(QString, plot);
  TestWindow window(sampleFile());
  QVERIFY(exploring());
  QVERIFY(chooseTensor("query.weight"));
  QVERIFY(exploring());
  const QString rows = besideLine();
  QVERIFY(showBeside(view));
  QVERIFY(waitFor(plot));
  QVERIFY(besideIsThere());
  QVERIFY(besideLine() != rows);
  const QImage four = picture(plot);
  QVERIFY(click("setting_bits_3"));
  QVERIFY(looksOtherThan(plot, four));
  QVERIFY(exploring());
  QVERIFY(besideIsThere());
  const QImage three = picture(plot);
  QVERIFY(click("undoButton"));
  QVERIFY2(waitUntil([&] { return picture(plot) == four; }), "undo brings the picture back");
  if (view == "spectrum") {
    QVERIFY(showBeside("energy"));
    QVERIFY(looksOtherThan(plot, four));
    QVERIFY2(besideLine().contains("rank 16"), qPrintable(besideLine()));
  }
  if (view == "largest") {
    QCOMPARE(rowsOf(plot).size(), qsizetype{100});
  } else {
    QVERIFY(hover(plot, {80, 60}));
    QTest::keyClick(findVisible(plot), Qt::Key_Right);
    QVERIFY2(waitUntil([&] { return besideLine().contains(": "); }), qPrintable(besideLine()));
  }
  QVERIFY(showBeside("rows"));
  QVERIFY(waitFor("rowRanges"));
  QVERIFY(waitUntil([&] { return besideLine() == rows; }));
}

void TestGuiStory::aLargeErrorIsFoundAndChosen() {
  TestWindow window(sampleFile());
  QVERIFY(exploring());
  QVERIFY(chooseTensor("query.weight"));
  QVERIFY(exploring());
  QVERIFY(chooseMenu({"View", "Beside the matrix", "Largest errors"}));
  QVERIFY(waitFor("largestTable"));
  QVERIFY(besideIsThere());
  const QStringList cells = rowsOf("largestTable").value(2).split('\t');
  QCOMPARE(cells.size(), qsizetype{6});
  const QImage matrix = picture("matrix"), microscope = picture("microscopePanel");
  QVERIFY(clickRow("largestTable", rowsOf("largestTable").value(2)));
  QVERIFY(looksOtherThan("matrix", matrix));
  QVERIFY(looksOtherThan("microscopePanel", microscope));
  const QString place = QString("w[%1, %2]").arg(cells[0], cells[1]);
  const auto line = [] { return findVisible("microscopePanelLine")->accessibleName(); };
  QVERIFY2(waitUntil([&] { return line().contains(place); }), qPrintable(line() + " / " + place));
  press(Qt::Key_Down);
  QVERIFY(waitUntil([&] { return !line().contains(place); }));
  const QImage chosen = picture("largestTable");
  QVERIFY(click("matrix", {90, 40}));  // another cell: no line of the table is its own
  QVERIFY(looksOtherThan("largestTable", chosen));
}

void TestGuiStory::wrongTextKeepsTheResult() {
  TestWindow window(sampleFile());
  QVERIFY(exploring());
  const QString size = textOf("bpwKey");
  QVERIFY(typeInto("schemeText", "hqq:bits=7"));
  QVERIFY(waitUntil([] { return textOf("schemeText") == "hqq:bits=7"; }));
  QTest::qWait(200);
  QCOMPARE(textOf("bpwKey"), size);
  QVERIFY(typeInto("schemeText", "nf4:block=128"));
  QVERIFY(waitUntil([&] { return textOf("bpwKey") != size; }));
}

void TestGuiStory::comparesTenCandidates() {
  TestWindow window(sampleFile());
  QVERIFY(exploring());
  press(Qt::Key_2, Qt::ControlModifier);
  QVERIFY(waitFor("comparePage"));
  QVERIFY(click("addToCompare"));
  QVERIFY(click("varyBits"));
  for (const char* scheme : {"nf4", "fp4", "uniform:bits=8", "uniform:bits=4,granularity=group", "codebook:bits=4,granularity=tensor"}) {
    QVERIFY(typeInto("schemeText", scheme));
    QVERIFY(click("addToCompare"));
  }
  QVERIFY(waitUntil([] { return rowsOf("candidateTable").size() >= 10; }));
  const auto complete = [] {
    for (const QString& row : rowsOf("candidateTable"))
      if (row.split('\t').value(4).isEmpty() || row.split('\t').value(4) == QString(QChar(0x2013))) return false;  // its MSE
    return true;
  };
  QVERIFY2(waitUntil(complete, 20000), qPrintable(rowsOf("candidateTable").join('\n')));
  QVERIFY(rowsOf("candidateTable").join('\n').contains("8.04"));
}

void TestGuiStory::dragsAHandle() {
  TestWindow window(sampleFile());
  QVERIFY(exploring());
  QVERIFY(chooseTensor("query.weight"));
  QVERIFY(exploring());
  QTest::qWait(300);
  const QImage before = picture("microscopePanel");
  QVERIFY(click("matrix", {200, 100}));
  QVERIFY(looksOtherThan("microscopePanel", before));
}

void TestGuiStory::exportsWithProof() {
  TestWindow window(sampleFile());
  QVERIFY(exploring());
  press(Qt::Key_3, Qt::ControlModifier);
  QVERIFY(waitFor("exportPage"));
  QVERIFY(chooseItem("exportFormat", "npz"));
  QVERIFY(typeInto("exportFolder", window.file("out.npz")));
  QVERIFY(waitUntil([] { return findVisible("exportStart") != nullptr && findVisible("exportStart")->isEnabled(); }));
  QVERIFY(click("exportStart"));
  QVERIFY(waitUntil([&] { return QFile::exists(window.file("out.npz")); }, 30000));
  QVERIFY(waitUntil([] { return textOf("exportDifference").contains('0'); }));
  QVERIFY(QFile(window.file("out.npz")).size() > 100000);
}

void TestGuiStory::savesAndReopensTheSession() {
  const auto chosen = [] { return textOf("schemeText"); };
  QString choice;
  QTemporaryDir folder;
  const QString session = folder.filePath("mine.nibble");
  {
    TestWindow window(sampleFile());
    QVERIFY(exploring());
    QVERIFY(typeInto("schemeText", "nf4:block=128"));
    QVERIFY(click("addToCompare"));
    choice = chosen();
    QVERIFY(withFileDialog(session, [] { chooseMenu({"File", "Save session as..."}); }));
    QVERIFY(waitUntil([&] { return QFile::exists(session); }));
  }
  TestWindow window(session);
  QVERIFY(exploring());
  QVERIFY(waitUntil([&] { return chosen() == choice; }));
  press(Qt::Key_2, Qt::ControlModifier);
  QVERIFY(waitUntil([] { return rowsOf("candidateTable").size() == 1; }));
}

void TestGuiStory::worksByKeyboard() {
  TestWindow window;
  press(Qt::Key_S, Qt::ControlModifier | Qt::ShiftModifier);
  QVERIFY(exploring());
  press(Qt::Key_F, Qt::ControlModifier);
  for (const QChar letter : QString("value.weight")) press(static_cast<Qt::Key>(letter.toUpper().unicode()));
  QVERIFY(waitUntil([] { return textOf("tensorFilter").startsWith("value"); }));
  press(Qt::Key_2, Qt::ControlModifier);
  QVERIFY(waitFor("comparePage"));
  press(Qt::Key_Return, Qt::ControlModifier);
  QVERIFY(waitUntil([] { return rowsOf("candidateTable").size() == 1; }));
  press(Qt::Key_Tab);  // out of the filter, whose own undo takes the keys
  press(Qt::Key_Z, Qt::ControlModifier);
  QVERIFY(waitUntil([] { return findVisible("candidateTable") == nullptr || rowsOf("candidateTable").isEmpty(); }));
}

int main(int argc, char** argv) { return runGuiTest<TestGuiStory>(argc, argv); }
#include "test_gui_story.moc"
