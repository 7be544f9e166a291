// SPDX-License-Identifier: GPL-3.0-or-later
// 500 random things a person could do, from a fixed seed, then undo until nothing is left to undo: the session saved then is
// the session saved at the start. And jobs cancelled at 20 random moments leave no trace. The seed can be set by
// NIBBLE_MONKEY_SEED to look elsewhere.
#include "tests/ui/support/window_under_test.h"

#include <QAbstractButton>
#include <QComboBox>
#include <QDir>
#include <QJsonDocument>
#include <QJsonObject>
#include <QLabel>
#include <QLineEdit>
#include <QRandomGenerator>
#include <QTest>

using namespace nibble::test;

class TestGuiMonkey : public QObject {
  Q_OBJECT
 private slots:
  void undoesFiveHundredActions();
  void cancelledExportsLeaveNoTrace();
};

namespace {

quint32 seed() {
  bool given = false;
  const int value = qEnvironmentVariableIntValue("NIBBLE_MONKEY_SEED", &given);
  return given ? static_cast<quint32>(value) : 20261124u;
}

bool exploring() {
  return waitUntil([] {
    const auto* chip = qobject_cast<QLabel*>(findVisible("exactness"));
    return chip != nullptr && chip->text() == "exact";
  });
}

QJsonObject savedSession(const QString& path) {
  QFile::remove(path);
  if (!withFileDialog(path, [] { chooseMenu({"File", "Save session as..."}); })) return {};
  if (!waitUntil([&] { return QFileInfo(path).size() > 0; })) return {};
  return QJsonDocument::fromJson(fileBytes(path)).object();
}

QPoint somewhereIn(const QWidget* widget, QRandomGenerator& random) {
  return {random.bounded(std::max(1, widget->width())), random.bounded(std::max(1, widget->height()))};
}

const QStringList schemes = {"hqq:bits=3", "nf4:block=128", "uniform:bits=4,granularity=group,group=32", "codebook:bits=2", "hqq:bits=9",
                             "minmax:bits=4", "float:type=bf16", "nonsense", "fp4", "uniform:bits=8,symmetric=false"};
const QStringList segments = {"setting_bits_3", "setting_bits_4", "setting_bits_8", "setting_group_32", "setting_group_128",
                              "setting_axis_0", "setting_axis_1", "setting_params_f32", "setting_params_f16"};
const QStringList plots = {"matrix", "rowRanges", "reconstruction", "spectrum", "weightHistogram", "errorHistogram", "bitStrip", "microscope", "pareto", "errorOverlay"};

// One random action; what is not on the page just now is left alone.
void actRandomly(QRandomGenerator& random) {
  const auto clickIfThere = [&](const QString& name) {
    const QWidget* widget = findVisible(name);
    if (widget != nullptr && widget->isEnabled() && widget->visibleRegion().contains(widget->rect().center())) click(name);
  };
  switch (random.bounded(10)) {
    case 0: clickIfThere(segments[random.bounded(static_cast<int>(segments.size()))]); break;
    case 1: typeInto("schemeText", schemes[random.bounded(static_cast<int>(schemes.size()))]); break;
    case 2: press(static_cast<Qt::Key>(Qt::Key_1 + random.bounded(3)), Qt::ControlModifier); break;
    case 3: clickIfThere("addToCompare"); break;
    case 4: clickIfThere(QStringList{"matrixQuantity_error", "matrixQuantity_code", "weightScale_lin", "weightScale_log", "paretoAxis_mib"}[random.bounded(5)]); break;
    case 5: {
      const QString tensor = QStringList{"query.weight", "key.weight", "value.weight", "word_embeddings"}[random.bounded(4)];
      if (rowsOf("tensorTree").join('\n').contains(tensor)) clickRow("tensorTree", tensor);
      break;
    }
    case 6: {
      const QString name = plots[random.bounded(static_cast<int>(plots.size()))];
      const QWidget* plot = findVisible(name);
      if (plot == nullptr) break;
      const QPoint from = somewhereIn(plot, random), to = somewhereIn(plot, random);
      if (!plot->visibleRegion().contains(from) || !plot->visibleRegion().contains(to)) break;
      random.bounded(3) == 0 ? drag(name, from, to, 3) : random.bounded(2) == 0 ? click(name, from) : wheel(name, from, random.bounded(2) * 2 - 1);
      break;
    }
    case 7: clickIfThere(random.bounded(2) == 0 ? "undoButton" : "redoButton"); break;
    case 8: clickIfThere(QStringList{"varyBits", "varyGroup", "everyScheme"}[random.bounded(3)]); break;
    case 9: chooseMenu({"View", "Beside the matrix", QStringList{"Rows", "Reconstruction", "Largest errors", "Singular values", "Energy"}[random.bounded(5)]}); break;
  }
}

bool canUndo() {
  const QWidget* undo = findVisible("undoButton");
  return undo != nullptr && undo->isEnabled();
}

}  // namespace

