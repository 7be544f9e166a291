// SPDX-License-Identifier: GPL-3.0-or-later
// What all charts promise: their table holds the data they draw, new data changes the pixels, hover and arrow keys say what is
// there, colours follow the palette, they save and copy. Only mouse and key events reach the widgets, found by object name.
#include "tests/ui/plot_samples.h"
#include "ui/plots/error_histogram_plot.h"
#include "ui/plots/histogram_plot.h"
#include "ui/plots/label_places.h"
#include "ui/plots/occupancy_plot.h"
#include "ui/plots/overlay_histogram_plot.h"
#include "ui/plots/pareto_plot.h"
#include "ui/plots/row_ranges_plot.h"
#include "ui/plots/size_bar.h"
#include "ui/plots/spark_levels.h"
#include "ui/theme/theme.h"

#include <QApplication>
#include <QClipboard>
#include <QContextMenuEvent>
#include <QMenu>
#include <QMouseEvent>
#include <QSignalSpy>
#include <QTableView>
#include <QTemporaryDir>
#include <QtTest>
#include <cmath>
#include <ctime>
#include <limits>

using namespace nibble;

namespace {

Histogram bell(double low, double high, int bins, std::uint64_t height) {
  Histogram h{low, high, {}};
  for (int i = 0; i < bins; ++i) {
    const double x = (i + 0.5) / bins * 6 - 3;
    h.counts.push_back(static_cast<std::uint64_t>(static_cast<double>(height) * std::exp(-x * x)));
  }
  return h;
}

void moveTo(QWidget* widget, QPointF at) {
  QMouseEvent event(QEvent::MouseMove, at, widget->mapToGlobal(at), Qt::NoButton, Qt::NoButton, Qt::NoModifier);
  QApplication::sendEvent(widget, &event);
}

std::vector<ParetoPoint> candidates() {
  std::vector<ParetoPoint> points(4);
  points[0] = {2.5, 0.04, 7.2, "a 2", "a:bits=2", Family::Hqq};
  points[1] = {4.5, 0.08, 21.0, "a 4", "a:bits=4", Family::Uniform};
  points[2] = {4.6, 0.09, 18.0, "b 4", "b:bits=4", Family::Codebook};
  points[3] = {8.0, 0.15, 42.0, "a 8", "a:bits=8", Family::Gguf};
  points[1].baseline = true;
  markDominated(points);
  return points;
}

}  // namespace

class TestPlots : public QObject {
  Q_OBJECT

  std::unique_ptr<QWidget> m_page;

  PlotWidget* find(const char* name) const { return m_page->findChild<PlotWidget*>(QString::fromLatin1(name)); }
  static void fill(QWidget* page) {
    (new HistogramPlot(page))->setData({bell(-1, 1, 40, 1000), {-0.5, 0, 0.5, 1}, Family::Hqq, {}});
    (new ErrorHistogramPlot(page))->setData({bell(-1, 1, 40, 1000), 0.002, true, Family::Hqq});
    (new OccupancyPlot(page))->setData({{10, 30, 40, 20}, Family::Hqq, -1});
    std::vector<RowRange> ranges;
    for (int i = 0; i < 100; ++i) ranges.push_back({-1 - 0.001F * static_cast<float>(i), -0.5F, 0, 0.5F, 1});
    (new RowRangesPlot(page))->setData(ranges);
    (new ParetoPlot(page))->setData({candidates(), {gaussianBound()}, 147456});
    (new OverlayHistogramPlot(page))
        ->setData({{bell(-0.1, 0.1, 60, 900), "a", 0.02, Family::Hqq, true},
                   {bell(-0.2, 0.2, 60, 900), "b", 0.04, Family::Uniform, false}});
    (new SparkLevels(page))->setData({bell(-1, 1, 40, 1000), {-0.5, 0, 0.5}, Family::Hqq});
    (new SizeBar(page))->setData({{"codes", 4}, {"scales", 0.25}, {"zeros", 0.25}, {"other", 0}}, Family::Hqq);
  }

 private slots:
  void initTestCase() { QLocale::setDefault(QLocale(QLocale::English)); }

