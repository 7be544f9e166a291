// SPDX-License-Identifier: GPL-3.0-or-later
// The heat map by mouse and keys: click, zoom, pan, print, and its frame and picture; the squares of weights against what comes back.
#include "ui/plots/matrix_plot.h"
#include "ui/plots/reconstruction_plot.h"
#include "ui/theme/colour_map.h"
#include "ui/theme/theme.h"

#include <QApplication>
#include <QMouseEvent>
#include <QSignalSpy>
#include <QWheelEvent>
#include <QtTest>
#include <cmath>

using namespace nibble;

class TestPlotsMatrix : public QObject {
  Q_OBJECT

  static constexpr std::uint64_t m_rows = 96, m_columns = 128;
  std::shared_ptr<std::vector<float>> m_values;
  std::unique_ptr<QWidget> m_page;

  MatrixPlot* plot() const { return m_page->findChild<MatrixPlot*>("matrix"); }
  void drag(QPoint from, QPoint to, Qt::MouseButton button = Qt::LeftButton, Qt::KeyboardModifiers keys = {}) const {
    QTest::mousePress(plot(), button, keys, from);
    for (int i = 1; i <= 4; ++i) {
      const QPointF at = QPointF(from) + (QPointF(to) - QPointF(from)) * i / 4;
      QMouseEvent event(QEvent::MouseMove, at, plot()->mapToGlobal(at), button, button, keys);
      QApplication::sendEvent(plot(), &event);
    }
    QTest::mouseRelease(plot(), button, keys, to);
  }
  void wheel(QPoint at, int delta) const {
    QWheelEvent event(at, plot()->mapToGlobal(at), {}, {0, delta}, Qt::NoButton, Qt::NoModifier, Qt::NoScrollPhase, false);
    QApplication::sendEvent(plot(), &event);
  }

 private slots:
  void initTestCase() { QLocale::setDefault(QLocale(QLocale::English)); }

  void init() {
    QApplication::setPalette(paletteFor(themeFor(false)));
    m_values = std::make_shared<std::vector<float>>(m_rows * m_columns);
    for (std::size_t i = 0; i < m_values->size(); ++i)
      (*m_values)[i] = static_cast<float>(std::sin(static_cast<double>(i) * 0.37));
    m_page = std::make_unique<QWidget>();
    m_page->resize(700, 400);
    auto* matrix = new MatrixPlot(m_page.get());
    matrix->setGeometry(0, 0, 600, 340);
    matrix->setData(matrixOf(m_values, m_columns, ColourScale::Diverging, Pooling::MaxMagnitude));
    m_page->show();
    QVERIFY(QTest::qWaitForWindowExposed(m_page.get()));
    plot()->grab();
  }

  void clickNamesTheCell() {
    QSignalSpy clicked(plot(), &MatrixPlot::cellClicked), hover(plot(), &PlotWidget::hoverText);
    const QPoint at = plot()->cellRect(42, 77).center().toPoint();
    QTest::mouseClick(plot(), Qt::LeftButton, {}, at);
    QCOMPARE(clicked.size(), 1);
    QCOMPARE(clicked[0][0].toULongLong(), 42U);
    QCOMPARE(clicked[0][1].toULongLong(), 77U);
    QMouseEvent event(QEvent::MouseMove, at, plot()->mapToGlobal(at), Qt::NoButton, Qt::NoButton, Qt::NoModifier);
    QApplication::sendEvent(plot(), &event);
    QVERIFY(hover.back()[0].toString().startsWith("row 42, column 77: "));
    QTest::mouseClick(plot(), Qt::LeftButton, {}, {3, 3});
    QCOMPARE(clicked.size(), 1);
  }

  void wheelZoomsAtThePointer() {
    QSignalSpy rows(plot(), &MatrixPlot::rowRangeChanged), region(plot(), &MatrixPlot::regionChanged);
    const QPoint at = plot()->cellRect(30, 30).center().toPoint();
    wheel(at, 480);
    QCOMPARE(rows.size(), 1);
    QCOMPARE(region.size(), 1);
    const MatrixRegion r = plot()->region();
    QVERIFY(r.rows() < m_rows && r.columns() < m_columns);
    QVERIFY((plot()->cellRect(30, 30).center() - QPointF(at)).manhattanLength() < plot()->cellRect(30, 30).width() * 2);
    for (int i = 0; i < 30; ++i) wheel(at, 120);
    QCOMPARE(plot()->region().rows(), 4U);
    for (int i = 0; i < 60; ++i) wheel(at, -120);
    QCOMPARE(plot()->region(), MatrixRegion({0, m_rows, 0, m_columns}));
  }

