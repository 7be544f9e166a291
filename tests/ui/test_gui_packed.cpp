// SPDX-License-Identifier: GPL-3.0-or-later
// Packed files by mouse and keys: a layer opens as its file stores it, with its own levels, scales and words; it can be quantized
// anew and shown as stored again; a layer that can be read two ways is read both ways; an export keeps the codes; two files are
// ranked against a reference.
#include "tests/support/golden.h"
#include "tests/ui/support/window_under_test.h"

#include <QApplication>
#include <QClipboard>
#include <QComboBox>
#include <QHeaderView>
#include <QLabel>
#include <QLineEdit>
#include <QTableView>
#include <QTest>

using namespace nibble::test;

class TestGuiPacked : public QObject {
  Q_OBJECT
 private slots:
  void init() { (void)watchedApplication().takeStalls(); }
  void cleanup();
  void opensAsStored_data();
  void opensAsStored();
  void quantizesAnewAndBack();
  void readsBothWays();
  void exportKeepsTheCodes();
  void comparesTwoFiles();
  void refusesAFileThatIsNone();
};

namespace {

QString packed(const QString& folder, const QString& file = "model") {
  return QString::fromStdString((nibble::test::dataPath("packed") / folder.toStdString() / (file + ".safetensors").toStdString()).string());
}

QString textOf(const QString& objectName) {
  const QWidget* widget = findVisible(objectName);
  if (const auto* label = qobject_cast<const QLabel*>(widget)) return label->text();
  if (const auto* edit = qobject_cast<const QLineEdit*>(widget)) return edit->text();
  if (const auto* combo = qobject_cast<const QComboBox*>(widget)) return combo->currentText();
  return {};
}

bool exact() {
  return waitUntil([] { return textOf("exactness") == "exact"; });
}

QString descriptionOf(const QString& objectName) {
  const QWidget* widget = findVisible(objectName);
  return widget == nullptr ? QString() : widget->accessibleDescription();
}

// The double click comes a while after what went before, as a person's does.
void doubleClickCell(const QString& viewName, int row, int column) {
  auto* view = qobject_cast<QTableView*>(waitFor(viewName));
  QVERIFY(view != nullptr);
  const QPoint place = view->visualRect(view->model()->index(row, column)).center();
  QTest::mouseClick(view->viewport(), Qt::LeftButton, {}, place);
  QTest::mouseDClick(view->viewport(), Qt::LeftButton, {}, place);
}

}  // namespace

void TestGuiPacked::cleanup() {
  const QStringList stalls = watchedApplication().takeStalls();
  QVERIFY2(stalls.isEmpty(), qPrintable("the event loop stalled: " + stalls.join("; ")));
}

void TestGuiPacked::opensAsStored_data() {
  QTest::addColumn<QString>("folder");
  QTest::addColumn<QString>("stored");
  QTest::addColumn<QString>("strip");  // 4 bits in words of 32: "word"; bytes: "byte"
  QTest::newRow("gptq") << "gptq-4b-g32-asym" << "4 bit" << "bits";
  QTest::newRow("gptq with order") << "gptq-4b-g32-desc_act" << "4 bit" << "bits";
  QTest::newRow("awq") << "awq-autoawq-4b-g32" << "4 bit" << "bits";
  QTest::newRow("hqq") << "hqq-3b-g64-ax1" << "3 bit" << "bits";
  QTest::newRow("mlx") << "mlx-4b-g64" << "4 bit" << "bits";
  QTest::newRow("bnb") << "bnb-nf4-dq" << "" << "bits";
}