  void init() {
    QApplication::setPalette(paletteFor(themeFor(false)));
    m_page = std::make_unique<QWidget>();
    m_page->resize(1000, 900);
    fill(m_page.get());
    int i = 0;
    for (PlotWidget* plot : m_page->findChildren<PlotWidget*>()) {
      plot->setGeometry(330 * (i % 3), 220 * (i / 3), 320, plot->objectName() == "sizeBar" ? 9 : 210);
      ++i;
    }
    m_page->show();
    QVERIFY(QTest::qWaitForWindowExposed(m_page.get()));
  }

  void everyPlotIsNamedAndDescribed() {
    const auto plots = m_page->findChildren<PlotWidget*>();
    QCOMPARE(plots.size(), 8);
    for (PlotWidget* plot : plots) {
      QVERIFY(!plot->objectName().isEmpty());
      QVERIFY(!plot->accessibleName().isEmpty());
      QVERIFY(!plot->accessibleDescription().isEmpty());
      const DataTable table = plot->dataTable();
      QVERIFY(!table.rows.empty());
      for (const QVariantList& row : table.rows) QCOMPARE(row.size(), table.headers.size());
    }
  }

  void tablesHoldTheData() {
    const DataTable counts = find("weightHistogram")->dataTable();
    const Histogram h = bell(-1, 1, 40, 1000);
    QCOMPARE(counts.rows.size(), h.counts.size());
    for (std::size_t i = 0; i < h.counts.size(); ++i) QCOMPARE(counts.rows[i][2].toULongLong(), h.counts[i]);
    QCOMPARE(counts.rows[3][4].toDouble(), 1.0);
    QVERIFY(std::abs(counts.rows[39][1].toDouble() - 1) < 1e-12);
    double whole = 0;
    for (const QVariantList& row : find("errorHistogram")->dataTable().rows) whole += row[3].toDouble() * 0.05;
    QVERIFY(std::abs(whole - 1) < 1e-9);
    const DataTable codes = find("occupancy")->dataTable();
    QCOMPARE(codes.rows[2][2].toDouble(), 40.0);
    QCOMPARE(find("rowRanges")->dataTable().rows.size(), 100U);
    QCOMPARE(find("sizeBar")->dataTable().rows.size(), 3U);
    const DataTable pareto = find("pareto")->dataTable();
    QCOMPARE(pareto.rows[2][4].toBool(), true);
    QCOMPARE(pareto.rows[3][4].toBool(), false);
  }

  void tsvIsInTheCLocale() {
    QLocale::setDefault(QLocale(QLocale::German));
    const QString tsv = DataTable{{"a", "b"}, {{0.25, "x\ty"}, {1234567.5, 7}}}.toTsv();
    QLocale::setDefault(QLocale(QLocale::English));
    QCOMPARE(tsv, QString("a\tb\n0.25\tx y\n1234567.5\t7\n"));
    const QString csv = DataTable{{"a"}, {{QString("x,\"y\"")}}}.toCsv();
    QCOMPARE(csv, QString("a\n\"x,\"\"y\"\"\"\n"));
  }

  void newDataNewPixels() {
    const auto changes = [&](const char* name, auto change) {
      PlotWidget* plot = find(name);
      const QImage before = plot->grab().toImage();
      change();
      QVERIFY2(plot->grab().toImage() != before, name);
    };
    const auto as = [&]<class T>(T*, const char* name) { return static_cast<T*>(find(name)); };
    auto* weights = as(static_cast<HistogramPlot*>(nullptr), "weightHistogram");
    changes("weightHistogram", [&] { weights->setData({bell(-1, 1, 40, 1000), {-0.4, 0, 0.5, 1}, Family::Hqq, {}}); });
    changes("weightHistogram", [&] { weights->setLogarithmic(false); });
    changes("errorHistogram", [&] {
      static_cast<ErrorHistogramPlot*>(find("errorHistogram"))->setData({bell(-1, 1, 30, 99), 0.1, true, Family::Hqq});
    });
    changes("occupancy", [&] { static_cast<OccupancyPlot*>(find("occupancy"))->setData({{10, 30, 40, 21}, Family::Hqq, -1}); });
    changes("rowRanges", [&] { static_cast<RowRangesPlot*>(find("rowRanges"))->setSelectedRow(40); });
    changes("rowRanges", [&] { static_cast<RowRangesPlot*>(find("rowRanges"))->setRowRange(10, 20); });
    changes("pareto", [&] { static_cast<ParetoPlot*>(find("pareto"))->setAxis(ParetoAxis::Mebibytes); });
    changes("errorOverlay", [&] { static_cast<OverlayHistogramPlot*>(find("errorOverlay"))->setLogarithmic(false); });
    changes("sparkLevels", [&] {
      static_cast<SparkLevels*>(find("sparkLevels"))->setData({bell(-1, 1, 40, 1000), {-0.5, 0.5}, Family::Hqq});
    });
    changes("sizeBar", [&] { static_cast<SizeBar*>(find("sizeBar"))->setData({{"codes", 3}, {"scales", 1}}, Family::Hqq); });
  }

