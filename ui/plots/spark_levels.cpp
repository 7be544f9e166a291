// SPDX-License-Identifier: GPL-3.0-or-later
#include "ui/plots/spark_levels.h"

#include "ui/plots/chart_tools.h"
#include "ui/theme/number_text.h"
#include "ui/theme/theme.h"

#include <QKeyEvent>
#include <QMouseEvent>
#include <QPainter>
#include <algorithm>
#include <cmath>

namespace nibble {
namespace {

constexpr double side = 14, top = 6, bottom = 24;

// Half width that holds all levels and 99.95 % of the weights, with air: the far tail would only flatten the middle.
double halfWidth(const SparkLevelsData& data) {
  const Histogram& h = data.weights;
  double extent = 0;
  for (const double level : data.levels) extent = std::max(extent, std::isfinite(level) ? std::abs(level) : 0.0);
  const auto beyond = static_cast<std::uint64_t>(static_cast<double>(h.total()) * 0.0005);
  std::uint64_t outside = 0;
  for (std::size_t i = 0, j = h.counts.size(); i < j; ++i) {
    outside += h.counts[i];
    if (outside > beyond) {
      extent = std::max(extent, -(h.low + static_cast<double>(i) * h.binWidth()));
      break;
    }
  }
  outside = 0;
  for (std::size_t i = h.counts.size(); i > 0; --i) {
    outside += h.counts[i - 1];
    if (outside > beyond) {
      extent = std::max(extent, h.low + static_cast<double>(i) * h.binWidth());
      break;
    }
  }
  return extent > 0 ? extent * 1.25 : 1;
}

}  // namespace

SparkLevels::SparkLevels(QWidget* parent, const QString& objectName)
    : PlotWidget(objectName, tr("Weights and levels"), parent) {
  setCursor(Qt::PointingHandCursor);
}

void SparkLevels::setData(SparkLevelsData data) {
  m_data = std::move(data);
  setSummary(tr("%1 weights, %2 levels").arg(formatCount(m_data.weights.total())).arg(m_data.levels.size()));
}

void SparkLevels::clear() {
  setData({});
}

DataTable SparkLevels::dataTable() const {
  DataTable table{{tr("low"), tr("high"), tr("count"), tr("level")}, {}};
  const Histogram& h = m_data.weights;
  for (std::size_t i = 0; i < std::max(h.counts.size(), m_data.levels.size()); ++i) {
    const double low = h.low + static_cast<double>(i) * h.binWidth();
    QVariantList row{QVariant(), QVariant(), QVariant(), QVariant()};
    if (i < h.counts.size()) row[0] = low, row[1] = low + h.binWidth(), row[2] = static_cast<qulonglong>(h.counts[i]);
    if (i < m_data.levels.size()) row[3] = m_data.levels[i];
    table.rows.push_back(std::move(row));
  }
  return table;
}

void SparkLevels::renderTo(QPaintDevice* device, QSize size) {
  QPainter painter(device);
  if (isEmpty()) return paintEmpty(painter, QRect(QPoint(), size));
  const Theme& theme = themeOf(this);
  painter.fillRect(QRect(QPoint(), size), theme.panel);
  const QRectF area(side, top, size.width() - 2 * side, size.height() - top - bottom);
  const double half = halfWidth(m_data);
  const auto pixel = [&](double value) { return area.center().x() + value / half * area.width() / 2; };
  const Histogram& h = m_data.weights;
  const auto most = static_cast<double>(std::max<std::uint64_t>(1, *std::max_element(h.counts.begin(), h.counts.end())));
  for (std::size_t i = 0; i < h.counts.size(); ++i) {
    const double low = h.low + static_cast<double>(i) * h.binWidth();
    const int left = static_cast<int>(std::nearbyint(pixel(low))),
              right = static_cast<int>(std::nearbyint(pixel(low + h.binWidth())));
    const int tall = static_cast<int>(std::nearbyint(static_cast<double>(h.counts[i]) / most * (area.height() - 12)));
    if (left < area.left() || right > area.right() || tall == 0) continue;
    painter.fillRect(left, static_cast<int>(area.bottom()) - tall, std::max(right - left, 1), tall, theme.bar);
  }
  std::vector<double> levels;
  for (const double level : m_data.levels) {
    if (std::isfinite(level)) levels.push_back(pixel(level));
  }
  std::sort(levels.begin(), levels.end());
  drawLevels(painter, levels, area.top(), area.bottom(), familyColour(theme, m_data.family));
  painter.setPen(QPen(theme.axis, 1));
  const double axis = std::floor(area.bottom());
  painter.drawLine(QPointF(area.left(), axis), QPointF(area.right(), axis));
  painter.setFont(fonts::hint());
  const double line = QFontMetricsF(painter.font()).height();
  for (const Tick& tick : niceTicks(-half, half, 5, true)) {
    const double x = std::floor(pixel(tick.position));
    painter.setPen(QPen(theme.axis, 1));
    painter.drawLine(QPointF(x, axis), QPointF(x, axis + 3));
    painter.setPen(theme.text2);
    painter.drawText(QRectF(x - 30, axis + 5, 60, line), Qt::AlignCenter, tick.text);
  }
}

void SparkLevels::paintEvent(QPaintEvent* /*event*/) {
  renderTo(this, size());
}

void SparkLevels::mouseReleaseEvent(QMouseEvent* event) {
  if (event->button() == Qt::LeftButton && rect().contains(event->position().toPoint())) emit clicked();
}

void SparkLevels::keyPressEvent(QKeyEvent* event) {
  if (event->key() == Qt::Key_Space || event->key() == Qt::Key_Return || event->key() == Qt::Key_Enter)
    return void(emit clicked());
  PlotWidget::keyPressEvent(event);
}

}  // namespace nibble