void TestGuiPacked::opensAsStored() {
  QFETCH(QString, folder);
  QFETCH(QString, stored);
  QFETCH(QString, strip);
  TestWindow window(packed(folder));
  QVERIFY(exact());
  QCOMPARE(textOf("schemeCombo"), QString("as stored"));
  QVERIFY2(textOf("schemeSummary").contains(stored), qPrintable(textOf("schemeSummary")));
  QVERIFY2(textOf("bpwKey").toDouble() > 1 && textOf("bpwKey").toDouble() < 9, qPrintable(textOf("bpwKey")));
  QCOMPARE(textOf("figure_sqnrDb"), QString(QChar(0x2013)));  // nothing is known of the weights before
  QVERIFY2(findVisible("matrixQuantity_error") != nullptr && !findVisible("matrixQuantity_error")->isEnabled(), "errors of a stored layer");
  QVERIFY(waitUntil([&] { return descriptionOf("bitStrip").contains(strip); }));
  QVERIFY2(!descriptionOf("microscope").isEmpty(), "no group under the lens");
  QVERIFY(findVisible("addToCompare") != nullptr && !findVisible("addToCompare")->isEnabled());
  // Another cell, another word.
  const QImage before = picture("bitStrip");
  QVERIFY(click("matrix", {150, 40}));
  QVERIFY(waitUntil([&] { return picture("bitStrip") != before; }));
}

void TestGuiPacked::quantizesAnewAndBack() {
  TestWindow window(packed("hqq-4b-g64-ax1"));
  QVERIFY(exact());
  const QString stored = textOf("bpwKey");
  const QImage weights = picture("weightsPanel");
  QVERIFY(chooseItem("schemeCombo", "q8_0"));
  QVERIFY(waitUntil([] { return textOf("bpwKey") == "8.50"; }));
  QVERIFY(textOf("figure_sqnrDb") != QString(QChar(0x2013)));
  QVERIFY(waitUntil([&] { return picture("weightsPanel") != weights; }));
  QVERIFY(chooseItem("schemeCombo", "as stored"));
  QVERIFY(waitUntil([&] { return textOf("bpwKey") == stored && textOf("schemeText").isEmpty(); }));
  QVERIFY(waitUntil([&] { return picture("weightsPanel") == weights; }));
  QVERIFY(typeInto("schemeText", "nf4"));
  QVERIFY(waitUntil([] { return textOf("schemeCombo") == "nf4"; }));
  while (findVisible("undoButton")->isEnabled() && textOf("schemeCombo") != "as stored") QVERIFY(click("undoButton"));
  QVERIFY(waitUntil([&] { return textOf("bpwKey") == stored; }));
}

void TestGuiPacked::readsBothWays() {
  TestWindow window(packed("gptq-4b-g32-asym"));
  QVERIFY(exact());
  QVERIFY(waitFor("storedReading"));
  const QImage weights = picture("weightsPanel"), matrix = picture("matrixPanel");
  const QString other = findVisible("storedReading_v1")->property("checked").toBool() ? "storedReading_v2" : "storedReading_v1";
  QVERIFY(click(other));
  QVERIFY(waitUntil([&] { return picture("weightsPanel") != weights && picture("matrixPanel") != matrix; }));
  QVERIFY(click("undoButton"));
  QVERIFY(waitUntil([&] { return picture("weightsPanel") == weights; }));
}

void TestGuiPacked::exportKeepsTheCodes() {
  TestWindow window(packed("awq-autoawq-4b-g32"));
  QVERIFY(exact());
  press(Qt::Key_3, Qt::ControlModifier);
  QVERIFY(waitFor("exportPage"));
  QVERIFY(chooseItem("exportFormat", "npz"));
  QVERIFY(typeInto("exportFolder", window.file("out.npz")));
  QVERIFY(waitUntil([] { return findVisible("exportStart") != nullptr && findVisible("exportStart")->isEnabled(); }));
  press(Qt::Key_C, Qt::ControlModifier | Qt::ShiftModifier);
  const QString command = QApplication::clipboard()->text();
  QVERIFY2(command.contains(" export ") && command.contains("--format npz") && !command.contains("hqq"), qPrintable(command));
  QVERIFY(click("exportStart"));
  QVERIFY(waitUntil([&] { return QFile::exists(window.file("out.npz")); }, 20000));
  QVERIFY(waitUntil([] { return textOf("exportDifference").contains('0'); }));
}