  void rubberBandZoomsAndDoubleClickShowsAll() {
    QSignalSpy clicked(plot(), &MatrixPlot::cellClicked);
    drag(plot()->cellRect(10, 20).center().toPoint(), plot()->cellRect(29, 59).center().toPoint());
    QCOMPARE(plot()->region(), MatrixRegion({10, 30, 20, 60}));
    QCOMPARE(clicked.size(), 0);
    QCOMPARE(plot()->picture().region, MatrixRegion({0, m_rows, 0, m_columns}));
    plot()->grab();
    QCOMPARE(plot()->picture().region, plot()->region());
    QTest::mouseDClick(plot(), Qt::LeftButton, {}, plot()->mapArea().center());
    QCOMPARE(plot()->region(), MatrixRegion({0, m_rows, 0, m_columns}));
  }

  void middleButtonAndShiftPan() {
    plot()->setRegion({20, 60, 20, 80});
    const QPoint from = plot()->mapArea().center();
    const QPoint by(-static_cast<int>(plot()->cellRect(20, 20).width() * 5.0), 0);
    drag(from, from + by, Qt::MiddleButton);
    QCOMPARE(plot()->region(), MatrixRegion({20, 60, 25, 85}));
    drag(from, from - by, Qt::LeftButton, Qt::ShiftModifier);
    QCOMPARE(plot()->region(), MatrixRegion({20, 60, 20, 80}));
  }

  void keysMoveZoomAndSelect() {
    QSignalSpy clicked(plot(), &MatrixPlot::cellClicked), hover(plot(), &PlotWidget::hoverText);
    plot()->setSelection(MatrixRegion{42, 43, 64, 128}, std::pair<std::uint64_t, std::uint64_t>{42, 77});
    QTest::keyClick(plot(), Qt::Key_Down);
    QTest::keyClick(plot(), Qt::Key_Right);
    QTest::keyClick(plot(), Qt::Key_Return);
    QCOMPARE(clicked.back()[0].toULongLong(), 43U);
    QCOMPARE(clicked.back()[1].toULongLong(), 78U);
    QVERIFY(hover.back()[0].toString().startsWith("row 43, column 78"));
    QTest::keyClick(plot(), Qt::Key_Plus);
    QCOMPARE(plot()->region().rows(), 48U);
    QTest::keyClick(plot(), Qt::Key_End);
    QTest::keyClick(plot(), Qt::Key_Return);
    QCOMPARE(clicked.back()[1].toULongLong(), m_columns - 1);
    QCOMPARE(plot()->region().columnEnd, m_columns);
    QTest::keyClick(plot(), Qt::Key_Escape);
    QCOMPARE(plot()->region(), MatrixRegion({0, m_rows, 0, m_columns}));
  }

  void largeCellsShowTheirNumbers() {
    plot()->setRegion({0, 8, 0, 8});
    const QImage printed = plot()->grab().toImage();
    const QRectF cell = plot()->cellRect(3, 3);
    QSet<QRgb> colours;
    for (int y = static_cast<int>(cell.top()) + 2; y < cell.bottom() - 2; ++y) {
      for (int x = static_cast<int>(cell.left()) + 2; x < cell.right() - 2; ++x) colours.insert(printed.pixel(x, y));
    }
    QVERIFY(colours.size() > 3);
  }

  void colourIsThatOfTheValue() {
    MatrixPlotData data = matrixOf(m_values, m_columns, ColourScale::Diverging, Pooling::MaxMagnitude);
    data.low = -1, data.high = 1;
    (*m_values)[0] = 1;
    (*m_values)[5] = std::nanf("");
    plot()->setData(data);
    plot()->setRegion({0, 16, 0, 16});
    const QImage image = plot()->grab().toImage();
    QCOMPARE(image.pixelColor(plot()->cellRect(0, 0).center().toPoint()), colourStops(ColourScale::Diverging, false).back());
    QCOMPARE(image.pixelColor(plot()->cellRect(0, 5).center().toPoint()), themeFor(false).bad);
  }

