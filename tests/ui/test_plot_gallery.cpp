// SPDX-License-Identifier: GPL-3.0-or-later
// Every plot in light and dark with the sample's real weights: it paints something, light and dark differ, and a picture for
// people to look at goes to $NIBBLE_SCREENSHOTS when that is set.
#include "tests/ui/plot_samples.h"
#include "ui/plots/bit_strip.h"
#include "ui/plots/error_histogram_plot.h"
#include "ui/plots/histogram_plot.h"
#include "ui/plots/matrix_plot.h"
#include "ui/plots/microscope_plot.h"
#include "ui/plots/occupancy_plot.h"
#include "ui/plots/overlay_histogram_plot.h"
#include "ui/plots/pareto_plot.h"
#include "ui/plots/row_ranges_plot.h"
#include "ui/plots/size_bar.h"
#include "ui/plots/spark_levels.h"
#include "ui/theme/icons.h"
#include "ui/theme/number_text.h"

#include <QApplication>
#include <QDir>
#include <QLabel>
#include <QPainter>
#include <QtTest>

using namespace nibble;

class TestPlotGallery : public QObject {
  Q_OBJECT

  std::shared_ptr<const std::vector<float>> m_weights = samples::queryWeights();
  samples::Quantized m_four = samples::quantize(*m_weights, 4);
  static constexpr std::size_t m_row = 142, m_column = 110;
  [[nodiscard]] static std::size_t groupIndex() { return (m_row * samples::columns + m_column) / samples::group; }

  // A panel as the pages draw it: border, header of 30, the plot below.
  static QFrame* panel(QWidget* page, const QRect& rect, const QString& title, const QString& hint) {
    auto* frame = new QFrame(page);
    frame->setProperty("look", "panel");
    frame->setGeometry(rect);
    auto* label = new QLabel(title, frame);
    label->setProperty("look", "title");
    label->move(10, 7);
    auto* more = new QLabel(hint, frame);
    more->setProperty("look", "hint");
    more->move(QFontMetrics(fonts::bold()).horizontalAdvance(title) + 20, 8);
    return frame;
  }
  static void place(QWidget* plot, QFrame* frame, int top = 30) {
    plot->setParent(frame);
    plot->setGeometry(1, top, frame->width() - 2, frame->height() - top - 1);
  }

  HistogramData weightData() const {
    return {samples::histogram(*m_weights, -0.7734375, 0.7734375, 160), samples::levels(m_four, groupIndex()), Family::Hqq, {}};
  }

  void fillUpperRow(QWidget* page) const {
    auto* weights = new HistogramPlot;
    place(weights, panel(page, {0, 0, 378, 203}, "Weights", "levels of group [142, 64–127]"));
    weights->setData(weightData());
    auto* errors = new ErrorHistogramPlot;
    place(errors, panel(page, {386, 0, 245, 203}, "Error", {}));
    std::vector<double> steps;
    double outside = 0;
    for (std::size_t i = 0; i < m_four.errors.size(); ++i) {
      // Noise of a rounded zero stands in for a searched one, so that some errors leave the band.
      steps.push_back(m_four.errors[i] / m_four.scales[i / samples::group] * 1.02);
      outside += std::abs(steps.back()) > 0.5;
    }
    errors->setData({samples::histogram(steps, -1.6, 1.6, 76), outside / static_cast<double>(steps.size()), true, Family::Hqq});
    auto* codes = new OccupancyPlot;
    place(codes, panel(page, {639, 0, 180, 203}, "Codes", "entropy 3.75 bit"));
    std::vector<std::uint64_t> counts(16);
    for (const int code : m_four.codes) ++counts[static_cast<std::size_t>(code)];
    codes->setData({counts, Family::Hqq, -1});
  }

  void fillMiddleRow(QWidget* page, bool dark) const {
    auto* matrix = new MatrixPlot;
    place(matrix, panel(page, {0, 211, 504, 283}, "Matrix", "pooled by max |·|, 1.8 rows a pixel"));
    auto errors = std::make_shared<std::vector<float>>();
    for (const float e : m_four.errors) errors->push_back(std::abs(e));
    MatrixPlotData data = dark ? matrixOf(errors, samples::columns, ColourScale::Sequential, Pooling::MaxMagnitude)
                               : matrixOf(m_weights, samples::columns, ColourScale::Diverging, Pooling::MaxMagnitude);
    if (!dark) data.low = -0.5, data.high = 0.5;
    matrix->setData(data);
    matrix->setSelection(MatrixRegion{m_row, m_row + 1, 64, 128}, std::pair<std::uint64_t, std::uint64_t>{m_row, m_column});
    auto* rowPlot = new RowRangesPlot;
    place(rowPlot, panel(page, {512, 211, 307, 283}, "Rows", "min, 1 %, median, 99 %, max"));
    std::vector<RowRange> ranges;
    for (std::size_t r = 0; r < samples::rows; ++r) {
      std::vector<float> row(m_weights->begin() + static_cast<long>(r * samples::columns),
                             m_weights->begin() + static_cast<long>((r + 1) * samples::columns));
      std::sort(row.begin(), row.end());
      ranges.push_back({row.front(), row[4], row[192], row[379], row.back()});
    }
    rowPlot->setData(ranges);
    rowPlot->setSelectedRow(m_row);
  }

