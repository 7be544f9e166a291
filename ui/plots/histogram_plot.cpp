// SPDX-License-Identifier: GPL-3.0-or-later
#include "ui/plots/histogram_plot.h"

#include "ui/plots/chart_tools.h"
#include "ui/theme/number_text.h"
#include "ui/theme/theme.h"

#include <qcustomplot.h>
#include <QMouseEvent>
#include <QPainter>
#include <algorithm>
#include <cmath>

namespace nibble {
namespace {

// A log axis starts below 1 so that a single weight still stands above it.
constexpr double logFloor = 0.7;

struct CodedLevel {
  double value;
  int code;
};

std::vector<CodedLevel> ascending(const std::vector<double>& levels) {
  std::vector<CodedLevel> sorted;
  for (std::size_t code = 0; code < levels.size(); ++code) {
    if (std::isfinite(levels[code])) sorted.push_back({levels[code], static_cast<int>(code)});
  }
  std::stable_sort(sorted.begin(), sorted.end(), [](const CodedLevel& a, const CodedLevel& b) { return a.value < b.value; });
  return sorted;
}

void drawCodeLabels(QPainter& painter, double left, double right, double top, const CodedLevel& first, const CodedLevel& last,
                    const QString& between, const Theme& theme) {
  painter.setFont(fonts::hint());
  const QFontMetricsF metrics(painter.font());
  const QRectF line(0, top - 18, 0, metrics.height());
  const auto centred = [&](double x, const QString& text, const QColor& ink) {
    const double width = metrics.horizontalAdvance(text) + 4;
    painter.setPen(ink);
    painter.drawText(QRectF(x - width / 2, line.top(), width, line.height()), Qt::AlignCenter, text);
    return width;
  };
  const double room = right - left - 4 - metrics.horizontalAdvance(QString::number(last.code));
  if (room < 6) return void(centred((left + right) / 2, between, theme.text2));
  centred(left, QString::number(first.code), theme.text);
  centred(right, QString::number(last.code), theme.text);
  if (room > metrics.horizontalAdvance(between) + 8) centred((left + right) / 2, between, theme.text2);
}

}  // namespace

HistogramPlot::HistogramPlot(QWidget* parent, const QString& objectName)
    : ChartWidget(objectName, tr("Weight histogram"), parent) {
  setAxisMargins(46, 12, 36, 20);
  setToolTip(tr("How many weights lie in each bin; lines: the values one group may use"));
}

void HistogramPlot::setData(HistogramData data) {
  m_data = std::move(data);
  m_cursor = -1;
  setSummary(tr("%1 weights in %2 bins, %3 levels")
                 .arg(formatCount(m_data.weights.total()))
                 .arg(m_data.weights.counts.size())
                 .arg(m_data.levels.size()));
  invalidate();
}

void HistogramPlot::clear() {
  setData({});
}

void HistogramPlot::setLogarithmic(bool on) {
  m_logarithmic = on;
  invalidate();
}

DataTable HistogramPlot::dataTable() const {
  DataTable table{{tr("low"), tr("high"), tr("count"), tr("code"), tr("level")}, {}};
  const Histogram& h = m_data.weights;
  for (std::size_t i = 0; i < std::max(h.counts.size(), m_data.levels.size()); ++i) {
    QVariantList row{QVariant(), QVariant(), QVariant(), QVariant(), QVariant()};
    if (i < h.counts.size()) {
      row[0] = h.low + static_cast<double>(i) * h.binWidth();
      row[1] = h.low + static_cast<double>(i + 1) * h.binWidth();
      row[2] = static_cast<qulonglong>(h.counts[i]);
    }
    if (i < m_data.levels.size()) row[3] = static_cast<int>(i), row[4] = m_data.levels[i];
    table.rows.push_back(std::move(row));
  }
  return table;
}

void HistogramPlot::rebuild() {
  const Theme& theme = themeOf(this);
  const Histogram& h = m_data.weights;
  const auto levels = ascending(m_data.levels);
  double extent = std::max(std::abs(h.low), std::abs(h.high));
  if (!levels.empty()) extent = std::max({extent, std::abs(levels.front().value), std::abs(levels.back().value)});
  const auto [half, step] = niceSymmetric(extent);
  const auto most = static_cast<double>(*std::max_element(h.counts.begin(), h.counts.end()));

  QCPAxis *x = chart()->xAxis, *y = chart()->yAxis;
  x->setRange(-half, half);
  setTicks(x, stepTicks(-half, half, step, false));
  y->setScaleType(m_logarithmic ? QCPAxis::stLogarithmic : QCPAxis::stLinear);
  y->setRange(m_logarithmic ? logFloor : 0, m_logarithmic ? std::max(most * 2.3, 2.0) : std::max(most * 1.12, 1.0));
  setTicks(y, m_logarithmic ? powerTicks(logFloor, y->range().upper, 5, true) : niceTicks(0, y->range().upper, 5, true));
  setGrid(false, true);
  setTitles(m_data.unit.isEmpty() ? tr("weight") : m_data.unit, tr("count"));

  auto* bars = new QCPBars(x, y);
  bars->setPen(Qt::NoPen);
  bars->setBrush(theme.bar);
  bars->setAntialiased(false);
  bars->setAntialiasedFill(false);
  bars->setWidth(h.binWidth() > 0 ? h.binWidth() : half / 100);
  bars->setBaseValue(m_logarithmic ? logFloor : 0);
  for (std::size_t i = 0; i < h.counts.size(); ++i) {
    if (h.counts[i] > 0) bars->addData(h.low + (static_cast<double>(i) + 0.5) * h.binWidth(), static_cast<double>(h.counts[i]));
  }
  if (levels.empty()) return;
  addPainter(chart(), QStringLiteral("overlay"), false, [this, levels, x](QPainter& painter, const QRectF& area) {
    const Theme& now = themeOf(this);
    std::vector<double> pixels;
    for (const CodedLevel& level : levels) pixels.push_back(x->coordToPixel(level.value));
    drawLevels(painter, pixels, area.top(), area.bottom(), familyColour(now, m_data.family));
    drawCodeLabels(painter, pixels.front(), pixels.back(), area.top(), levels.front(), levels.back(), tr("codes"), now);
  });
}

void HistogramPlot::showBin(int bin) {
  const Histogram& h = m_data.weights;
  if (bin < 0 || bin >= static_cast<int>(h.counts.size())) return setHairLine(std::nan(""), {});
  const double low = h.low + bin * h.binWidth();
  const int decimals = decimalsFor(h.binWidth());
  setHairLine(low + h.binWidth() / 2, tr("%1 to %2: %3 weights")
                                          .arg(formatFixed(low, decimals), formatFixed(low + h.binWidth(), decimals),
                                               formatCount(h.counts[static_cast<std::size_t>(bin)])));
}

bool HistogramPlot::moveCursor(int dx, int /*dy*/) {
  if (dx == 0) return false;
  const int count = static_cast<int>(m_data.weights.counts.size());
  m_cursor =
      m_cursor < 0 && std::abs(dx) == 1 ? count / 2 : std::clamp(m_cursor + dx * (std::abs(dx) > 1 ? count : 1), 0, count - 1);
  showBin(m_cursor);
  return true;
}

void HistogramPlot::mouseMoveEvent(QMouseEvent* event) {
  if (isEmpty() || !axisArea().contains(event->position().toPoint())) return setHairLine(std::nan(""), {});
  const Histogram& h = m_data.weights;
  m_cursor = h.binWidth() > 0 ? static_cast<int>(std::floor((toData(event->position()).x() - h.low) / h.binWidth())) : -1;
  showBin(m_cursor);
}

}  // namespace nibble
