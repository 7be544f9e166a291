// SPDX-License-Identifier: GPL-3.0-or-later
// The Train page by mouse and keys: step, step back, play to the end, any step by the slider, reset, other settings, undo; side by
// side; updates lost to rounding; one output as a formula; tables and pictures. No event may keep the loop busy for 50 ms.
#include "tests/ui/support/window_under_test.h"

#include <QClipboard>
#include <QDir>
#include <QElapsedTimer>
#include <QGuiApplication>
#include <QLabel>
#include <QLocale>
#include <QRegularExpression>
#include <QTest>
#include <QThread>
#include <algorithm>
#include <vector>

using namespace nibble::test;

class TestGuiTrain : public QObject {
  Q_OBJECT
 private slots:
  void init() { (void)watchedApplication().takeStalls(); }
  void cleanup();
  void stepsPlaysAndGoesBack();
  void showsTheLayerInside();
  void comparesSideBySide();
  void tellsUpdatesLostToRounding();
  void stopsAtABreakpointAndUndoes();
  void learnsBits();
  void trainsPackedWeights();
  void trainsSeveralTensors();
  void savesTablesAndResults();
  void keepsItsFrames();
};

namespace {

QString textOf(const QString& name) {
  const auto* label = qobject_cast<QLabel*>(waitFor(name));
  return label != nullptr ? label->text().remove(QRegularExpression("<[^>]*>")) : QString();
}

double numberOf(const QString& name) { return QLocale().toDouble(textOf(name).replace(QChar(0x2212), '-')); }

bool atStep(int step, int of) {
  return waitUntil([=] { return textOf("trainPosition") == QString("step %1 of %2").arg(step).arg(of) && findVisible("trainReset")->isEnabled() == (step > 0); }, 30000);
}

bool openTrainPage() {
  if (!waitUntil([] { return !findVisible("bpwKey") || !textOf("bpwKey").isEmpty(); })) return false;
  if (!typeInto("tensorFilter", "query.weight") || !clickRow("tensorTree", "query.weight")) return false;
  press(Qt::Key_4, Qt::ControlModifier);
  return waitFor("trainPage") != nullptr;
}

// A few methods are segments, many a list.
bool chooseMethod(const QString& id, const QString& title) {
  return findVisible("train_method_" + id) != nullptr ? click("train_method_" + id) : chooseItem("train_method", title);
}

bool inSettings(const std::function<bool()>& act) {
  if (!click("trainSettings") || waitFor("trainForm") == nullptr || !act()) return false;
  press(Qt::Key_Escape);
  return waitUntil([] { return findVisible("trainForm") == nullptr; });
}

// The table's raw numbers, as a person copies them.
QString clipboardText();
QString rawTable() { return click("trainTableCopy") ? clipboardText() : QString(); }

QString clipboardText() { return QGuiApplication::clipboard()->text(); }

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
  const QStringList plots = {"trainLossPanel", "trainGradientPanel", "trainPlanePanel", "trainMovedPanel", "trainParameters", "trainForward"};
  QList<QImage> empty;
  for (const auto& plot : plots) empty << picture(plot);
  QVERIFY(click("trainStep"));
  QVERIFY(atStep(1, 100));
  QVERIFY(click("trainPlay"));
  QVERIFY(atStep(100, 100));
  for (qsizetype i = 0; i < plots.size(); ++i) QVERIFY2(picture(plots[i]) != empty[i], qPrintable(plots[i]));
  const QString end = rawTable();
  QVERIFY(click("trainBack"));
  QVERIFY(atStep(99, 100));
  QVERIFY(rawTable() != end);
  // The slider takes any step: a click in the groove goes back by a page, keys by one.
  press(Qt::Key_Tab);
  QVERIFY(click("trainSlider", {4, findVisible("trainSlider")->height() / 2}));
  QVERIFY(waitUntil([] { return textOf("trainPosition") == "step 89 of 100" && findVisible("trainStep")->isEnabled(); }));
  QVERIFY(click("trainPlay"));
  QVERIFY(atStep(100, 100));
  QCOMPARE(rawTable(), end);  // there and back again, to the same numbers
  QVERIFY(click("trainReset"));
  QVERIFY(atStep(0, 100));
}