  void fillMicroscope(QWidget* page) const {
    QFrame* frame = panel(page, {0, 502, 819, 246}, "Microscope", "scale 0.04999   zero 11.211");
    auto* scope = new MicroscopePlot;
    place(scope, frame);
    scope->resize(scope->width(), 110);
    MicroscopeData data;
    BitStripData strip;
    const std::size_t first = groupIndex() * samples::group;
    for (std::size_t i = first; i < first + samples::group; ++i) {
      data.weights.push_back((*m_weights)[i]);
      data.codes.push_back(m_four.codes[i]);
      const int code = m_four.codes[i], other = m_four.codes[i - 64];
      BitColumn column{(*m_weights)[i], code, {}, {}};
      for (int bit = 3; bit >= 0; --bit) column.bits.push_back((code >> bit) & 1);
      column.hex = {{"0123456789ABCDEF"[code], true}, {"0123456789ABCDEF"[other], false}};
      strip.columns.push_back(column);
    }
    data.levels = samples::levels(m_four, groupIndex());
    data.selected = strip.selected = static_cast<int>(m_row * samples::columns + m_column - first);
    data.scale = m_four.scales[groupIndex()], data.zero = m_four.zeros[groupIndex()];
    data.scaleDraggable = data.zeroDraggable = true;
    data.family = strip.family = Family::Hqq;
    scope->setData(data);
    strip.place = "W_q[853]", strip.bitRange = "bits 7–4", strip.unit = "byte";
    auto* bits = new BitStrip;
    place(bits, frame, 140);
    bits->setData(strip);
  }

  void fillCompare(QWidget* page) const {
    auto* overlay = new OverlayHistogramPlot;
    place(overlay, panel(page, {827, 0, 354, 362}, "Error", "of the ticked rows"));
    auto* pareto = new ParetoPlot;
    place(pareto, panel(page, {827, 370, 458, 362}, "Size against error", "faded: beaten in size and error"));
    const Family families[] = {Family::Hqq,   Family::Uniform, Family::Codebook, Family::Gguf,
                               Family::Micro, Family::Gptq,    Family::Exl2};
    std::vector<OverlaySeries> series;
    ParetoData data;
    data.bounds = {gaussianBound()};
    data.weights = static_cast<double>(m_weights->size());
    for (int bits = 2; bits <= 8; ++bits) {
      const auto q = samples::quantize(*m_weights, bits);
      double extent = 0;
      for (const float e : q.errors) extent = std::max<double>(extent, std::abs(e));
      const Family family = families[bits - 2];
      if (bits >= 3 && bits <= 6) {
        series.push_back({samples::histogram(q.errors, -extent, extent, 256), QString("affine %1").arg(bits),
                          samples::rms(q.errors), family, bits == 4});
      }
      const double bpw = bits + 0.5;
      data.points.push_back({bpw, bpw * data.weights / 8 / 1048576, samples::sqnr(*m_weights, q.errors),
                             QString("affine %1").arg(bits), QString("affine:bits=%1,group=64").arg(bits), family, false,
                             bits == 4, false, false});
      data.points.push_back({bpw + 0.25, 0, data.points.back().sqnrDb - 2, "worse", "worse", families[(bits + 1) % 7], false,
                             false, false, false});
    }
    markDominated(data.points);
    overlay->setData(series);
    pareto->setData(data);
  }

  void fillStart(QWidget* page) const {
    int x = 0;
    for (const int bits : {8, 4, 3, 2}) {
      auto* spark = new SparkLevels;
      place(spark, panel(page, {x, 756, 260, 232}, QString("%1 bits").arg(bits), {}), 34);
      spark->setData({samples::histogram(*m_weights, -0.7734375, 0.7734375, 128),
                      samples::levels(samples::quantize(*m_weights, bits), 900), Family::Hqq});
      x += 272;
    }
    auto* bar = new SizeBar;
    bar->setParent(page);
    bar->setGeometry(1095, 760, 268, 9);
    bar->setData({{"codes", 4.0}, {"scales", 0.25}, {"zeros", 0.25}, {"other", 0}}, Family::Hqq);
  }

  static void fillIcons(QWidget* page) {
    int i = 0;
    for (const QString& name : iconNames()) {
      auto* label = new QLabel(page);
      label->setPixmap(icon(name).pixmap(32, 32));
      label->setGeometry(1095 + i % 8 * 36, 780 + i / 8 * 36, 32, 32);
      ++i;
    }
    for (int f = 0; f < 8; ++f) {
      auto* label = new QLabel(page);
      label->setPixmap(familyIcon(static_cast<Family>(f)).pixmap(32, 32));
      label->setGeometry(1190 + f * 24, 0, 32, 32);
    }
  }

 private slots:
  void initTestCase() { QLocale::setDefault(QLocale(QLocale::English)); }

  void lightAndDark() {
    QImage pictures[2];
    for (const bool dark : {false, true}) {
      applyTheme(*qApp, dark);
      QWidget page;
      page.setObjectName("page");
      page.resize(1390, 1000);
      fillUpperRow(&page);
      fillMiddleRow(&page, dark);
      fillMicroscope(&page);
      fillCompare(&page);
      fillStart(&page);
      fillIcons(&page);
      page.show();
      QVERIFY(QTest::qWaitForWindowExposed(&page));
      pictures[dark] = page.grab().toImage();
      if (const QString folder = qEnvironmentVariable("NIBBLE_SCREENSHOTS"); !folder.isEmpty()) {
        QVERIFY(QDir().mkpath(folder));
        QVERIFY(pictures[dark].save(folder + (dark ? "/plots-dark.png" : "/plots-light.png")));
      }
      for (PlotWidget* plot : page.findChildren<PlotWidget*>()) {
        const QImage image = plot->grab().toImage();
        QSet<QRgb> colours;
        for (int y = 0; y < image.height(); ++y) {
          for (int x = 0; x < image.width(); ++x) colours.insert(image.pixel(x, y));
        }
        QVERIFY2(colours.size() >= 3, qPrintable(plot->objectName()));
      }
    }
    QVERIFY(pictures[0] != pictures[1]);
  }
};

QTEST_MAIN(TestPlotGallery)
#include "test_plot_gallery.moc"