  void colorsFollowThePalette() {
    for (PlotWidget* plot : m_page->findChildren<PlotWidget*>()) {
      const QImage light = plot->grab().toImage();
      QApplication::setPalette(paletteFor(themeFor(true)));
      QCoreApplication::processEvents();
      const QImage dark = plot->grab().toImage();
      QVERIFY2(light != dark, qPrintable(plot->objectName()));
      if (plot->objectName() != "sizeBar") QCOMPARE(dark.pixelColor(1, 1), themeFor(true).panel);
      QApplication::setPalette(paletteFor(themeFor(false)));
      QCoreApplication::processEvents();
      QCOMPARE(plot->grab().toImage(), light);
    }
  }

  void levelsCloserThanThreePixelsBecomeABand() {
    auto* plot = static_cast<HistogramPlot*>(find("weightHistogram"));
    std::vector<double> many;
    for (int i = 0; i < 256; ++i) many.push_back(-0.5 + i / 255.0);
    plot->setData({Histogram{-1, 1, {1, 0, 0, 1}}, many, Family::Hqq, {}});
    const QImage image = plot->grab().toImage();
    const QRect area = plot->axisArea();
    const QColor inside = image.pixelColor(area.center().x() + 7, area.top() + 3);
    const QColor want = mixed(familyColour(themeFor(false), Family::Hqq), themeFor(false).panel, 0.22);
    QVERIFY2(colourDistance(inside, want) < 0.02, qPrintable(inside.name()));
  }

  void singleWeightShowsOnTheLogAxis() {
    auto* plot = static_cast<HistogramPlot*>(find("weightHistogram"));
    plot->setData({Histogram{-1, 1, {0, 1, 100000, 0}}, {}, Family::Hqq, {}});
    const QImage image = plot->grab().toImage();
    const QRect area = plot->axisArea();
    QCOMPARE(image.pixelColor(area.left() + area.width() * 3 / 8, area.bottom() - 1), themeFor(false).bar);
    QCOMPARE(image.pixelColor(area.left() + area.width() / 8, area.bottom() - 1), themeFor(false).panel);
  }

  void hoverSaysWhatIsThere() {
    for (const char* name : {"weightHistogram", "errorHistogram", "occupancy", "rowRanges", "errorOverlay"}) {
      auto* plot = static_cast<ChartWidget*>(find(name));
      QSignalSpy spy(plot, &PlotWidget::hoverText);
      moveTo(plot, plot->axisArea().center());
      QVERIFY2(!spy.isEmpty() && !spy.back()[0].toString().isEmpty(), name);
      moveTo(plot, {2, 2});
      QVERIFY2(spy.back()[0].toString().isEmpty(), name);
    }
    auto* occupancy = static_cast<OccupancyPlot*>(find("occupancy"));
    QSignalSpy spy(occupancy, &PlotWidget::hoverText);
    const QRect area = occupancy->axisArea();
    moveTo(occupancy, {area.left() + area.width() * 0.7, area.center().y() + 0.0});
    QCOMPARE(spy.back()[0].toString(), QString("code 2: 40.00 %, 40 weights"));
  }

  void arrowKeysMoveTheCursor() {
    for (const char* name : {"weightHistogram", "errorHistogram", "occupancy", "rowRanges", "errorOverlay", "pareto"}) {
      PlotWidget* plot = find(name);
      QSignalSpy spy(plot, &PlotWidget::hoverText);
      QTest::keyClick(plot, name == QLatin1String("rowRanges") ? Qt::Key_Down : Qt::Key_Right);
      QTest::keyClick(plot, name == QLatin1String("rowRanges") ? Qt::Key_Down : Qt::Key_Right);
      QVERIFY2(spy.size() >= 2, name);
      QVERIFY2(spy[spy.size() - 1][0] != spy[0][0], name);
      QVERIFY2(!spy.back()[0].toString().isEmpty(), name);
    }
  }