void TestGuiTrain::showsTheLayerInside() {
  TestWindow window(sampleFile());
  QVERIFY(waitFor("explorePage"));
  QVERIFY(openTrainPage());
  QVERIFY(typeInto("schemeText", "minmax:bits=3"));
  QVERIFY(click("trainStep") && atStep(1, 100));
  QVERIFY(click("trainStep") && atStep(2, 100));
  // The numbers of the formula belong together: y = m (base + adapter) / norm + bias.
  const auto formula = [] {
    const double y = numberOf("forwardY"), rest = numberOf("forwardMagnitude") * (numberOf("forwardBase") + numberOf("forwardAdapter")) / numberOf("forwardNorm") + numberOf("forwardBias");
    return std::abs(y - rest) < 1e-3 && std::abs(y - numberOf("forwardTarget") - numberOf("forwardDifference")) < 2e-4;
  };
  QVERIFY(formula());
  const QString before = textOf("forwardTarget");
  QVERIFY(typeInto("forwardInput", "7") && typeInto("forwardOutput", "137"));
  QVERIFY(waitUntil([&] { return textOf("forwardTarget") != before; }));
  QVERIFY(formula());
  // A click on BA chooses the output row that the formula shows.
  const QString chosen = textOf("forwardTarget");
  QVERIFY(click("parameter_BA", {20, 20}));
  QVERIFY(waitUntil([&] { return textOf("forwardTarget") != chosen; }));
  QVERIFY(formula());
  for (const QString kind : {"gradient", "update"}) {
    const QImage maps = picture("trainParameters");
    QVERIFY(click("parameterKind_" + kind));
    QVERIFY(waitUntil([&] { return picture("trainParameters") != maps; }));
  }
  // Plain LoRA has no magnitude.
  QVERIFY(chooseMethod("lora", "LoRA") && click("trainStep") && atStep(1, 100));
  QVERIFY(findVisible("forwardMagnitude") == nullptr && findVisible("parameter_m") == nullptr);
}

void TestGuiTrain::comparesSideBySide() {
  TestWindow window(sampleFile());
  QVERIFY(waitFor("explorePage"));
  QVERIFY(openTrainPage());
  QVERIFY(chooseMethod("dora", "DoRA"));
  QVERIFY(click("trainBeside"));
  QVERIFY(click("trainStep"));
  QVERIFY(atStep(1, 100));
  QVERIFY(waitUntil([] { return rowsOf("trainTable").size() == 5; }));
  QVERIFY(rowsOf("trainTable").front().startsWith("DoRA\toriginal"));
}

// At about 2, bf16 counts in steps of 0.0156: an update of 0.001 vanishes. f32 keeps it.
void TestGuiTrain::tellsUpdatesLostToRounding() {
  TestWindow window(sampleFile());
  QVERIFY(waitFor("explorePage"));
  QVERIFY(openTrainPage());
  QVERIFY(inSettings([] { return chooseItem("train_dtype", "bf16"); }));
  QVERIFY(click("trainStep") && atStep(1, 100));
  QVERIFY(waitUntil([] { return findVisible("trainMessage") != nullptr && textOf("trainMessage").startsWith("m does not move"); }));
  QVERIFY2(rowsOf("trainTable").front().contains("0 of 384"), qPrintable(rowsOf("trainTable").front()));
  QVERIFY(click("trainMessageAction"));
  QVERIFY(atStep(0, 100));
  QVERIFY(click("trainStep") && atStep(1, 100));
  QVERIFY(findVisible("trainMessage") == nullptr);
  QVERIFY(rowsOf("trainTable").front().contains("384 of 384"));
}

void TestGuiTrain::stopsAtABreakpointAndUndoes() {
  TestWindow window(sampleFile());
  QVERIFY(waitFor("explorePage"));
  QVERIFY(openTrainPage());
  QVERIFY(inSettings([] { return typeInto("train_steps", "30") && typeInto("train_stop-loss-above", "0.0000001") && typeInto("train_rank", "zero"); }));
  QVERIFY(atStep(0, 30));  // a rank that is none changed nothing
  QVERIFY(click("trainPlay"));
  QVERIFY(waitUntil([] { return findVisible("trainMessage") != nullptr && textOf("trainMessage").contains("loss"); }));
  QVERIFY(waitUntil([] { return findVisible("trainStep")->isEnabled(); }));
  QVERIFY(!textOf("trainPosition").startsWith("step 30"));
  QVERIFY(click("undoButton"));
  QVERIFY(click("undoButton"));
  QVERIFY(atStep(0, 100));
}

