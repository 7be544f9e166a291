// SPDX-License-Identifier: GPL-3.0-or-later
#include "ui/theme/colour_map.h"
#include "ui/theme/icons.h"
#include "ui/theme/number_text.h"
#include "ui/theme/theme.h"

#include <QApplication>
#include <QLineEdit>
#include <QMainWindow>
#include <QMenuBar>
#include <QPainter>
#include <QtTest>
#include <array>
#include <cmath>

using namespace nibble;

namespace {

using Matrix = std::array<std::array<double, 3>, 3>;

// Machado, Oliveira, Fernandes 2009, severity 1, on linear sRGB.
constexpr std::array<Matrix, 4> visions{{
    {{{1, 0, 0}, {0, 1, 0}, {0, 0, 1}}},
    {{{0.152286, 1.052583, -0.204868}, {0.114503, 0.786281, 0.099216}, {-0.003882, -0.048116, 1.051998}}},
    {{{0.367322, 0.860646, -0.227968}, {0.280085, 0.672501, 0.047413}, {-0.011820, 0.042940, 0.968881}}},
    {{{1.255528, -0.076749, -0.178779}, {-0.078411, 0.930809, 0.147602}, {0.004733, 0.691367, 0.303900}}},
}};

QColor seen(const QColor& colour, const Matrix& m) {
  const auto linear = [](double c) { return c <= 0.04045 ? c / 12.92 : std::pow((c + 0.055) / 1.055, 2.4); };
  const auto gamma = [](double c) { return c <= 0.0031308 ? 12.92 * c : 1.055 * std::pow(c, 1 / 2.4) - 0.055; };
  const double in[] = {linear(colour.redF()), linear(colour.greenF()), linear(colour.blueF())};
  float out[3];
  for (std::size_t i = 0; i < 3; ++i) {
    out[i] = static_cast<float>(gamma(std::clamp(m[i][0] * in[0] + m[i][1] * in[1] + m[i][2] * in[2], 0.0, 1.0)));
  }
  return QColor::fromRgbF(out[0], out[1], out[2]);
}

}  // namespace

class TestTheme : public QObject {
  Q_OBJECT
 private slots:
  void initTestCase() { QLocale::setDefault(QLocale(QLocale::English)); }

  void textIsLegible() {
    for (const bool dark : {false, true}) {
      const Theme& t = themeFor(dark);
      for (const QColor& ground : {t.window, t.panel, t.sunken, t.altRow, t.accentSoft, t.band, t.warnSoft}) {
        QVERIFY2(contrast(t.text, ground) >= 4.5, qPrintable(ground.name()));
        QVERIFY2(contrast(t.text2, ground) >= 4.5, qPrintable(ground.name()));
      }
      QVERIFY(contrast(t.text3, t.panel) >= 4.5);
      QVERIFY(contrast(t.accentText, t.accent) >= 4.5);
      for (const QColor& word : {t.good, t.warn, t.bad}) QVERIFY2(contrast(word, t.panel) >= 4.5, qPrintable(word.name()));
    }
  }

  void familiesStandOut() {
    for (const bool dark : {false, true}) {
      const Theme& t = themeFor(dark);
      for (int a = 0; a < 8; ++a) {
        const QColor colour = familyColour(t, static_cast<Family>(a));
        QVERIFY2(contrast(colour, t.panel) >= 2.95,
                 qPrintable(QString("%1 %2").arg(colour.name()).arg(contrast(colour, t.panel))));
        for (int b = 0; b < a; ++b) {
          QVERIFY(markOf(static_cast<Family>(a)) != markOf(static_cast<Family>(b)));
          for (const Matrix& vision : visions) {
            const QColor other = familyColour(t, static_cast<Family>(b));
            const double distance = colourDistance(seen(colour, vision), seen(other, vision));
            QVERIFY2(distance >= 0.085, qPrintable(QString("%1 %2: %3").arg(colour.name(), other.name()).arg(distance)));
          }
        }
      }
    }
  }

  void contrastAndDistanceAreTheStandardOnes() {
    QCOMPARE(contrast(Qt::black, Qt::white), 21.0);
    QVERIFY(std::abs(contrast(QColor("#777777"), Qt::white) - 4.478) < 0.002);
    QVERIFY(std::abs(colourDistance(Qt::black, Qt::white) - 1) < 1e-4);
    QCOMPARE(colourDistance(Qt::red, Qt::red), 0.0);
  }

  void paletteDecides() {
    QVERIFY(!themeOf(paletteFor(themeFor(false))).dark);
    QVERIFY(themeOf(paletteFor(themeFor(true))).dark);
    QWidget widget;
    widget.setPalette(paletteFor(themeFor(true)));
    QVERIFY(themeOf(&widget).dark);
  }

  void styleSheetHasNoHoles() {
    for (const bool dark : {false, true}) {
      const QString sheet = styleSheetFor(themeFor(dark), QApplication::font());
      QVERIFY(!sheet.contains('@'));
      QVERIFY(sheet.contains(themeFor(dark).accent.name()));
      for (qsizetype at = sheet.indexOf("url("); at >= 0; at = sheet.indexOf("url(", at + 1)) {
        const QString path = sheet.mid(at + 4, sheet.indexOf(')', at) - at - 4);
        QVERIFY2(QFile::exists(path), qPrintable(path));
        QVERIFY2(!QPixmap(path).isNull(), qPrintable(path));
      }
    }
  }