void TestGuiMonkey::undoesFiveHundredActions() {
  TestWindow window(sampleFile());
  QVERIFY(exploring());
  QTemporaryDir folder;
  const QJsonObject start = savedSession(folder.filePath("start.nibble"));
  QVERIFY(!start.isEmpty());
  // Opening is a step too: undo no further than the state that was saved.
  typeInto("schemeText", "nf4:block=4096");
  QRandomGenerator random(seed());
  for (int action = 0; action < 500 && !QTest::currentTestFailed(); ++action) actRandomly(random);
  QVERIFY(!QTest::currentTestFailed());
  QJsonObject now;
  for (int step = 0; step < 2000 && canUndo(); ++step) {
    const auto* text = qobject_cast<QLineEdit*>(findVisible("schemeText"));
    if (text != nullptr && text->text().startsWith("nf4:block=4096") && rowsOf("tensorTree").size() > 3) {
      QVERIFY(click("undoButton"));  // the mark itself
      press(Qt::Key_S, Qt::ControlModifier);  // under the name it was saved by before
      now = QJsonDocument::fromJson(fileBytes(folder.filePath("start.nibble"))).object();
      if (now == start) break;
      continue;
    }
    QVERIFY(click("undoButton"));
  }
  QCOMPARE(QString::fromUtf8(QJsonDocument(now).toJson()), QString::fromUtf8(QJsonDocument(start).toJson()));
  const QStringList stalls = watchedApplication().takeStalls();
  QVERIFY2(stalls.isEmpty(), qPrintable(stalls.join("; ")));
}

void TestGuiMonkey::cancelledExportsLeaveNoTrace() {
  TestWindow window(sampleFile());
  QVERIFY(exploring());
  press(Qt::Key_3, Qt::ControlModifier);
  QVERIFY(waitFor("exportPage"));
  QVERIFY(chooseItem("exportFormat", "npz"));
  QDir(window.folder()).mkdir("out");
  QVERIFY(typeInto("exportFolder", window.file("out/packed.npz")));
  QRandomGenerator random(seed());
  const QDir out(window.file("out"));
  for (int round = 0; round < 20; ++round) {
    QVERIFY(waitUntil([] { return findVisible("exportStart") != nullptr && findVisible("exportStart")->isEnabled(); }));
    QVERIFY(click("exportStart"));
    QTest::qWait(random.bounded(120));
    const QWidget* cancel = findVisible("exportCancel");
    if (cancel != nullptr && cancel->isEnabled()) click("exportCancel");
    QVERIFY(waitUntil([] { return findVisible("exportStart") == nullptr || findVisible("exportStart")->isEnabled(); }));
    QTest::qWait(150);
    // A cancelled worker that waits for the disk (fsync) can only tidy up after that.
    QStringList left;
    (void)waitUntil([&] {
      left = out.entryList(QDir::Files | QDir::Dirs | QDir::Hidden | QDir::NoDotAndDotDot);
      return left.isEmpty() || left == QStringList{"packed.npz"};
    }, 3000);
    QVERIFY2(left.isEmpty() || left == QStringList{"packed.npz"}, qPrintable(left.join(' ')));
    QFile::remove(out.filePath("packed.npz"));
  }
}

int main(int argc, char** argv) { return runGuiTest<TestGuiMonkey>(argc, argv); }
#include "test_gui_monkey.moc"
