// SPDX-License-Identifier: GPL-3.0-or-later
// Every setting of every scheme is changed by the mouse or the keys, and the plots that depend on it look different afterwards;
// the undo button brings them back to the pixel. The schemes are chosen in the list, on a matrix that every one of them takes.
#include "core/schemes/scheme.h"
#include "tests/support/files.h"
#include "tests/ui/support/window_under_test.h"

#include <QAbstractButton>
#include <QCheckBox>
#include <QComboBox>
#include <QDoubleSpinBox>
#include <QLabel>
#include <QLineEdit>
#include <QTest>
#include <QToolButton>
#include <cstring>
#include <map>
#include <set>

using namespace nibble;
using namespace nibble::test;

class TestGuiSettings : public QObject {
  Q_OBJECT
 private slots:
  void init() { (void)watchedApplication().takeStalls(); }
  void cleanup();
  void everySettingOfEveryScheme();
  void transforms();
};

namespace {

constexpr std::size_t rows = 64, columns = 512;

// [64, 512] in a file written here: bell-shaped, a few large weights, one dead row.
QByteArray weightsFile() {
  std::string values(rows * columns * sizeof(float), '\0');
  std::uint32_t state = 7;
  const auto uniform = [&] { return static_cast<float>((state = state * 1664525u + 1013904223u) >> 8) / 16777216.0f - 0.5f; };
  for (std::size_t i = 0; i < rows * columns; ++i) {
    float value = 0;
    for (int draw = 0; draw < 6; ++draw) value += uniform();
    value *= i % 997 == 0 ? 0.2f : 0.04f * (1 + static_cast<float>(i / columns) / 64);
    if (i / columns == 3) value = 0;
    std::memcpy(values.data() + i * sizeof(float), &value, sizeof(float));
  }
  const std::string json = R"({"layer.weight":{"dtype":"F32","shape":[64,512],"data_offsets":[0,)" + std::to_string(values.size()) + "]}}";
  return QByteArray::fromStdString(safetensorsHead(json) + values);
}

QString textOf(const QString& objectName) {
  const QWidget* widget = findVisible(objectName);
  if (const auto* label = qobject_cast<const QLabel*>(widget)) return label->text();
  if (const auto* edit = qobject_cast<const QLineEdit*>(widget)) return edit->text();
  return {};
}

const QStringList panels = {"weightsPanel", "errorPanel", "codesPanel", "microscopePanel"};
// What undo must bring back; the strip of bits may stand scrolled elsewhere.
const QStringList plots = {"weightsPanel", "errorPanel", "codesPanel", "microscope"};

using Pictures = std::map<QString, QImage>;

Pictures pictures() {
  Pictures taken;
  for (const QString& panel : panels + plots) taken[panel] = picture(panel);
  return taken;
}

// Different by more than the rounding of a few antialiased pixels.
bool unlike(const QImage& one, const QImage& other) {
  if (one.size() != other.size()) return true;
  int away = 0;
  for (int y = 0; y < one.height(); ++y)
    for (int x = 0; x < one.width(); ++x) away += one.pixel(x, y) != other.pixel(x, y);
  return away > 4;
}

// The plots stand still, the pointer off them: exact, and equal over a while.
bool settled(Pictures& taken) {
  if (!hover("statusLine", {300, 12})) return false;
  if (!waitUntil([] { return textOf("exactness") == "exact"; })) return false;
  taken = pictures();
  for (int round = 0; round < 100; ++round) {
    QTest::qWait(25);
    const Pictures again = pictures();
    if (again == taken) return true;
    taken = again;
  }
  return false;
}

QStringList changed(const Pictures& before, const Pictures& after) {
  QStringList names;
  for (const QString& panel : panels)
    if (before.at(panel) != after.at(panel)) names << panel;
  return names;
}

// Uses the widget of a setting as a person would, so that it has another value.
bool change(const QString& key) {
  const QString name = "setting_" + key;
  QWidget* field = findVisible(name);
  if (field == nullptr) return false;
  if (qobject_cast<QCheckBox*>(field) != nullptr) return click(name, {8, field->height() / 2});
  if (const auto* combo = qobject_cast<QComboBox*>(field)) {
    if (combo->isEditable()) return typeInto(name, "2.5");
    return chooseItem(name, combo->itemText(combo->currentIndex() == 0 ? 1 : 0));
  }
  for (const auto* button : field->findChildren<QToolButton*>())
    if (!button->isChecked() && button->isEnabled()) return click(button->objectName());
  if (field->findChild<QToolButton*>() != nullptr) return false;
  if (!click(name, {10, field->height() / 2})) return false;
  for (int step = 0; step < 4; ++step) press(step < 2 ? Qt::Key_Up : Qt::Key_Down);
  const auto* spin = qobject_cast<QDoubleSpinBox*>(field);
  press(spin != nullptr && spin->value() == spin->minimum() ? Qt::Key_Up : Qt::Key_Down);
  return true;
}

// Whether a setting has another value to take at all.
bool hasOther(const SettingInfo& info) {
  return info.type == SettingType::Boolean || info.choices.size() != 1;
}

// Settings that must show in more than the error: they change which levels there are, or how many weights share them.
const std::set<std::string> levelKeys = {"bits", "element", "type", "granularity", "group", "block", "axis", "bpw"};
// In steps, errors of 8 bits are flat over half a step, whatever the groups.
const std::set<std::string> sameErrors = {"diffq.group"};
// Settings that say what to do with data about the inputs, which the window does not have: nothing may change but the text.
const std::set<std::string> idleWithoutData = {"gptq.damp", "gptq.block", "gptq.order", "gptq.fit", "awq.grid", "awq.scale"};

}  // namespace

