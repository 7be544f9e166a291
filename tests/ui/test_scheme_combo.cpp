// SPDX-License-Identifier: GPL-3.0-or-later
// The list of schemes: every one of the catalogue once, under its family; what a matrix refuses is greyed with the reason and
// cannot be chosen; a packed layer adds "as stored". The toggles for what stands before the scheme.
#include "core/run/near_size.h"
#include "ui/forms/scheme_combo.h"
#include "ui/forms/settings_form.h"
#include "ui/forms/transform_bar.h"

#include <QSignalSpy>
#include <QTest>
#include <QToolButton>

using namespace nibble;

class TestSchemeCombo : public QObject {
  Q_OBJECT
 private slots:
  void everySchemeUnderItsFamily() {
    SchemeCombo combo;
    Family current{};
    bool started = false;
    int schemes = 0, headings = 0;
    const auto& list = *combo.model();
    for (int row = 0; row < combo.count(); ++row) {
      const Scheme* scheme = findScheme(combo.itemText(row).toStdString());
      if (scheme == nullptr) {
        QVERIFY((list.flags(list.index(row, 0)) & Qt::ItemIsEnabled) == 0);  // a heading
        ++headings;
        started = false;
        continue;
      }
      if (started) QCOMPARE(static_cast<int>(scheme->info().family), static_cast<int>(current));
      current = scheme->info().family;
      started = true;
      ++schemes;
      QVERIFY((list.flags(list.index(row, 0)) & Qt::ItemIsEnabled) != 0);
      combo.showScheme(*scheme);
      QCOMPARE(combo.currentIndex(), row);
    }
    QCOMPARE(schemes, static_cast<int>(allSchemes().size()));
    QVERIFY(headings >= 5);
  }

  void refusedOnesAreGreyWithTheReason() {
    SchemeCombo combo;
    combo.setMatrix(MatrixSize{64, 40}, {});
    int grey = 0;
    for (const Scheme* scheme : allSchemes()) {
      const int row = combo.findText(QString::fromStdString(std::string(scheme->info().id)));
      const bool fits = fittingChoice(*scheme, {64, 40}).has_value();
      QCOMPARE((combo.model()->flags(combo.model()->index(row, 0)) & Qt::ItemIsEnabled) != 0, fits);
      const QString tip = combo.itemData(row, Qt::ToolTipRole).toString();
      QVERIFY(!tip.isEmpty());
      if (!fits) QCOMPARE(tip, QString::fromStdString(Choice(*scheme).refusal({64, 40}).value()));
      grey += !fits;
    }
    QVERIFY(grey > 3);
    combo.setMatrix(MatrixSize{64, 512}, {});
    for (int row = 0; row < combo.count(); ++row)
      if (findScheme(combo.itemText(row).toStdString()) != nullptr)
        QVERIFY2((combo.model()->flags(combo.model()->index(row, 0)) & Qt::ItemIsEnabled) != 0, qPrintable(combo.itemText(row)));
  }

  void storedComesFirst() {
    SchemeCombo combo;
    combo.showScheme(*allSchemes()[3]);
    const QString shown = combo.currentText();
    combo.setMatrix(MatrixSize{64, 512}, "packed 4 bit group 32");
    QCOMPARE(combo.currentText(), shown);  // the list grew, the choice stays
    combo.showStored();
    QCOMPARE(combo.currentIndex(), 0);
    QSignalSpy stored(&combo, &SchemeCombo::storedChosen);
    combo.show();
    combo.setFocus();
    QTest::keyClick(&combo, Qt::Key_Down);
    QVERIFY(findScheme(combo.currentText().toStdString()) != nullptr);  // the heading was stepped over
    QTest::keyClick(&combo, Qt::Key_Home);
    QCOMPARE(stored.count(), 1);
    combo.setMatrix(MatrixSize{64, 512}, {});
    QCOMPARE(combo.findText("as stored"), -1);
  }

  void transformsAreToggled() {
    TransformBar bar;
    const auto choice = Choice::parse("hadamard:block=64/uniform:bits=4,granularity=group,group=128");
    QVERIFY(choice.has_value());
    bar.show(*choice, MatrixSize{64, 512});
    auto* hadamard = bar.findChild<QToolButton*>("transform_hadamard");
    auto* clip = bar.findChild<QToolButton*>("transform_clip");
    QVERIFY(hadamard != nullptr && clip != nullptr);
    QVERIFY(hadamard->isChecked() && !clip->isChecked() && clip->isEnabled());
    QSignalSpy spy(&bar, &TransformBar::toggled);
    QTest::mouseClick(hadamard, Qt::LeftButton);
    QCOMPARE(spy.count(), 1);
    QCOMPARE(spy[0][1].toBool(), false);
    bar.show(*Choice::parse("q4_0"), MatrixSize{64, 512});
    QVERIFY(!clip->isEnabled() && !clip->toolTip().isEmpty() && !hadamard->isChecked());
    QCOMPARE(spy.count(), 1);  // showing asks for nothing
  }

  // A transform's settings stand in the form with its name before the key.
  void transformSettingsAreInTheForm() {
    SettingsForm form;
    form.show(*Choice::parse("hadamard:block=64/nf4:block=128"), MatrixSize{64, 512});
    QVERIFY(form.field("hadamard.block") != nullptr && form.field("block") != nullptr && form.field("hadamard.seed") != nullptr);
    QSignalSpy spy(&form, &SettingsForm::valueChosen);
    form.resize(300, 400);
    form.QWidget::show();
    QTest::mouseClick(form.findChild<QToolButton*>("setting_hadamard.block_32"), Qt::LeftButton);
    QCOMPARE(spy.count(), 1);
    QCOMPARE(spy[0][0].toString(), QString("hadamard.block"));
    form.show(*Choice::parse("nf4"), MatrixSize{64, 512});
    QVERIFY(form.field("hadamard.block") == nullptr);
  }
};

QTEST_MAIN(TestSchemeCombo)
#include "test_scheme_combo.moc"
