// SPDX-License-Identifier: GPL-3.0-or-later
// The group under the lens, by mouse and keys: dragging scale and zero, choosing a weight, the bit strip beneath.
#include "ui/plots/bit_strip.h"
#include "ui/plots/microscope_plot.h"
#include "ui/theme/theme.h"

#include <QApplication>
#include <QMouseEvent>
#include <QSignalSpy>
#include <QWheelEvent>
#include <QtTest>
#include <cmath>

using namespace nibble;

namespace {

// Four bits, affine, as an owner would answer a drag: the levels follow scale and zero, codes are the nearest.
MicroscopeData group(double scale, double zero) {
  MicroscopeData data;
  for (int i = 0; i < 64; ++i) data.weights.push_back(0.3 * std::sin(i * 1.7) - 0.1);
  for (int code = 0; code < 16; ++code) data.levels.push_back(scale * (code - zero));
  for (const double w : data.weights)
    data.codes.push_back(static_cast<int>(std::clamp(std::nearbyint(w / scale + zero), 0.0, 15.0)));
  data.selected = 5;
  data.scale = scale, data.zero = zero;
  data.scaleDraggable = data.zeroDraggable = true;
  data.family = Family::Hqq;
  return data;
}

BitStripData strip(int bits, int digits) {
  BitStripData data;
  for (int i = 0; i < 64; ++i) {
    BitColumn column{0.01 * i, i % (1 << bits), {}, {}};
    for (int b = bits - 1; b >= 0; --b) column.bits.push_back((column.code >> b) & 1);
    for (int d = 0; d < digits; ++d) column.hex.push_back({"0123456789ABCDEF"[(i + d) % 16], d == 0});
    data.columns.push_back(column);
  }
  data.place = "W_q[853]", data.bitRange = "bits 7–4", data.unit = "byte";
  data.selected = 2;
  data.family = Family::Hqq;
  return data;
}

}  // namespace

class TestPlotsMicroscope : public QObject {
  Q_OBJECT

  std::unique_ptr<QWidget> m_page;
  MicroscopePlot* scope() const { return m_page->findChild<MicroscopePlot*>("microscope"); }
  BitStrip* bits() const { return m_page->findChild<BitStrip*>("bitStrip"); }

  void move(QWidget* widget, QPointF at, Qt::MouseButtons buttons) const {
    QMouseEvent event(QEvent::MouseMove, at, widget->mapToGlobal(at), Qt::NoButton, buttons, Qt::NoModifier);
    QApplication::sendEvent(widget, &event);
  }

 private slots:
  void initTestCase() { QLocale::setDefault(QLocale(QLocale::English)); }

  void init() {
    QApplication::setPalette(paletteFor(themeFor(false)));
    m_page = std::make_unique<QWidget>();
    m_page->resize(860, 300);
    auto* plot = new MicroscopePlot(m_page.get());
    plot->setGeometry(0, 0, 820, 110);
    plot->setData(group(0.05, 10.5));
    auto* stripWidget = new BitStrip(m_page.get());
    stripWidget->setGeometry(0, 120, 820, 104);
    stripWidget->setData(strip(4, 2));
    m_page->show();
    QVERIFY(QTest::qWaitForWindowExposed(m_page.get()));
    plot->grab();
  }

  void scaleHandleFollowsThePointer() {
    QSignalSpy scale(scope(), &MicroscopePlot::scaleDragged), zero(scope(), &MicroscopePlot::zeroDragged),
        done(scope(), &MicroscopePlot::dragFinished);
    connect(scope(), &MicroscopePlot::scaleDragged, scope(), [this](double s) { scope()->setData(group(s, 10.5)); });
    const QPoint from = scope()->scaleHandle().toPoint();
    QTest::mousePress(scope(), Qt::LeftButton, {}, from);
    for (int i = 1; i <= 20; ++i) {
      move(scope(), from - QPoint(2 * i, 0), Qt::LeftButton);
      QVERIFY2(std::abs(scope()->scaleHandle().x() - (from.x() - 2 * i)) < 2,
               qPrintable(QString::number(scope()->scaleHandle().x() - from.x())));
    }
    QTest::mouseRelease(scope(), Qt::LeftButton, {}, from - QPoint(40, 0));
    QCOMPARE(scale.size(), 20);
    QVERIFY(scale.back()[0].toDouble() < 0.05 && scale.back()[0].toDouble() > 0);
    QCOMPARE(zero.size(), 0);
    QCOMPARE(done.size(), 1);
    // Far beyond zero the scale stays positive.
    QTest::mousePress(scope(), Qt::LeftButton, {}, scope()->scaleHandle().toPoint());
    move(scope(), {2, 30}, Qt::LeftButton);
    QVERIFY(scale.back()[0].toDouble() > 0);
    QTest::mouseRelease(scope(), Qt::LeftButton, {}, {2, 30});
  }