void TestGuiSettings::cleanup() {
  const QStringList stalls = watchedApplication().takeStalls();
  QVERIFY2(stalls.isEmpty(), qPrintable("the event loop stalled: " + stalls.join("; ")));
}

void TestGuiSettings::everySettingOfEveryScheme() {
  QTemporaryDir folder;
  writeFile(folder.filePath("layer.safetensors"), weightsFile());
  TestWindow window(folder.filePath("layer.safetensors"));
  QVERIFY(waitFor("explorePage"));
  QStringList wrong;
  int used = 0;
  for (const Scheme* scheme : allSchemes()) {
    const QString id = QString::fromUtf8(scheme->info().id.data());
    QVERIFY(chooseItem("schemeCombo", id));
    QVERIFY2(waitUntil([&] { return textOf("schemeText").startsWith(id); }), qPrintable(id));
    Pictures before;
    QVERIFY2(settled(before), qPrintable(id));
    QVERIFY2(textOf("bpwKey") != QString(QChar(0x2013)), qPrintable(id));
    for (const SettingInfo& info : scheme->settings()) {
      const QString key = QString::fromStdString(info.key), name = id + "." + key;
      if (findVisible("setting_" + key) == nullptr || !hasOther(info)) continue;  // it has no meaning beside the others now
      const QString textBefore = textOf("schemeText");
      if (!change(key) || !waitUntil([&] { return textOf("schemeText") != textBefore; }, 2000)) {
        wrong << name + ": did not change";
        continue;
      }
      ++used;
      Pictures after;
      QVERIFY2(settled(after), qPrintable(name));
      const QStringList moved = changed(before, after);
      if (!idleWithoutData.contains(name.toStdString())) {
        if (moved.isEmpty()) wrong << name + ": no plot changed";
        const bool microscope = moved.contains("microscopePanel") || info.key == "granularity";  // the largest weight's scale is its tensor's
        const bool errors = moved.contains("errorPanel") || sameErrors.contains(name.toStdString());
        if (levelKeys.contains(info.key) && (!errors || !microscope))
          wrong << name + ": only " + moved.join(' ') + " changed";
      }
      QVERIFY2(click("undoButton"), qPrintable(name));
      QVERIFY2(waitUntil([&] { return textOf("schemeText") == textBefore; }), qPrintable(name + " after undo: " + textOf("schemeText")));
      Pictures back;
      QVERIFY2(settled(back), qPrintable(name));
      for (const QString& plot : plots)
        if (unlike(before.at(plot), back.at(plot))) wrong << name + ": undo left " + plot + " different";
    }
  }
  for (const QString& line : wrong) qWarning("%s", qPrintable(line));
  QVERIFY2(wrong.isEmpty(), qPrintable(QString::number(wrong.size()) + " settings, listed above"));
  QVERIFY2(used > 50, qPrintable(QString::number(used)));
}

// A transform is put before the scheme by a click, its settings change the plots, and it stays when another scheme is chosen.
void TestGuiSettings::transforms() {
  QTemporaryDir folder;
  writeFile(folder.filePath("layer.safetensors"), weightsFile());
  TestWindow window(folder.filePath("layer.safetensors"));
  QVERIFY(typeInto("schemeText", "uniform:bits=4,granularity=group,group=128"));
  Pictures before, after;
  QVERIFY(settled(before));
  QVERIFY(click("transform_hadamard"));
  QVERIFY(waitUntil([] { return textOf("schemeText").startsWith("hadamard:block=128/uniform"); }));
  QVERIFY(settled(after));
  QVERIFY(changed(before, after).contains("errorPanel"));
  before = after;
  QVERIFY(click("setting_hadamard.block_64"));
  QVERIFY(waitUntil([] { return textOf("schemeText").startsWith("hadamard:block=64/uniform"); }));
  QVERIFY(settled(after));
  QVERIFY(changed(before, after).contains("errorPanel"));
  QVERIFY(chooseItem("schemeCombo", "minmax"));
  QVERIFY(waitUntil([] { return textOf("schemeText").startsWith("hadamard:block=64/minmax"); }));
  QVERIFY(typeInto("schemeText", "clip/minmax:bits=4"));
  QVERIFY(chooseItem("schemeCombo", "q4_0"));  // its blocks are what another program writes: nothing may be cut before it
  QVERIFY(waitUntil([] { return textOf("schemeText") == "q4_0"; }));
  QVERIFY(!findVisible("transform_clip")->isEnabled());
  QVERIFY(!findVisible("transform_clip")->toolTip().isEmpty());
  QVERIFY(typeInto("schemeText", "clip/minmax:bits=4"));
  QVERIFY(waitUntil([] { return qobject_cast<QToolButton*>(findVisible("transform_clip"))->isChecked(); }));
  QVERIFY(click("transform_clip"));
  QVERIFY(waitUntil([] { return textOf("schemeText").startsWith("minmax"); }));
}

int main(int argc, char** argv) { return runGuiTest<TestGuiSettings>(argc, argv); }
#include "test_gui_settings.moc"
