// SPDX-License-Identifier: GPL-3.0-or-later
// The bounds of the Pareto plot: named in the free corner, explained under the pointer on their line and their name, ending where
// they say nothing more, with both units of size.
#include "ui/plots/pareto_plot.h"
#include "ui/theme/theme.h"

#include <QMouseEvent>
#include <QSignalSpy>
#include <QTest>

using namespace nibble;

namespace {

ParetoData sample() {
  ParetoData data;
  for (const auto& [bits, sqnr] : {std::pair(2.5, 8.0), std::pair(4.5, 20.0), std::pair(6.5, 32.0), std::pair(8.5, 44.0)}) {
    ParetoPoint point;
    point.bitsPerWeight = bits;
    point.mebibytes = bits * 1e6 / 8 / 1048576;
    point.sqnrDb = sqnr;
    point.label = QString("at %1").arg(bits);
    data.points.push_back(point);
  }
  ParetoBound known;
  known.label = "rows known";
  known.offsetDb = 4;
  known.mostBits = 6;
  known.tip = "told each row's scale";
  data.bounds = {known, gaussianBound()};
  data.weights = 1e6;
  return data;
}

// Where (bits, decibels) lies: between the first and the last candidate everything is in proportion.
QPointF place(const ParetoPlot& plot, double bits, double decibels) {
  const QPointF low = plot.pointPosition(0), high = plot.pointPosition(3);
  return {low.x() + (bits - 2.5) / 6 * (high.x() - low.x()), low.y() + (decibels - 8) / 36 * (high.y() - low.y())};
}

void moveTo(QWidget* plot, QPointF place) {
  QMouseEvent event(QEvent::MouseMove, place, plot->mapToGlobal(place), Qt::NoButton, Qt::NoButton, {});
  QCoreApplication::sendEvent(plot, &event);
}

}  // namespace

class TestParetoBounds : public QObject {
  Q_OBJECT
 private slots:
  void initTestCase() { applyTheme(*qApp, false); }

  void namedAndExplained() {
    ParetoPlot plot;
    plot.resize(460, 300);
    plot.setData(sample());
    plot.grab();
    QSignalSpy spy(&plot, &PlotWidget::hoverText);
    const auto said = [&] { return spy.isEmpty() ? QString() : spy.last()[0].toString(); };
    // On the names in the corner, one line after the other.
    const QRectF area = plot.axisArea();
    moveTo(&plot, area.topLeft() + QPointF(60, 12));
    QCOMPARE(said(), QString("rows known"));
    QCOMPARE(plot.toolTip(), QString("told each row's scale"));
    moveTo(&plot, area.topLeft() + QPointF(60, 27));
    QVERIFY(said().contains("6.02"));
    QVERIFY(plot.toolTip().contains("variance"));
    // On the lines; the first ends at 6 bits.
    const double perBit = 6.0206;
    moveTo(&plot, place(plot, 5.5, 4 + perBit * 5.5));
    QCOMPARE(said(), QString("rows known"));
    spy.clear();
    moveTo(&plot, place(plot, 6.4, 4 + perBit * 6.4));
    QVERIFY2(said() != "rows known", qPrintable(said()));
    // On a candidate the candidate is told.
    moveTo(&plot, plot.pointPosition(1));
    QVERIFY(said().startsWith("at 4.5"));
  }

  void inBothUnits() {
    ParetoPlot plot;
    plot.resize(460, 300);
    auto data = sample();
    plot.setData(data);
    const QImage bits = plot.grab().toImage();
    plot.setAxis(ParetoAxis::Mebibytes);
    QVERIFY(plot.grab().toImage() != bits);
    QSignalSpy spy(&plot, &PlotWidget::hoverText);
    moveTo(&plot, plot.axisArea().topLeft() + QPointF(60, 12));
    QCOMPARE(spy.last()[0].toString(), QString("rows known"));
    data.weights = 0;  // then nobody knows how many bits a MiB is
    plot.setData(data);
    plot.grab();
    spy.clear();
    moveTo(&plot, plot.axisArea().topLeft() + QPointF(60, 12));
    QVERIFY(spy.isEmpty() || spy.last()[0].toString().isEmpty());
  }

  // The line is drawn as far as it holds and no farther.
  void endsWhereItSaysNothing() {
    ParetoPlot plot;
    plot.resize(460, 300);
    auto with = sample(), without = sample();
    with.bounds.pop_back();
    without.bounds.clear();
    plot.setData(without);
    QImage plain = plot.grab().toImage();
    with.bounds[0].mostBits = 3;
    plot.setData(with);
    const QImage short3 = plot.grab().toImage();
    with.bounds[0].mostBits = 6;
    plot.setData(with);
    const QImage long6 = plot.grab().toImage();
    QVERIFY(plain != short3 && short3 != long6);
    // At 5 bits the shorter one has left no ink.
    const QPoint at5 = place(plot, 5, 4 + 5 * 6.0206).toPoint();
    const auto ink = [at5](const QImage& image) {
      int dark = 0;
      for (int y = at5.y() - 8; y <= at5.y() + 8; ++y)
        for (int x = at5.x() - 8; x <= at5.x() + 8; ++x) dark += image.pixelColor(x, y).lightness() < 150;
      return dark;
    };
    QCOMPARE(ink(short3), 0);
    QVERIFY(ink(long6) > 4);
  }
};

QTEST_MAIN(TestParetoBounds)
#include "test_pareto_bounds.moc"