  void zeroHandleShiftsTheLevels() {
    QSignalSpy zero(scope(), &MicroscopePlot::zeroDragged);
    double last = 10.5;
    connect(scope(), &MicroscopePlot::zeroDragged, scope(), [&](double z) { scope()->setData(group(0.05, last = z)); });
    const double level15 = scope()->toPixel(0.05 * 4.5);
    const QPoint from = scope()->zeroHandle().toPoint();
    QTest::mousePress(scope(), Qt::LeftButton, {}, from);
    move(scope(), from + QPoint(10, 0), Qt::LeftButton);
    move(scope(), from + QPoint(20, 0), Qt::LeftButton);
    QCOMPARE(zero.size(), 2);
    QVERIFY(last < 10.5);
    QVERIFY(std::abs(scope()->toPixel(0.05 * (15 - last)) - (level15 + 20)) < 1.5);
    QTest::mouseRelease(scope(), Qt::LeftButton, {}, from + QPoint(20, 0));
    QVERIFY(std::abs(scope()->zeroHandle().x() - scope()->toPixel(0)) < 0.01);
  }

  void doubleClickResets() {
    QSignalSpy reset(scope(), &MicroscopePlot::resetRequested);
    QTest::mouseDClick(scope(), Qt::LeftButton, {}, scope()->scaleHandle().toPoint());
    QTest::mouseDClick(scope(), Qt::LeftButton, {}, scope()->zeroHandle().toPoint());
    QTest::mouseDClick(scope(), Qt::LeftButton, {}, {30, 5});
    QCOMPARE(reset.size(), 2);
    QTest::keyClick(scope(), Qt::Key_Escape);
    QCOMPARE(reset.size(), 3);
  }

  void fixedHandlesStay() {
    MicroscopeData data = group(0.05, 10.5);
    data.scaleDraggable = data.zeroDraggable = false;
    const QImage with = scope()->grab().toImage();
    scope()->setData(data);
    QVERIFY(scope()->grab().toImage() != with);
    QSignalSpy scale(scope(), &MicroscopePlot::scaleDragged), zero(scope(), &MicroscopePlot::zeroDragged);
    for (const QPointF handle : {scope()->scaleHandle(), scope()->zeroHandle()}) {
      QTest::mousePress(scope(), Qt::LeftButton, {}, handle.toPoint());
      move(scope(), handle + QPointF(30, 0), Qt::LeftButton);
      QTest::mouseRelease(scope(), Qt::LeftButton);
    }
    QCOMPARE(scale.size() + zero.size(), 0);
  }

  void keysChooseAndMove() {
    QSignalSpy weight(scope(), &MicroscopePlot::weightClicked), scale(scope(), &MicroscopePlot::scaleDragged),
        zero(scope(), &MicroscopePlot::zeroDragged);
    QTest::keyClick(scope(), Qt::Key_Right);
    QCOMPARE(weight.back()[0].toInt(), 6);
    QTest::keyClick(scope(), Qt::Key_Left, Qt::ControlModifier);
    QCOMPARE(zero.back()[0].toDouble(), 10.625);
    QTest::keyClick(scope(), Qt::Key_Right, Qt::ControlModifier | Qt::ShiftModifier);
    QVERIFY(scale.back()[0].toDouble() > 0.05);
  }

  void clickChoosesTheWeight() {
    QSignalSpy weight(scope(), &MicroscopePlot::weightClicked);
    const MicroscopeData data = group(0.05, 10.5);
    const int lowest = static_cast<int>(std::min_element(data.weights.begin(), data.weights.end()) - data.weights.begin());
    QTest::mouseClick(scope(), Qt::LeftButton, {},
                      {static_cast<int>(scope()->toPixel(data.weights[static_cast<std::size_t>(lowest)])), 80});
    QCOMPARE(weight.size(), 1);
    QVERIFY(std::abs(data.weights[static_cast<std::size_t>(weight[0][0].toInt())] -
                     data.weights[static_cast<std::size_t>(lowest)]) < 0.005);
  }