void TestGuiPacked::comparesTwoFiles() {
  TestWindow window(packed("ct-mixed"));
  QVERIFY(exact());
  QVERIFY(withFileDialog(packed("ct-W8A16-g32"), [] { chooseMenu({"File", "Compare with a file..."}); }));
  QVERIFY(waitFor("diffTable"));
  QVERIFY2(waitUntil([] { return !rowsOf("diffTable").isEmpty(); }), qPrintable(textOf("diffEmpty")));
  const QStringList rows = rowsOf("diffTable");
  QVERIFY2(rows.first().contains("k_proj"), qPrintable(rows.join('\n')));
  QVERIFY(typeInto("diffReference", packed("ct-W8A16-g32", "expected")));
  QVERIFY(waitUntil([&] { return !rowsOf("diffTable").isEmpty() && rowsOf("diffTable") != rows; }));
  QVERIFY2(rowsOf("diffTable").first().contains(QChar(0x221E)), qPrintable(rowsOf("diffTable").first()));  // B decodes to the reference
  // Sorted by the clicked column, both ways.
  auto* table = qobject_cast<QTableView*>(findVisible("diffTable"));
  const QRect head = table->horizontalHeader()->rect();
  QTest::mouseClick(table->horizontalHeader()->viewport(), Qt::LeftButton, {}, {10, head.height() / 2});
  QVERIFY(waitUntil([&] { return table->horizontalHeader()->sortIndicatorSection() == 0; }));
  QVERIFY(click("copyTable"));
  const QString copied = QApplication::clipboard()->text();
  QVERIFY2(copied.startsWith("tensor\ta\tb\t") && copied.count('\n') == table->model()->rowCount() + 1, qPrintable(copied));
  press(Qt::Key_C, Qt::ControlModifier | Qt::ShiftModifier);
  const QString command = QApplication::clipboard()->text();
  QVERIFY2(command.startsWith("nibblescope-cli diff ") && command.contains("--reference"), qPrintable(command));
  const QString name = table->model()->index(0, 0).data().toString();
  doubleClickCell("diffTable", 0, 0);
  QVERIFY(waitFor("explorePage"));
  QVERIFY(waitUntil([&] { return findVisible("tensorName") != nullptr && findVisible("tensorName")->accessibleName() == name; }));
  QCOMPARE(textOf("schemeCombo"), QString("as stored"));
  press(Qt::Key_2, Qt::ControlModifier);
  QVERIFY(waitFor("diffTable"));
  QVERIFY(click("compareMode_schemes"));
  QVERIFY(waitFor("candidatePanel"));
}

void TestGuiPacked::refusesAFileThatIsNone() {
  TestWindow window(packed("mlx-4b-g64"));
  QVERIFY(exact());
  writeFile(window.file("broken.safetensors"), "no weights");
  press(Qt::Key_2, Qt::ControlModifier);
  QVERIFY(click("compareMode_files"));
  QVERIFY(typeInto("diffOther", window.file("broken.safetensors")));
  QVERIFY2(waitUntil([] { return textOf("diffEmpty").contains("broken.safetensors"); }), qPrintable(textOf("diffEmpty")));
  QVERIFY(typeInto("diffOther", packed("mlx-4b-g64", "expected")));
  QVERIFY2(waitUntil([] { return findVisible("diffTable") != nullptr && rowsOf("diffTable").size() == 2; }), qPrintable(textOf("diffEmpty")));
  QVERIFY(rowsOf("diffTable").first().split('\t').value(5) == "0");  // the library decodes it to the same weights
}

int main(int argc, char** argv) { return runGuiTest<TestGuiPacked>(argc, argv); }
#include "test_gui_packed.moc"