  void clicksReport() {
    auto* pareto = static_cast<ParetoPlot*>(find("pareto"));
    QSignalSpy points(pareto, &ParetoPlot::pointClicked);
    QTest::mouseClick(pareto, Qt::LeftButton, {}, pareto->pointPosition(2).toPoint());
    QCOMPARE(points.size(), 1);
    QCOMPARE(points[0][0].toInt(), 2);
    QTest::mouseClick(pareto, Qt::LeftButton, {}, {3, 3});
    QCOMPARE(points.size(), 1);
    QSignalSpy hovers(pareto, &ParetoPlot::pointHovered);
    moveTo(pareto, pareto->pointPosition(0));
    QCOMPARE(hovers.back()[0].toInt(), 0);
    QTest::keyClick(pareto, Qt::Key_Return);
    QCOMPARE(points.back()[0].toInt(), 0);

    auto* rows = static_cast<RowRangesPlot*>(find("rowRanges"));
    QSignalSpy row(rows, &RowRangesPlot::rowClicked);
    const QRect area = rows->axisArea();
    QTest::mouseClick(rows, Qt::LeftButton, {}, {area.center().x(), area.top() + area.height() / 4});
    QVERIFY(std::abs(row.back()[0].toInt() - 25) <= 1);

    auto* occupancy = static_cast<OccupancyPlot*>(find("occupancy"));
    QSignalSpy code(occupancy, &OccupancyPlot::codeClicked);
    QTest::mouseClick(occupancy, Qt::LeftButton, {}, {occupancy->axisArea().left() + 48, occupancy->axisArea().bottom() - 4});
    QCOMPARE(code.back()[0].toInt(), 0);

    QSignalSpy spark(static_cast<SparkLevels*>(find("sparkLevels")), &SparkLevels::clicked);
    QTest::mouseClick(find("sparkLevels"), Qt::LeftButton);
    QTest::keyClick(find("sparkLevels"), Qt::Key_Space);
    QCOMPARE(spark.size(), 2);
  }

  void baselineStandsInFrontAndIsRinged() {
    auto* pareto = static_cast<ParetoPlot*>(find("pareto"));
    const QImage image = pareto->grab().toImage();
    const QPoint centre = pareto->pointPosition(1).toPoint();
    QCOMPARE(image.pixelColor(centre), familyColour(themeFor(false), Family::Uniform));
    QVERIFY(colourDistance(image.pixelColor(centre + QPoint(0, 9)), themeFor(false).accent) < 0.2);
    // A dominated mark is faded.
    QVERIFY(colourDistance(image.pixelColor(pareto->pointPosition(2).toPoint()),
                           familyColour(themeFor(false), Family::Codebook)) > 0.15);
  }

  void wheelZoomsRows() {
    auto* rows = static_cast<RowRangesPlot*>(find("rowRanges"));
    QSignalSpy spy(rows, &RowRangesPlot::rowRangeChanged);
    const QPoint at = rows->axisArea().center();
    QWheelEvent event(at, rows->mapToGlobal(at), {}, {0, 240}, Qt::NoButton, Qt::NoModifier, Qt::NoScrollPhase, false);
    QApplication::sendEvent(rows, &event);
    QCOMPARE(spy.size(), 1);
    QVERIFY(rows->rowRange().second - rows->rowRange().first < 100);
    QTest::mouseDClick(rows, Qt::LeftButton, {}, at);
    QCOMPARE(rows->rowRange(), (std::pair<quint64, quint64>(0, 100)));
  }

  void emptyPlotsSaySo() {
    auto* plot = static_cast<HistogramPlot*>(find("weightHistogram"));
    plot->setEmptyText("nothing here");
    const QImage full = plot->grab().toImage();
    plot->clear();
    QVERIFY(plot->isEmpty());
    const QImage empty = plot->grab().toImage();
    QVERIFY(empty != full);
    plot->setEmptyText("open a file");
    QVERIFY(plot->grab().toImage() != empty);
    QTest::keyClick(plot, Qt::Key_Right);
    moveTo(plot, plot->rect().center());
  }

