// SPDX-License-Identifier: GPL-3.0-or-later
// The form is made from the settings table: every setting of every scheme has a widget of its name, shows the choice's value, asks
// for a changed one when it is used, and strikes out what the matrix refuses with the reason below.
#include "ui/forms/segments.h"
#include "ui/forms/settings_form.h"

#include <QCheckBox>
#include <QComboBox>
#include <QDoubleSpinBox>
#include <QLabel>
#include <QSignalSpy>
#include <QSpinBox>
#include <QTest>
#include <QToolButton>

using namespace nibble;

Q_DECLARE_METATYPE(nibble::SettingValue)

class TestSettingsForm : public QObject {
  Q_OBJECT
 private slots:
  void initTestCase() { qRegisterMetaType<SettingValue>("nibble::SettingValue"); }

  void everySettingHasItsWidget() {
    QVERIFY(!allSchemes().empty());
    SettingsForm form;
    for (const Scheme* scheme : allSchemes()) {
      form.show(Choice(*scheme), std::nullopt);
      for (const auto& info : scheme->settings()) {
        auto* field = form.field(QString::fromStdString(info.key));
        QVERIFY2(field != nullptr, info.key.c_str());
        QVERIFY2(!field->accessibleName().isEmpty(), info.key.c_str());
      }
    }
  }

  // A step size of any magnitude keeps its digits.
  void smallNumbersKeepTheirDigits() {
    SettingsForm form;
    form.show(*Choice::parse("lsq:step=0.000012345678"), std::nullopt);
    form.resize(280, 500);
    form.QWidget::show();
    auto* step = qobject_cast<QDoubleSpinBox*>(form.field("step"));
    QVERIFY(step != nullptr);
    QCOMPARE(step->value(), 0.000012345678);
    QCOMPARE(step->text(), QString("1.2345678e-05"));
    QSignalSpy spy(&form, &SettingsForm::valueChosen);
    step->setFocus();
    step->selectAll();
    QTest::keyClicks(step, "2.5e-7");
    QTest::keyClick(step, Qt::Key_Return);
    QVERIFY(spy.count() > 0);
    QCOMPARE(std::get<double>(spy.last()[1].value<SettingValue>()), 2.5e-7);
    QTest::keyClick(step, Qt::Key_Up);
    QCOMPARE(step->value(), 2.6e-7);
    QTest::keyClicks(step, "x");
    QCOMPARE(step->text(), QString("2.6e-07"));
  }

  void clickAsksForTheValue() {
    SettingsForm form;
    const auto choice = Choice::parse("hqq:bits=4,group=64");
    QVERIFY(choice.has_value());
    form.show(*choice, std::nullopt);
    form.resize(280, 500);
    form.QWidget::show();
    QSignalSpy spy(&form, &SettingsForm::valueChosen);
    auto* three = form.findChild<QToolButton*>("setting_bits_3");
    QVERIFY(three != nullptr);
    QTest::mouseClick(three, Qt::LeftButton);
    QCOMPARE(spy.count(), 1);
    QCOMPARE(spy[0][0].toString(), QString("bits"));
    QCOMPARE(toText(spy[0][1].value<SettingValue>()), std::string("3"));
    QTest::mouseClick(three, Qt::LeftButton);
    QCOMPARE(spy.count(), 1);
    auto* iterations = qobject_cast<QSpinBox*>(form.field("iterations"));
    QVERIFY(iterations != nullptr);
    iterations->setFocus();
    QTest::keyClick(iterations, Qt::Key_Up);
    QCOMPARE(spy.count(), 2);
    QCOMPARE(toText(spy[1][1].value<SettingValue>()), std::string("21"));
    auto* optimize = qobject_cast<QCheckBox*>(form.field("optimize"));
    QVERIFY(optimize != nullptr);
    QTest::keyClick(optimize, Qt::Key_Space);
    QCOMPARE(spy.count(), 3);
    QCOMPARE(toText(spy[2][1].value<SettingValue>()), std::string("false"));
  }

  void showsTheChoiceWithoutAsking() {
    SettingsForm form;
    QSignalSpy spy(&form, &SettingsForm::valueChosen);
    for (const char* text : {"hqq:bits=4,group=64", "hqq:bits=2,group=32,axis=0,optimize=false,iterations=7,p=0.5", "hqq:bits=6"}) {
      const auto choice = Choice::parse(text);
      QVERIFY2(choice.has_value(), text);
      form.show(*choice, std::nullopt);
      QCOMPARE(qobject_cast<Segments*>(form.field("bits"))->value().toStdString(), toText(choice->value("bits")));
      QCOMPARE(qobject_cast<QCheckBox*>(form.field("optimize"))->isChecked(), std::get<bool>(choice->value("optimize")));
      QCOMPARE(toText(SettingValue(std::int64_t(qobject_cast<QSpinBox*>(form.field("iterations"))->value()))), toText(choice->value("iterations")));
    }
    QCOMPARE(spy.count(), 0);
  }

  void impossibleValuesAreStruckOutWithTheReason() {
    SettingsForm form;
    const auto choice = Choice::parse("hqq:bits=4,group=32");
    form.show(*choice, MatrixSize{3, 96});
    auto* group = qobject_cast<Segments*>(form.field("group"));
    auto* reason = form.findChild<QLabel*>("reason_group");
    QVERIFY(group != nullptr && reason != nullptr);
    int impossible = 0;
    for (const auto& value : group->values()) {
      auto* button = form.findChild<QToolButton*>("setting_group_" + value);
      const bool refused = choice->with("group", std::string_view(value.toStdString()))->refusal({3, 96}).has_value();
      QCOMPARE(button->isEnabled(), !refused);
      QCOMPARE(button->property("impossible").toBool(), refused);
      QCOMPARE(button->toolTip().isEmpty(), !refused);
      impossible += refused;
    }
    QVERIFY(impossible > 0 && impossible < group->values().size());
    QVERIFY(!reason->isHidden());
    QVERIFY(!reason->text().isEmpty());
    form.show(*choice, MatrixSize{384, 384});
    QVERIFY(reason->isHidden());
  }
};

QTEST_MAIN(TestSettingsForm)
#include "test_settings_form.moc"
