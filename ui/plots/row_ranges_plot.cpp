// SPDX-License-Identifier: GPL-3.0-or-later
#include "ui/plots/row_ranges_plot.h"

#include "ui/plots/chart_tools.h"
#include "ui/plots/pooling.h"
#include "ui/theme/number_text.h"
#include "ui/theme/theme.h"

#include <qcustomplot.h>
#include <QMouseEvent>
#include <QPainter>
#include <QWheelEvent>
#include <algorithm>
#include <cmath>

namespace nibble {
namespace {

RowRange merged(const std::vector<RowRange>& rows, std::uint64_t begin, std::uint64_t end) {
  RowRange all = rows[begin];
  double medians = 0;
  for (std::uint64_t i = begin; i < end; ++i) {
    const RowRange& row = rows[i];
    all.low = std::min(all.low, row.low);
    all.percent1 = std::min(all.percent1, row.percent1);
    all.percent99 = std::max(all.percent99, row.percent99);
    all.high = std::max(all.high, row.high);
    medians += row.median;
  }
  all.median = static_cast<float>(medians / static_cast<double>(end - begin));
  return all;
}

}  // namespace

RowRangesPlot::RowRangesPlot(QWidget* parent, const QString& objectName) : ChartWidget(objectName, tr("Row ranges"), parent) {
  setAxisMargins(40, 12, 36, 8);
  setToolTip(tr("Per row: minimum, 1 %, median, 99 %, maximum of its weights"));
}

void RowRangesPlot::setData(std::vector<RowRange> rows) {
  const bool sameShape = rows.size() == m_rows.size();
  m_rows = std::move(rows);
  if (!sameShape) {
    m_begin = 0, m_end = m_rows.size();
    m_selected = m_cursor = -1;
  }
  setSummary(tr("%1 rows").arg(formatCount(m_rows.size())));
  invalidate();
}

void RowRangesPlot::clear() {
  setData({});
}

void RowRangesPlot::setSelectedRow(qint64 row) {
  m_selected = row;
  update();
}

void RowRangesPlot::setRowRange(quint64 begin, quint64 end) {
  end = std::min<quint64>(end, m_rows.size());
  if (begin >= end || (begin == m_begin && end == m_end)) return;
  m_begin = begin;
  m_end = end;
  invalidate();
  emit rowRangeChanged(begin, end);
}

DataTable RowRangesPlot::dataTable() const {
  DataTable table{{tr("row"), tr("min"), tr("1 %"), tr("median"), tr("99 %"), tr("max")}, {}};
  for (std::size_t i = 0; i < m_rows.size(); ++i) {
    const RowRange& r = m_rows[i];
    table.rows.push_back({static_cast<qulonglong>(i), r.low, r.percent1, r.median, r.percent99, r.high});
  }
  return table;
}

void RowRangesPlot::rebuild() {
  const Theme& theme = themeOf(this);
  QCPAxis *x = chart()->xAxis, *y = chart()->yAxis;
  double extent = 0;
  for (const RowRange& row : m_rows)
    extent = std::max({extent, static_cast<double>(std::abs(row.low)), static_cast<double>(std::abs(row.high))});
  const auto [half, step] = niceSymmetric(extent);
  x->setRange(-half, half);
  setTicks(x, stepTicks(-half, half, step, false));
  y->setRangeReversed(true);
  y->setRange(static_cast<double>(m_begin), static_cast<double>(m_end));
  setTicks(y, cellTicks(static_cast<double>(m_begin), static_cast<double>(m_end), std::clamp(height() / 60, 2, 6)));
  setGrid(true, false);
  setTitles(tr("weight"), {});

  // The left axis is the key: a row is a key, its figures are values.
  const auto graph = [&](const QPen& pen) {
    auto* made = new QCPGraph(y, x);
    made->setPen(pen);
    made->setAntialiased(pen.widthF() > 1);
    return made;
  };
  QCPGraph* low1 = graph(Qt::NoPen);
  QCPGraph* high99 = graph(Qt::NoPen);
  high99->setBrush(mixed(theme.bar, theme.panel, theme.dark ? 0.55 : 0.45));
  high99->setChannelFillGraph(low1);
  QCPGraph* low = graph(QPen(theme.text3, 1));
  QCPGraph* high = graph(QPen(theme.text3, 1));
  QCPGraph* median = graph(QPen(theme.text, 1.5));
  const std::uint64_t count = m_end - m_begin;
  const auto pixels = std::min<std::uint64_t>(count, static_cast<std::uint64_t>(std::max(height() - 44, 8)));
  for (std::uint64_t i = 0; i < pixels; ++i) {
    const std::uint64_t first = m_begin + firstCell(i, count, pixels), last = m_begin + endCell(i, count, pixels);
    const RowRange row = merged(m_rows, first, last);
    const double key = (static_cast<double>(first) + static_cast<double>(last)) / 2;
    low->addData(key, row.low), high->addData(key, row.high);
    low1->addData(key, row.percent1), high99->addData(key, row.percent99), median->addData(key, row.median);
  }
  addPainter(chart(), QStringLiteral("overlay"), false,
             [this](QPainter& painter, const QRectF& area) { paintRowLines(painter, area); });
}

void RowRangesPlot::paintRowLines(QPainter& painter, const QRectF& area) const {
  const Theme& now = themeOf(this);
  for (const qint64 row : {m_cursor, m_selected}) {
    if (row < static_cast<qint64>(m_begin) || row >= static_cast<qint64>(m_end)) continue;
    const double at = std::floor(chart()->yAxis->coordToPixel(static_cast<double>(row) + 0.5));
    const bool isSelected = row == m_selected;
    painter.fillRect(QRectF(area.left(), at - (isSelected ? 1 : 0), area.width(), isSelected ? 2 : 1),
                     isSelected ? now.accent : now.text3);
    if (!isSelected) continue;
    painter.setFont(fonts::boldHint());
    const double textHeight = QFontMetricsF(painter.font()).height();
    const double top = at - textHeight - 2 > area.top() ? at - textHeight - 2 : at + 3;
    const QString label = tr("row %1").arg(row);
    const double wide = QFontMetricsF(painter.font()).horizontalAdvance(label) + 4;
    const QRectF place(area.right() - 4 - wide, top, wide, textHeight);
    painter.fillRect(place, now.panel);  // the ranges would show between the words
    painter.setPen(now.text);
    painter.drawText(place, Qt::AlignCenter, label);
  }
}

qint64 RowRangesPlot::rowAt(QPointF pixel) const {
  if (isEmpty() || !axisArea().contains(pixel.toPoint())) return -1;
  const double row = std::floor(toData(pixel).y());
  return row >= 0 && row < static_cast<double>(m_rows.size()) ? static_cast<qint64>(row) : -1;
}

void RowRangesPlot::showRow(qint64 row) {
  m_cursor = row;
  update();
  if (row < 0) return void(emit hoverText({}));
  const RowRange& r = m_rows[static_cast<std::size_t>(row)];
  emit hoverText(
      tr("row %1: %2 to %3, median %4").arg(row).arg(formatFixed(r.low, 4), formatFixed(r.high, 4), formatFixed(r.median, 4)));
}

bool RowRangesPlot::moveCursor(int dx, int dy) {
  if (dy == 0 && std::abs(dx) == 1) return false;
  const auto last = static_cast<qint64>(m_rows.size()) - 1;
  const qint64 from = m_cursor >= 0 ? m_cursor : std::max<qint64>(m_selected, 0);
  const qint64 row = std::clamp<qint64>(from + dy + (std::abs(dx) > 1 ? dx / std::abs(dx) * last : 0), 0, last);
  showRow(row);
  emit rowClicked(static_cast<quint64>(row));
  return true;
}

void RowRangesPlot::mouseMoveEvent(QMouseEvent* event) {
  showRow(rowAt(event->position()));
}

void RowRangesPlot::mousePressEvent(QMouseEvent* event) {
  PlotWidget::mousePressEvent(event);
  if (event->button() != Qt::LeftButton) return;
  if (const qint64 row = rowAt(event->position()); row >= 0) emit rowClicked(static_cast<quint64>(row));
}

void RowRangesPlot::mouseDoubleClickEvent(QMouseEvent* /*event*/) {
  setRowRange(0, m_rows.size());
}

void RowRangesPlot::wheelEvent(QWheelEvent* event) {
  if (isEmpty() || event->angleDelta().y() == 0) return event->ignore();
  const double total = static_cast<double>(m_rows.size()), at = toData(event->position()).y();
  const double factor = std::pow(1.25, -event->angleDelta().y() / 120.0);
  const double span =
      std::clamp((static_cast<double>(m_end) - static_cast<double>(m_begin)) * factor, std::min(4.0, total), total);
  const double share = (at - static_cast<double>(m_begin)) / (static_cast<double>(m_end) - static_cast<double>(m_begin));
  const double begin = std::clamp(std::nearbyint(at - share * span), 0.0, total - std::ceil(span));
  setRowRange(static_cast<quint64>(begin), static_cast<quint64>(std::min(total, begin + std::ceil(span))));
  event->accept();
}

}  // namespace nibble
