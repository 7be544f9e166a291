// SPDX-License-Identifier: GPL-3.0-or-later
// The microscope's handles dragged with the mouse through the whole window: the levels follow the pointer, the line above tells
// what the group's error would be, a double click returns to the scheme's choice, undo takes the drag back as one step.
#include "tests/ui/support/window_under_test.h"
#include "ui/plots/microscope_plot.h"

#include <QLabel>
#include <QRegularExpression>
#include <QTest>

using namespace nibble;
using namespace nibble::test;

class TestGuiMicroscope : public QObject {
  Q_OBJECT
 private slots:
  void init() { (void)watchedApplication().takeStalls(); }
  void cleanup();
  void scaleFollowsThePointer();
  void zeroFollowsThePointer();
  void anotherCellForgetsTheDrag();
};

namespace {

MicroscopePlot* plot() { return qobject_cast<MicroscopePlot*>(findVisible("microscope")); }

// The panel's line in full: it may be elided.
QString line() {
  const QWidget* label = findVisible("microscopePanelLine");
  return label == nullptr ? QString() : label->accessibleName();
}

bool ready(const char* scheme) {
  if (!typeInto("schemeText", scheme)) return false;
  return waitUntil([] {
    const auto* chip = qobject_cast<QLabel*>(findVisible("exactness"));
    return chip != nullptr && chip->text() == "exact" && plot() != nullptr && !plot()->isEmpty() && line().contains("scale");
  }) && (QTest::qWait(300), true);
}

double numberAfter(const QString& word) {
  const auto match = QRegularExpression(QRegularExpression::escape(word) + QString::fromUtf8(" ([−\\d.]+)(·10([⁻⁰¹²³⁴⁵⁶⁷⁸⁹]+))?")).match(line());
  if (!match.hasMatch()) return -1;
  QString exponent = match.captured(3);
  const QString digits = QString::fromUtf8("⁰¹²³⁴⁵⁶⁷⁸⁹");
  QString plain;
  for (const QChar c : exponent) plain += c == QChar(0x207B) ? QChar('-') : QChar('0' + static_cast<int>(digits.indexOf(c)));
  return QString(match.captured(1)).replace(QChar(0x2212), '-').toDouble() * std::pow(10, plain.toInt());
}

// The pointer goes down on the handle and moves; the caller looks, then lets go.
void pressAndMove(QPoint from, QPoint to) {
  QTest::mousePress(plot(), Qt::LeftButton, {}, from);
  for (int step = 1; step <= 10; ++step) {
    QTest::mouseMove(plot(), from + (to - from) * step / 10);
    QTest::qWait(8);
  }
}

}  // namespace

void TestGuiMicroscope::cleanup() {
  const QStringList stalls = watchedApplication().takeStalls();
  QVERIFY2(stalls.isEmpty(), qPrintable("the event loop stalled: " + stalls.join("; ")));
}

void TestGuiMicroscope::scaleFollowsThePointer() {
  TestWindow window(sampleFile());
  QVERIFY(ready("hqq:bits=4,group=64"));
  const QString before = line();
  QVERIFY(click("microscope", {4, 4}));  // the focus stays on it from here on
  QVERIFY(hover("statusLine", {300, 12}));
  QTest::qWait(100);
  const QImage picture0 = picture("microscopePanel"), weights0 = picture("weightsPanel");
  const double scale0 = numberAfter("scale");
  QVERIFY2(scale0 > 0 && !before.contains("what if"), qPrintable(before));
  const QPoint from = plot()->scaleHandle().toPoint(), to = from - QPoint(60, 0);
  pressAndMove(from, to);
  QVERIFY2(waitUntil([] { return line().contains("what if: MSE"); }, 2000), qPrintable(line()));
  QVERIFY(std::abs(plot()->scaleHandle().x() - to.x()) < 3);  // under the pointer
  QVERIFY2(numberAfter("scale") < scale0, qPrintable(line()));
  const double half = numberAfter("what if: MSE");
  const QString atSixty = line();
  QTest::mouseMove(plot(), to - QPoint(40, 0));
  QVERIFY(waitUntil([&] { return line() != atSixty; }, 2000));
  QVERIFY2(numberAfter("what if: MSE") > half && half > numberAfter("was"), qPrintable(line()));  // the farther, the worse
  QTest::mouseRelease(plot(), Qt::LeftButton, {}, to - QPoint(40, 0));
  QVERIFY(waitUntil([&] { return picture("microscopePanel") != picture0; }));
  QVERIFY(click("undoButton"));
  QVERIFY2(waitUntil([&] { return line() == before; }, 2000), qPrintable(line()));  // the whole drag is one step
  QVERIFY(hover("statusLine", {300, 12}));
  QVERIFY(click("microscope", {4, 4}));
  QVERIFY(hover("statusLine", {300, 12}));
  QVERIFY(waitUntil([&] { return picture("microscopePanel") == picture0; }, 2000));
  QVERIFY(click("redoButton"));
  QVERIFY(waitUntil([] { return line().contains("what if"); }, 2000));
  QTest::mouseDClick(plot(), Qt::LeftButton, {}, plot()->scaleHandle().toPoint());
  QVERIFY2(waitUntil([&] { return line() == before; }, 2000), qPrintable(line()));
  QVERIFY(picture("weightsPanel") == weights0);  // what if is the group's alone
}

void TestGuiMicroscope::zeroFollowsThePointer() {
  TestWindow window(sampleFile());
  QVERIFY(ready("hqq:bits=4,group=64"));
  const QString before = line();
  const double zero0 = numberAfter("zero");
  const QPoint from = plot()->zeroHandle().toPoint();
  QVERIFY(drag("microscope", from, from + QPoint(50, 0), 10));
  QVERIFY2(waitUntil([] { return line().contains("what if"); }, 2000), qPrintable(line()));
  QVERIFY2(numberAfter("zero") != zero0, qPrintable(line()));
  QTest::mouseDClick(plot(), Qt::LeftButton, {}, plot()->zeroHandle().toPoint());
  QVERIFY2(waitUntil([&] { return line() == before; }, 2000), qPrintable(line()));
  QVERIFY(click("undoButton"));  // takes the return back
  QVERIFY(waitUntil([] { return line().contains("what if"); }, 2000));
}

void TestGuiMicroscope::anotherCellForgetsTheDrag() {
  TestWindow window(sampleFile());
  QVERIFY(ready("nf4"));
  const QPoint from = plot()->scaleHandle().toPoint();
  QVERIFY(drag("microscope", from, from - QPoint(40, 0), 10));
  QVERIFY2(waitUntil([] { return line().contains("what if"); }, 2000), qPrintable(line()));
  QVERIFY(click("matrix", {120, 60}));
  QVERIFY2(waitUntil([] { return !line().contains("what if") && line().contains("w["); }, 2000), qPrintable(line()));
}

int main(int argc, char** argv) { return runGuiTest<TestGuiMicroscope>(argc, argv); }
#include "test_gui_microscope.moc"