  void savesAllFormats() {
    QTemporaryDir folder;
    for (PlotWidget* plot : m_page->findChildren<PlotWidget*>()) {
      for (const QString suffix : {"png", "svg", "pdf", "csv", "tsv"}) {
        const QString path = folder.filePath(plot->objectName() + '.' + suffix);
        const Status saved = plot->save(path);
        QVERIFY2(saved.has_value(), qPrintable(path));
        QFile file(path);
        QVERIFY(file.open(QIODevice::ReadOnly));
        const QByteArray bytes = file.readAll();
        if (suffix == "png") QVERIFY(bytes.startsWith("\x89PNG"));
        if (suffix == "svg")
          QVERIFY2(bytes.contains("<svg") && (plot->objectName() == "sizeBar" || bytes.contains("<text")), qPrintable(path));
        if (suffix == "pdf") QVERIFY(bytes.startsWith("%PDF"));
        if (suffix == "tsv") QCOMPARE(QString::fromUtf8(bytes), plot->dataTable().toTsv());
      }
      QVERIFY(!plot->save(folder.filePath("missing/x.png")));
      QVERIFY(!plot->save(folder.filePath("x.bmp")));
      QVERIFY(!QFile::exists(folder.filePath("x.bmp")));
    }
  }

  void menuCopiesAndShows() {
    PlotWidget* plot = find("occupancy");
    QContextMenuEvent event(QContextMenuEvent::Mouse, {5, 5}, plot->mapToGlobal(QPoint(5, 5)));
    QApplication::sendEvent(plot, &event);
    auto* menu = plot->findChild<QMenu*>("occupancyMenu");
    QVERIFY(menu != nullptr);
    const auto click = [&](const char* name) {
      QAction* action = menu->findChild<QAction*>(name);
      QVERIFY2(action != nullptr, name);
      QTest::mouseClick(menu, Qt::LeftButton, {}, menu->actionGeometry(action).center());
    };
    click("copyData");
    QTRY_COMPARE(QApplication::clipboard()->text(), plot->dataTable().toTsv());
    QTest::keyClick(plot, Qt::Key_C, Qt::ControlModifier);
    QCOMPARE(QApplication::clipboard()->text(), plot->dataTable().toTsv());
    QTRY_VERIFY(plot->findChild<QMenu*>("occupancyMenu") == nullptr);
    QApplication::sendEvent(plot, &event);
    menu = plot->findChild<QMenu*>("occupancyMenu");
    click("showData");
    auto* table = plot->findChild<QTableView*>("dataTable");
    QVERIFY(table != nullptr);
    QCOMPARE(table->model()->rowCount(), 4);
    QCOMPARE(table->model()->index(2, 2).data().toString(), QString("40"));
  }

  // Constant weights, exact reconstructions, one point, nothing counted.
  void degenerateDataIsDrawn() {
    auto* weights = static_cast<HistogramPlot*>(find("weightHistogram"));
    weights->setData({Histogram{0.45, 0.45, {64}}, {}, Family::Hqq, {}});
    const QImage image = weights->grab().toImage();
    int bars = 0;
    for (int y = 0; y < image.height(); ++y) {
      for (int x = 0; x < image.width(); ++x) bars += image.pixelColor(x, y) == themeFor(false).bar;
    }
    QVERIFY(bars > 50);
    static_cast<ErrorHistogramPlot*>(find("errorHistogram"))->setData({Histogram{0, 0, {0}}, 0, true, Family::Hqq});
    static_cast<OccupancyPlot*>(find("occupancy"))->setData({{0}, Family::Hqq, 0});
    static_cast<RowRangesPlot*>(find("rowRanges"))->setData({RowRange{}});
    ParetoPoint exact;
    exact.sqnrDb = std::numeric_limits<double>::infinity();
    static_cast<ParetoPlot*>(find("pareto"))->setData({{exact}, {gaussianBound()}, 0});
    static_cast<OverlayHistogramPlot*>(find("errorOverlay"))->setData({{Histogram{0, 0, {5}}, "exact", 0, Family::Hqq, true}});
    static_cast<SparkLevels*>(find("sparkLevels"))->setData({Histogram{0, 0, {5}}, {0}, Family::Hqq});
    for (PlotWidget* plot : m_page->findChildren<PlotWidget*>()) {
      plot->grab();
      QTest::keyClick(plot, Qt::Key_Right);
      QTest::keyClick(plot, Qt::Key_End);
      moveTo(plot, plot->rect().center());
      QVERIFY(!plot->dataTable().rows.empty());
    }
  }