// Bits that learn: their map, histogram and course, size over the steps, and a price that changes while the run goes on.
void TestGuiTrain::learnsBits() {
  TestWindow window(sampleFile());
  QVERIFY(waitFor("explorePage"));
  QVERIFY(openTrainPage());
  QVERIFY(chooseMethod("diffq", "DiffQ"));
  QVERIFY(waitFor("trainLambda"));
  QVERIFY(click("trainStep") && atStep(1, 100));
  QVERIFY(click("trainStep") && atStep(2, 100));
  QVERIFY(waitFor("bitCounts") && waitFor("bitCurves") && waitFor("parameter_bits"));
  QVERIFY(findVisible("parameter_BA") == nullptr && findVisible("forwardY") == nullptr);
  const QString free = textOf("trainLambdaText");
  QVERIFY(click("trainLambda", {findVisible("trainLambda")->width() - 6, findVisible("trainLambda")->height() / 2}));
  for (int i = 0; i < 9; ++i) press(Qt::Key_PageUp);
  QVERIFY(waitUntil([&] { return textOf("trainLambdaText") != free; }));
  QVERIFY(atStep(2, 100));  // the run goes on from where it is
  const QImage before = picture("bitCurves"), size = picture("trainPlanePanel");
  QVERIFY(click("trainStep") && atStep(3, 100));
  QVERIFY(click("trainStep") && atStep(4, 100));
  QVERIFY(picture("bitCurves") != before && picture("trainPlanePanel") != size);
}

// Codes that flip: lost updates are told, a residual keeps them, codes and weights are drawn.
void TestGuiTrain::trainsPackedWeights() {
  TestWindow window(sampleFile());
  QVERIFY(waitFor("explorePage"));
  QVERIFY(openTrainPage());
  QVERIFY(typeInto("schemeText", "mbwq:bits=4"));
  QVERIFY(chooseMethod("mbwq", "MBWQ"));
  QVERIFY(click("trainStep") && atStep(1, 100));
  QVERIFY(click("trainStep") && atStep(2, 100));
  QVERIFY(waitFor("codeCounts") && waitFor("parameter_weight"));
  QVERIFY(findVisible("parameter_BA") == nullptr && findVisible("trainLambda") == nullptr);
  QVERIFY(waitUntil([] { return findVisible("trainMessage") != nullptr && textOf("trainMessage").contains("half a code"); }));
  QVERIFY(click("trainMessageAction"));
  QVERIFY(atStep(0, 100));
  QVERIFY(inSettings([] { return findVisible("train_residual") != nullptr && typeInto("train_lr", "0.01") && findVisible("train_rank") == nullptr; }));
  QVERIFY(click("trainStep") && atStep(1, 100));
  const QImage before = picture("trainPlanePanel");
  QVERIFY(click("trainStep") && atStep(2, 100));
  QVERIFY(findVisible("trainMessage") == nullptr);
  QVERIFY(picture("trainPlanePanel") != before);
  for (const QString kind : {"gradient", "update"}) {
    const QImage maps = picture("trainParameters");
    QVERIFY(click("parameterKind_" + kind));
    QVERIFY(waitUntil([&] { return picture("trainParameters") != maps; }));
  }
  QVERIFY(click("trainCommand"));
  QVERIFY2(clipboardText().contains("--method mbwq --base mbwq:bits=4") && clipboardText().contains("--residual"), qPrintable(clipboardText()));
}

