// SPDX-License-Identifier: GPL-3.0-or-later
#include "ui/plots/occupancy_plot.h"

#include "ui/plots/chart_tools.h"
#include "ui/theme/number_text.h"
#include "ui/theme/theme.h"

#include <qcustomplot.h>
#include <QMouseEvent>
#include <QPainter>
#include <algorithm>
#include <cmath>
#include <numeric>

namespace nibble {
namespace {

constexpr std::size_t barsMost = 512;

std::size_t codesPerBar(std::size_t codes) {
  return (codes + barsMost - 1) / barsMost;
}

// Smallest of 1, 2, 3, 5 x 10^n that leaves at most six ticks.
int codeStep(std::size_t codes) {
  for (int power = 1;; power *= 10) {
    for (const int factor : {1, 2, 3, 5}) {
      if ((static_cast<int>(codes) - 1) / (factor * power) + 1 <= 6) return factor * power;
    }
  }
}

}  // namespace

OccupancyPlot::OccupancyPlot(QWidget* parent, const QString& objectName)
    : ChartWidget(objectName, tr("Code occupancy"), parent) {
  setAxisMargins(34, 10, 36, 20);
  setToolTip(tr("Share of the weights that use each code"));
}

void OccupancyPlot::setData(OccupancyData data) {
  m_data = std::move(data);
  m_total = std::accumulate(m_data.counts.begin(), m_data.counts.end(), std::uint64_t{0});
  m_cursor = -1;
  const auto unused = std::count(m_data.counts.begin(), m_data.counts.end(), 0U);
  setSummary(tr("%1 codes, %2 never used").arg(m_data.counts.size()).arg(unused));
  invalidate();
}

void OccupancyPlot::clear() {
  setData({});
}

DataTable OccupancyPlot::dataTable() const {
  DataTable table{{m_data.what.isEmpty() ? tr("code") : m_data.what, tr("count"), tr("percent")}, {}};
  for (std::size_t code = 0; code < m_data.counts.size(); ++code) {
    const double share = m_total > 0 ? 100.0 * static_cast<double>(m_data.counts[code]) / static_cast<double>(m_total) : 0;
    table.rows.push_back({static_cast<int>(code), static_cast<qulonglong>(m_data.counts[code]), share});
  }
  return table;
}

void OccupancyPlot::rebuild() {
  const Theme& theme = themeOf(this);
  const QColor colour = familyColour(theme, m_data.family);
  const std::size_t codes = m_data.counts.size(), wide = codesPerBar(codes);
  QCPAxis *x = chart()->xAxis, *y = chart()->yAxis;

  auto* bars = new QCPBars(x, y);
  auto* chosen = new QCPBars(x, y);
  double most = 0;
  for (std::size_t first = 0; first < codes; first += wide) {
    const std::size_t last = std::min(first + wide, codes);
    const auto count = std::accumulate(m_data.counts.begin() + static_cast<std::ptrdiff_t>(first),
                                       m_data.counts.begin() + static_cast<std::ptrdiff_t>(last), std::uint64_t{0});
    const double percent = m_total > 0 ? 100.0 * static_cast<double>(count) / static_cast<double>(m_total) : 0;
    most = std::max(most, percent);
    const bool isChosen = m_data.selectedCode >= static_cast<int>(first) && m_data.selectedCode < static_cast<int>(last);
    (isChosen ? chosen : bars)->addData((static_cast<double>(first) + static_cast<double>(last) - 1) / 2, percent);
  }
  for (QCPBars* series : {bars, chosen}) {
    series->setPen(Qt::NoPen);
    series->setBrush(series == chosen ? theme.accent : colour);
    series->setAntialiased(false);
    series->setAntialiasedFill(false);
    series->setWidth(codes <= 64 ? 0.75 : static_cast<double>(wide));
  }
  x->setRange(-0.8, static_cast<double>(codes) - 0.2);
  setTicks(x, stepTicks(0, static_cast<double>(codes) - 1, codeStep(codes), true));
  y->setRange(0, std::max(most * 1.36, 1e-6));
  setTicks(y, niceTicks(0, y->range().upper, 4, true));
  setGrid(false, true);
  setTitles(m_data.what.isEmpty() ? tr("code") : m_data.what, {});
  addPainter(chart(), QStringLiteral("axes"), false, [this](QPainter& painter, const QRectF& area) {
    painter.setFont(fonts::hint());
    painter.setPen(themeOf(this).text2);
    painter.drawText(QRectF(area.left() - 1, area.top() - 18, 40, 16), Qt::AlignLeft, QStringLiteral("%"));
  });
}

int OccupancyPlot::codeAt(double x) const {
  const double code = std::nearbyint(x);
  return code >= 0 && code < static_cast<double>(m_data.counts.size()) ? static_cast<int>(code) : -1;
}

void OccupancyPlot::showCode(int code) {
  m_cursor = code;
  if (code < 0) return setHairLine(std::nan(""), {});
  const auto count = m_data.counts[static_cast<std::size_t>(code)];
  const double share = m_total > 0 ? static_cast<double>(count) / static_cast<double>(m_total) : 0;
  setHairLine(code, tr("%1 %2: %3, %4 %5").arg(m_data.what.isEmpty() ? tr("code") : m_data.what).arg(code).arg(formatPercent(share, 2), formatCount(count), m_data.of.isEmpty() ? tr("weights") : m_data.of));
}

bool OccupancyPlot::moveCursor(int dx, int /*dy*/) {
  if (dx == 0) return false;
  const int last = static_cast<int>(m_data.counts.size()) - 1;
  showCode(std::clamp(m_cursor + dx * (std::abs(dx) > 1 ? last + 1 : 1), 0, last));
  return true;
}

void OccupancyPlot::mouseMoveEvent(QMouseEvent* event) {
  if (isEmpty() || !axisArea().contains(event->position().toPoint())) return showCode(-1);
  showCode(codeAt(toData(event->position()).x()));
}

void OccupancyPlot::mousePressEvent(QMouseEvent* event) {
  PlotWidget::mousePressEvent(event);
  if (isEmpty() || event->button() != Qt::LeftButton || !axisArea().contains(event->position().toPoint())) return;
  if (const int code = codeAt(toData(event->position()).x()); code >= 0) emit codeClicked(code);
}

}  // namespace nibble