  // A drag repaints all plots of a page within one frame of 16 ms: none may take more than a part of it.
  void repaintsFast() {
    std::vector<OverlaySeries> series;
    for (int i = 0; i < 6; ++i) series.push_back({bell(-0.1, 0.1, 2000, 100000), "a", 0.02, Family::Hqq, i == 0});
    static_cast<OverlayHistogramPlot*>(find("errorOverlay"))->setData(series);
    auto* weights = static_cast<HistogramPlot*>(find("weightHistogram"));
    weights->setData({bell(-1, 1, 2000, 100000), std::vector<double>(256, 0.1), Family::Hqq, {}});
    static_cast<RowRangesPlot*>(find("rowRanges"))->setData(std::vector<RowRange>(50000, RowRange{-1, -0.5, 0, 0.5, 1}));
    for (PlotWidget* plot : m_page->findChildren<PlotWidget*>()) {
      double best = 1e9;
      QImage target(plot->size(), QImage::Format_RGB32);
      for (int i = 0; i < 5; ++i) {
        const std::clock_t start = std::clock();
        plot->setPalette(paletteFor(themeFor(i % 2 == 0)));  // everything is rebuilt
        plot->render(&target);
        best = std::min(best, 1e3 * static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC);
      }
      qInfo("%s: %.2f ms", qPrintable(plot->objectName()), best);
      QVERIFY2(best < 16, qPrintable(plot->objectName()));
    }
  }

  void overlayTakesSixSortedBySigma() {
    auto* plot = static_cast<OverlayHistogramPlot*>(find("errorOverlay"));
    std::vector<OverlaySeries> series;
    for (int i = 0; i < 8; ++i)
      series.push_back({bell(-0.1, 0.1, 10, 50), QString::number(i), 0.01 * (i + 1), Family::Hqq, false});
    plot->setData(series);
    QCOMPARE(plot->accessibleDescription(), QString("5, 4, 3, 2, 1, 0"));
  }

  void overlaysKeyCoversNoPeak() {
    struct Measured : OverlayHistogramPlot {
      using ChartWidget::toPixel;
    } plot;
    Histogram narrow{-10, 10, std::vector<std::uint64_t>(20)};
    narrow.counts[10] = 1'000'000;
    std::vector<OverlaySeries> series{{narrow, "narrow", 0.5, Family::Gguf, false}};
    for (int i = 0; i < 5; ++i) series.push_back({bell(-10, 10, 100, 50), "a wide candidate", 2, Family::Hqq, i == 0});
    plot.setData(series);
    plot.show();
    for (const QSize size : {QSize(320, 260), QSize(320, 400), QSize(700, 500)})
      for (const bool logarithmic : {true, false}) {
        plot.resize(size);
        plot.setLogarithmic(logarithmic);
        plot.grab();
        const double peak = plot.toPixel(QPointF(0.5, 1)).y();  // all errors in one bin of 1
        const bool beside = plot.toPixel(QPointF(1, 1)).x() < plot.axisArea().right() - 220;
        QVERIFY2(peak > plot.axisArea().top() + 16 * 6 || beside, qPrintable(QString("%1 of %2").arg(peak).arg(size.height())));
      }
  }

  void labelsDoNotCollide() {
    std::vector<LabelWish> wishes;
    std::vector<QPointF> marks;
    for (int i = 0; i < 6; ++i) {
      wishes.push_back({QPointF(100 + 7 * i, 100 + 3 * (i % 2)), QSizeF(40, 15)});
      marks.push_back(wishes.back().mark);
    }
    const auto places = placeLabels(wishes, marks, QRectF(0, 0, 300, 200), 6, 14);
    QCOMPARE(places.size(), wishes.size());
    for (std::size_t a = 0; a < places.size(); ++a) {
      QVERIFY(QRectF(0, 0, 300, 200).contains(places[a]));
      for (std::size_t b = 0; b < a; ++b) QVERIFY(!places[a].intersects(places[b]));
    }
  }
};

QTEST_MAIN(TestPlots)
#include "test_plots.moc"