// What is selected on the left trains together.
void TestGuiTrain::trainsSeveralTensors() {
  TestWindow window(sampleFile());
  QVERIFY(waitFor("explorePage"));
  QVERIFY(openTrainPage());
  QVERIFY(chooseMethod("diffq", "DiffQ"));
  QVERIFY(typeInto("tensorFilter", "attention.self") && click("tensorTree"));
  press(Qt::Key_A, Qt::ControlModifier);
  QVERIFY(waitUntil([] { return textOf("trainTensors").startsWith("3 "); }));
  QVERIFY(click("trainStep") && atStep(1, 100));
  QVERIFY(click("trainStep") && atStep(2, 100));
  QVERIFY(waitFor("bitCurves") && waitFor("parameter_bits"));
  QVERIFY(click("trainCommand"));
  QCOMPARE(clipboardText().count("--tensor"), 3);
  // What was learned goes on to Compare and Export.
  QDir(window.folder()).mkdir("learned");
  QVERIFY(withFileDialog(window.file("learned"), [] { click("trainWrite"); }));
  QVERIFY(waitFor("trainToExport") && click("trainToCompare"));
  QVERIFY(waitFor("comparePage"));
  QVERIFY(waitUntil([] {
    const QStringList rows = rowsOf("candidateTable");
    return rows.size() == 1 && rows.front().contains("diffq", Qt::CaseInsensitive) && !textOf("bpwKey").isEmpty();
  }));
}

void TestGuiTrain::savesTablesAndResults() {
  TestWindow window(sampleFile());
  QVERIFY(waitFor("explorePage"));
  QVERIFY(openTrainPage());
  QVERIFY(click("trainStep") && atStep(1, 100));
  QVERIFY(click("trainTableCopy"));
  QVERIFY(clipboardText().startsWith("Run\tBase\tTrainable") && clipboardText().count('\n') == 2);
  QVERIFY(click("trainCommand"));
  QVERIFY2(clipboardText().startsWith("nibblescope-cli train ") && clipboardText().contains("--method qdora"), qPrintable(clipboardText()));
  QVERIFY(withFileDialog(window.file("runs.csv"), [] { click("trainTableSave"); }));
  QVERIFY(waitUntil([&] { return fileBytes(window.file("runs.csv")).startsWith("Run,Base,"); }));
  for (const QString name : {"trainLoss", "trainGradient", "trainPlane", "trainMoved", "parameter_A", "parameter_BA"}) {
    QVERIFY(click(name));
    press(Qt::Key_C, Qt::ControlModifier);
    QVERIFY2(clipboardText().count('\n') > 1, qPrintable(name));
  }
  QDir(window.folder()).mkdir("out");
  QVERIFY(withFileDialog(window.file("out"), [] { click("trainWrite"); }));
  QVERIFY(waitUntil([&] { return QFile::exists(window.file("out/adapter_model.safetensors")) && QFile::exists(window.file("out/adapter_config.json")); }));
  QVERIFY(waitUntil([] { return findVisible("trainMessage") != nullptr && textOf("trainMessage").contains("written"); }));
}

// How long the event loop is away while a run goes on and its plots follow: 60 frames a second leave 16 ms.
void TestGuiTrain::keepsItsFrames() {
  TestWindow window(sampleFile(), {1280, 800});
  QVERIFY(waitFor("explorePage"));
  QVERIFY(openTrainPage());
  QVERIFY(inSettings([] { return typeInto("train_steps", "150"); }));
  QVERIFY(click("trainPlay"));
  QVERIFY(waitUntil([] { return textOf("trainPosition").startsWith("step 1"); }));
  QElapsedTimer clock, whole;
  std::vector<double> gaps;
  whole.start(), clock.start();
  while (whole.elapsed() < 3000 && !textOf("trainPosition").startsWith("step 150")) {
    QCoreApplication::processEvents(QEventLoop::AllEvents);
    gaps.push_back(static_cast<double>(clock.nsecsElapsed()) / 1e6);
    clock.restart();
    QThread::usleep(500);
  }
  QVERIFY(gaps.size() > 50);
  std::sort(gaps.begin(), gaps.end());
  const auto at = [&](double part) { return gaps[static_cast<std::size_t>(part * static_cast<double>(gaps.size() - 1))]; };
  qInfo("%zu turns of the event loop: 99 %% within %.1f ms, the longest %.1f ms", gaps.size(), at(0.99), gaps.back());
  QVERIFY2(at(0.99) < 16, qPrintable(QString::number(at(0.99))));
}

int main(int argc, char** argv) { return runGuiTest<TestGuiTrain>(argc, argv); }
#include "test_gui_train.moc"