  void themeAppliesToWidgets() {
    QLineEdit edit;
    QImage pictures[2];
    for (const bool dark : {false, true}) {
      applyTheme(*qApp, dark);
      edit.resize(120, 26);
      pictures[dark] = edit.grab().toImage();
      QCOMPARE(pictures[dark].pixelColor(60, 13), themeFor(dark).panel);
    }
  }

  void menuKeysShowFromAltOn() {
    applyTheme(*qApp, false);
    QMainWindow window;
    window.menuBar()->addMenu("&File");
    window.show();
    QVERIFY(QTest::qWaitForWindowExposed(&window));
    const auto picture = [&] { return window.menuBar()->grab().toImage(); };
    const QImage calm = picture();
    QTest::keyPress(&window, Qt::Key_Alt);
    QVERIFY(picture() != calm);
    QTest::mouseClick(&window, Qt::LeftButton);
    QCOMPARE(picture(), calm);
    QTest::keyPress(&window, Qt::Key_Alt);
    QVERIFY(picture() != calm);
    QTest::keyClick(&window, Qt::Key_A);
    QCOMPARE(picture(), calm);
  }

  void colourMapEnds() {
    for (const bool dark : {false, true}) {
      const auto stops = colourStops(ColourScale::Diverging, dark);
      const ColourMap map(ColourScale::Diverging, dark, -2, 2, Qt::red);
      QCOMPARE(QColor(map.at(-2)), stops.front());
      QCOMPARE(QColor(map.at(-50)), stops.front());
      QCOMPARE(QColor(map.at(2)), stops.back());
      QVERIFY(colourDistance(QColor(map.at(0)), stops[4]) < 0.02);
      QCOMPARE(QColor(map.at(std::nan(""))), QColor(Qt::red));
      const auto sequential = colourStops(ColourScale::Sequential, dark);
      const ColourMap from0(ColourScale::Sequential, dark, 0, 1, Qt::red);
      QCOMPARE(QColor(from0.at(0)), sequential.front());
      QCOMPARE(QColor(from0.at(1)), sequential.back());
    }
  }

  void everyIconDraws() {
    const QStringList needed =
        QString(
            "explore compare model train export open-file open-folder sample search filter undo redo add vary "
            "copy save image play pause step step-back reset cancel pass fail not-asked warning note pin tie "
            "free waiting")
            .split(' ');
    QPalette before = QGuiApplication::palette();
    for (const QString& name : needed) {
      QVERIFY2(iconNames().contains(name), qPrintable(name));
      for (const bool dark : {false, true}) {
        QGuiApplication::setPalette(paletteFor(themeFor(dark)));
        const QImage image = icon(name).pixmap(16, 16).toImage();
        double ink = 0;
        bool rightColour = false;
        for (int y = 0; y < image.height(); ++y) {
          for (int x = 0; x < image.width(); ++x) {
            ink += image.pixelColor(x, y).alphaF();
            rightColour |=
                image.pixelColor(x, y).alpha() > 200 && colourDistance(image.pixelColor(x, y), themeFor(dark).text) < 0.05;
          }
        }
        QVERIFY2(ink > 5, qPrintable(name));
        QVERIFY2(rightColour, qPrintable(name));
      }
    }
    QGuiApplication::setPalette(before);
  }

  void numbersRead_data() {
    QTest::addColumn<QString>("got");
    QTest::addColumn<QString>("want");
    const auto row = [](const QString& got, const QString& want) { QTest::addRow("%s", qPrintable(want)) << got << want; };
    row(formatBpw(4.5), "4.50");
    row(formatSqnr(21.0493), "21.05");
    row(formatSqnr(INFINITY), "∞");
    row(formatSqnrWithUnit(7.2, 1), "7.2 dB");
    row(formatMse(7.16e-5), "7.16·10⁻⁵");
    row(formatMse(9.996e-5), "1.00·10⁻⁴");
    row(formatMse(4.44e-13, 2), "4.4·10⁻¹³");
    row(formatMse(0), "0");
    row(formatScaled(5.41e-7, -5), "0.0541");
    row(formatScaled(1.75e-3, -5), "175");
    row(formatRatio(0.008), "0.008×");
    row(formatRatio(0.2404), "0.24×");
    row(formatRatio(24.46), "24.5×");
    row(formatRatio(4.49), "4.49×");
    row(formatMaxError(0.03713), "0.0371");
    row(formatCosine(0.996091), "0.99609");
    row(formatPercent(0.08871), "8.87 %");
    row(formatSigned(-0.0371, 3), "−0.037");
    row(formatSigned(0.1404, 3), "+0.140");
    row(formatFixed(-0.0001, 2), "0.00");
    row(formatFixed(NAN, 2), "–");
    row(formatCount(147456), "147,456");
    row(formatRange(64, 127), "64–127");
    row(formatSize(294912), "288.0 KiB");
    row(formatSize(3953132), "3.77 MiB");
    row(formatDuration(12), "0:12");
    row(formatDuration(3723), "1:02:03");
    row(formatMilliseconds(0.0646), "64.6");
    row(formatTick(-0.4, 0.4), "−0.4");
    row(formatTick(0, 0.25), "0.00");
    const std::uint64_t shape[] = {384, 1536};
    row(formatShape(shape), "384 × 1536");
  }
  void numbersRead() {
    QFETCH(QString, got);
    QFETCH(QString, want);
    QCOMPARE(got, want);
  }

  void columnsShareAPower() {
    const double values[] = {5.4e-7, 7.16e-5, 8.1e-5, 1.7e-3, NAN};
    QCOMPARE(commonPower(values), -5);
    QCOMPARE(commonPower({}), 0);
  }
};

QTEST_MAIN(TestTheme)
#include "test_theme.moc"