  void tableHoldsTheGroup() {
    const DataTable table = scope()->dataTable();
    const MicroscopeData data = group(0.05, 10.5);
    QCOMPARE(table.rows.size(), 64U);
    for (std::size_t i = 0; i < 64; ++i) {
      QCOMPARE(table.rows[i][1].toDouble(), data.weights[i]);
      QCOMPARE(table.rows[i][2].toInt(), data.codes[i]);
      QCOMPARE(table.rows[i][4].toDouble(), data.weights[i] - data.levels[static_cast<std::size_t>(data.codes[i])]);
    }
  }

  void stripSelectsByClickAndKey() {
    QSignalSpy clicked(bits(), &BitStrip::columnClicked);
    QTest::mouseClick(bits(), Qt::LeftButton, {}, bits()->columnRect(4).center());
    QCOMPARE(clicked.back()[0].toInt(), 4);
    QTest::keyClick(bits(), Qt::Key_Right);
    QCOMPARE(clicked.back()[0].toInt(), 3);
    QTest::mouseClick(bits(), Qt::LeftButton, {}, {20, 50});
    QCOMPARE(clicked.size(), 2);
  }

  void stripFillsSetBitsAndOurDigits() {
    BitStripData data = strip(4, 2);
    data.columns[0].bits = {true, false, false, false};
    bits()->setData(data);
    const QImage image = bits()->grab().toImage();
    const QRect column = bits()->columnRect(0);
    const QColor family = familyColour(themeFor(false), Family::Hqq);
    const auto count = [&](const QRect& where, const QColor& colour) {
      int pixels = 0;
      for (int y = where.top(); y <= where.bottom(); ++y) {
        for (int x = where.left(); x <= where.right(); ++x) pixels += image.pixelColor(x, y) == colour;
      }
      return pixels;
    };
    const QRect bitRow(column.left(), 51, column.width(), 19), hexRow(column.left(), 78, column.width(), 22);
    QVERIFY(count(bitRow, family) > 80);
    QVERIFY(count(bitRow.adjusted(column.width() / 2, 0, 0, 0), family) == 0);
    const QColor ours(mixed(family, themeFor(false).panel, 0.35).rgb());
    QVERIFY(count(hexRow, ours) > 150);
    QVERIFY(count(hexRow.adjusted(column.width() / 2 + 2, 0, 0, 0), ours) == 0);
    // The chosen column has its frame.
    QCOMPARE(image.pixelColor(bits()->columnRect(2).left() + 1, 60), themeFor(false).accent);
  }

  void stripScrollsToTheChosenAndByWheel() {
    BitStripData data = strip(4, 2);
    data.selected = 60;
    bits()->setData(data);
    QVERIFY(!bits()->columnRect(60).isEmpty());
    QVERIFY(bits()->columnRect(0).isEmpty());
    const int first = bits()->firstVisible();
    QWheelEvent event({100, 50}, bits()->mapToGlobal(QPointF(100, 50)), {}, {0, 120}, Qt::NoButton, Qt::NoModifier,
                      Qt::NoScrollPhase, false);
    QApplication::sendEvent(bits(), &event);
    QCOMPARE(bits()->firstVisible(), first - 1);
    bits()->setData(strip(8, 8));
    QVERIFY(bits()->columnRect(0).width() >= 8 * 11);
    QCOMPARE(bits()->dataTable().rows[5][3].toString(), QString("00000101"));
    QCOMPARE(bits()->dataTable().rows[5][4].toString(), QString("56789ABC"));
  }

  void emptyScopeIsQuiet() {
    scope()->clear();
    bits()->clear();
    scope()->grab(), bits()->grab();
    QTest::keyClick(scope(), Qt::Key_Right);
    QTest::mouseClick(scope(), Qt::LeftButton, {}, {100, 60});
    QTest::mouseClick(bits(), Qt::LeftButton, {}, {200, 60});
    QVERIFY(scope()->isEmpty() && bits()->isEmpty());
  }
};

QTEST_MAIN(TestPlotsMicroscope)
#include "test_plots_microscope.moc"
