// SPDX-License-Identifier: GPL-3.0-or-later
#include "ui/plots/error_histogram_plot.h"

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

// Largest |edge| of a bin that holds something.
double reach(const Histogram& h) {
  double extent = 0;
  for (std::size_t i = 0; i < h.counts.size(); ++i) {
    if (h.counts[i] == 0) continue;
    const double low = h.low + static_cast<double>(i) * h.binWidth();
    extent = std::max({extent, std::abs(low), std::abs(low + h.binWidth())});
  }
  return extent;
}

}  // namespace

ErrorHistogramPlot::ErrorHistogramPlot(QWidget* parent, const QString& objectName)
    : ChartWidget(objectName, tr("Error histogram"), parent) {
  setAxisMargins(46, 12, 36, 20);
}

void ErrorHistogramPlot::setData(ErrorHistogramData data) {
  m_data = std::move(data);
  m_cursor = -1;
  setSummary(tr("%1 errors in %2 bins").arg(formatCount(m_data.errors.total())).arg(m_data.errors.counts.size()));
  invalidate();
}

void ErrorHistogramPlot::clear() {
  setData({});
}

void ErrorHistogramPlot::setLogarithmic(bool on) {
  m_logarithmic = on;
  invalidate();
}

double ErrorHistogramPlot::density(int bin) const {
  const double whole = static_cast<double>(m_data.errors.total()) * m_data.errors.binWidth();
  return whole > 0 ? static_cast<double>(m_data.errors.counts[static_cast<std::size_t>(bin)]) / whole : 0;
}

DataTable ErrorHistogramPlot::dataTable() const {
  DataTable table{{tr("low"), tr("high"), tr("count"), tr("density")}, {}};
  const Histogram& h = m_data.errors;
  for (std::size_t i = 0; i < h.counts.size(); ++i) {
    const double low = h.low + static_cast<double>(i) * h.binWidth();
    table.rows.push_back({low, low + h.binWidth(), static_cast<qulonglong>(h.counts[i]), density(static_cast<int>(i))});
  }
  return table;
}

void ErrorHistogramPlot::rebuild() {
  const Histogram& h = m_data.errors;
  const int bins = static_cast<int>(h.counts.size());
  double half = 1.6, step = 0.5;
  const double extent = reach(h);
  if (!m_data.inSteps) {
    std::tie(half, step) = niceSymmetric(extent);
  } else if (extent > 1.5) {
    half = extent * 1.05;
    step = niceStep(half, 3);
  }
  double most = 0;
  for (int i = 0; i < bins; ++i) most = std::max(most, density(i));
  const double single = h.total() > 0 && h.binWidth() > 0 ? 1 / (static_cast<double>(h.total()) * h.binWidth()) : 1;
  const double floor = std::pow(10.0, std::floor(std::log10(single)) - 1);

  QCPAxis *x = chart()->xAxis, *y = chart()->yAxis;
  x->setRange(-half, half);
  setTicks(x, stepTicks(-half, half, step, m_data.inSteps));
  y->setScaleType(m_logarithmic ? QCPAxis::stLogarithmic : QCPAxis::stLinear);
  y->setRange(m_logarithmic ? floor : 0, m_logarithmic ? std::max(most * 3, floor * 10) : std::max(most * 1.2, 1e-9));
  setTicks(y, m_logarithmic ? powerTicks(floor * 2, y->range().upper, 4, false) : niceTicks(0, y->range().upper, 5, true));
  setGrid(false, true);
  setTitles(m_data.inSteps ? tr("error ÷ step of its group") : tr("error"), tr("density"));
  setToolTip(m_logarithmic
                 ? tr("Share of errors per unit of the axis; the log axis starts at %1").arg(formatSignificant(floor, 1))
                 : tr("Share of errors per unit of the axis"));

  const Theme& theme = themeOf(this);
  auto* bars = new QCPBars(x, y);
  bars->setPen(Qt::NoPen);
  bars->setBrush(familyColour(theme, m_data.family));
  bars->setAntialiased(false);
  bars->setAntialiasedFill(false);
  bars->setWidth(h.binWidth() > 0 ? h.binWidth() : half / 100);
  bars->setBaseValue(m_logarithmic ? floor : 0);
  for (int i = 0; i < bins; ++i) {
    if (h.counts[static_cast<std::size_t>(i)] > 0) bars->addData(h.low + (i + 0.5) * h.binWidth(), density(i));
  }
  if (m_data.inSteps) addBand();
}

void ErrorHistogramPlot::addBand() {
  addPainter(chart(), QStringLiteral("under"), false, [this](QPainter& painter, const QRectF& area) {
    const Theme& now = themeOf(this);
    const double left = chart()->xAxis->coordToPixel(-0.5), right = chart()->xAxis->coordToPixel(0.5);
    painter.fillRect(QRectF(left, area.top(), right - left, area.height()), now.band);
    painter.setFont(fonts::hint());
    painter.setPen(now.text2);
    painter.drawText(QRectF(left - 60, area.top() - 20, right - left + 120, 18), Qt::AlignCenter, tr("±½ step"));
  });
  if (m_data.outsideShare < 0) return;
  addPainter(chart(), QStringLiteral("overlay"), false, [this](QPainter& painter, const QRectF& area) {
    const Theme& now = themeOf(this);
    painter.setFont(fonts::hint());
    const double line = QFontMetricsF(painter.font()).height();
    const QRectF text(area.right() - 90, area.top() + 10, 87, line);
    drawHaloText(painter, text.translated(0, line - 1), Qt::AlignRight | Qt::AlignTop, tr("outside"), now.text2, now.panel);
    drawHaloText(painter, text, Qt::AlignRight | Qt::AlignTop, formatPercent(m_data.outsideShare, 1), now.text, now.panel);
  });
}

void ErrorHistogramPlot::showBin(int bin) {
  const Histogram& h = m_data.errors;
  if (bin < 0 || bin >= static_cast<int>(h.counts.size())) return setHairLine(std::nan(""), {});
  const double low = h.low + bin * h.binWidth();
  const int decimals = decimalsFor(h.binWidth());
  setHairLine(low + h.binWidth() / 2, tr("%1 to %2: %3")
                                          .arg(formatFixed(low, decimals), formatFixed(low + h.binWidth(), decimals),
                                               formatCount(h.counts[static_cast<std::size_t>(bin)])));
}

bool ErrorHistogramPlot::moveCursor(int dx, int /*dy*/) {
  if (dx == 0) return false;
  const int count = static_cast<int>(m_data.errors.counts.size());
  m_cursor =
      m_cursor < 0 && std::abs(dx) == 1 ? count / 2 : std::clamp(m_cursor + dx * (std::abs(dx) > 1 ? count : 1), 0, count - 1);
  showBin(m_cursor);
  return true;
}

void ErrorHistogramPlot::mouseMoveEvent(QMouseEvent* event) {
  if (isEmpty() || !axisArea().contains(event->position().toPoint())) return setHairLine(std::nan(""), {});
  const Histogram& h = m_data.errors;
  m_cursor = h.binWidth() > 0 ? static_cast<int>(std::floor((toData(event->position()).x() - h.low) / h.binWidth())) : -1;
  showBin(m_cursor);
}

}  // namespace nibble