  void frameHasAccentAndHalo() {
    const QImage before = plot()->grab().toImage();
    plot()->setSelection(MatrixRegion{40, 60, 32, 96});
    const QImage after = plot()->grab().toImage();
    const QRect frame = plot()->cellRect(40, 32).united(plot()->cellRect(59, 95)).toAlignedRect();
    const QPoint left(frame.left(), frame.center().y());
    QCOMPARE(after.pixelColor(left), themeFor(false).accent);
    QCOMPARE(after.pixelColor(left - QPoint(2, 0)), themeFor(false).panel);
    QVERIFY(before != after);
  }

  void pictureMayComeLater() {
    MatrixPlotData data = matrixOf(m_values, m_columns, ColourScale::Sequential, Pooling::MaxMagnitude);
    MatrixRegion asked;
    QSize size;
    data.pooled = [&](const MatrixRegion& region, int width, int height) {
      asked = region, size = {width, height};
      return PooledMatrix();
    };
    plot()->setData(data);
    const QImage before = plot()->grab().toImage();
    QCOMPARE(asked, plot()->region());
    QCOMPARE(size, plot()->pictureSize());
    plot()->setPicture(pool(*m_values, m_columns, asked, size.width(), size.height(), Pooling::Mean));
    QVERIFY(plot()->grab().toImage() != before);
    const DataTable table = plot()->dataTable();
    QCOMPARE(table.rows.size(), static_cast<std::size_t>(plot()->picture().height));
    QCOMPARE(table.rows[3][5].toFloat(), plot()->picture().values[static_cast<std::size_t>(3 * plot()->picture().width + 4)]);
  }

  void everySquareShows() {
    auto pairs = std::make_shared<Reconstruction>(Reconstruction{240, 1, std::vector<std::uint64_t>(240 * 240), {}});
    pairs->counts[120 * 240 + 120] = 1000;
    auto lonely = std::make_shared<Reconstruction>(*pairs);
    lonely->counts[200 * 240 + 3] = 1;
    ReconstructionPlot squares;
    squares.resize(220, 160);  // squares are smaller than pixels
    squares.show();
    QVERIFY(QTest::qWaitForWindowExposed(&squares));
    QSignalSpy hover(&squares, &PlotWidget::hoverText);
    squares.setData(pairs);
    const QImage without = squares.grab().toImage();
    squares.setData(lonely);
    const QImage with = squares.grab().toImage();
    QCOMPARE(squares.dataTable().rows.size(), 2U);
    QCOMPARE(squares.dataTable().rows[1], (QVariantList{-1 + 3 / 120.0, -1 + 4 / 120.0, -1 + 200 / 120.0, -1 + 201 / 120.0, 1ULL}));
    const QRect area = squares.axisArea();
    const QPoint place(area.left() + static_cast<int>(area.width() * 3.5 / 240), area.bottom() - static_cast<int>(area.height() * 200.5 / 240));
    const QRgb one = ColourMap(ColourScale::Sequential, false, 0, 1, Qt::red).at(0.4);
    QPoint found;
    for (int y = -2; y <= 2; ++y)
      for (int x = -2; x <= 2; ++x)
        if (const QPoint at = place + QPoint(x, y); with.pixel(at) == one && without.pixel(at) != one) found = at;
    QVERIFY(!found.isNull());
    squares.setSelected(QPointF(0.5, 0.25));
    QVERIFY(squares.grab().toImage() != with);
    QMouseEvent move(QEvent::MouseMove, found, squares.mapToGlobal(found), Qt::NoButton, Qt::NoButton, Qt::NoModifier);
    QApplication::sendEvent(&squares, &move);
    QVERIFY2(hover.size() > 0 && hover.back()[0].toString().endsWith(": 1"), qPrintable(hover.empty() ? QString() : hover.back()[0].toString()));
    QTest::keyClick(&squares, Qt::Key_Up);
    QVERIFY(hover.back()[0].toString().endsWith(": 0"));
    squares.clear();
    QVERIFY(squares.isEmpty() && squares.dataTable().rows.empty());
  }

  void emptyAndBack() {
    plot()->clear();
    QVERIFY(plot()->isEmpty());
    plot()->grab();
    wheel({100, 100}, 120);
    QTest::mouseClick(plot(), Qt::LeftButton, {}, {100, 100});
    QTest::keyClick(plot(), Qt::Key_Plus);
    QTest::keyClick(plot(), Qt::Key_Right);
  }
};

QTEST_MAIN(TestPlotsMatrix)
#include "test_plots_matrix.moc"
