// SPDX-License-Identifier: GPL-3.0-or-later
#include "ui/plots/reconstruction_plot.h"

#include "ui/plots/chart_tools.h"
#include "ui/theme/colour_map.h"
#include "ui/theme/number_text.h"
#include "ui/theme/theme.h"

#include <qcustomplot.h>
#include <QMouseEvent>
#include <QPainter>
#include <algorithm>
#include <cmath>

namespace nibble {
namespace {

constexpr double firstColour = 0.4;  // of one pair: it must stand out from the ground
constexpr double scaleGap = 12, scaleWidth = 10;

// Position 0..1 in the colour map of a count, 1 <= count <= most.
double shade(double count, double most) { return most > 1 ? firstColour + (1 - firstColour) * std::log(count) / std::log(most) : 1; }

}  // namespace

ReconstructionPlot::ReconstructionPlot(QWidget* parent, const QString& objectName)
    : ChartWidget(objectName, tr("Weights against reconstructed weights"), parent) {
  setAxisMargins(46, 58, 36, 8);
  setToolTip(tr("How many weights lie in each square, by what they were and what comes back; on the dashed line both are equal. "
                "Beyond five times their root mean square weights count in the outermost squares."));
}

void ReconstructionPlot::setData(std::shared_ptr<const Reconstruction> pairs) {
  if (pairs == m_pairs) return;
  m_pairs = std::move(pairs);
  m_cursorColumn = m_cursorRow = -1;
  std::uint64_t squares = 0, total = 0;
  if (m_pairs)
    for (const std::uint64_t count : m_pairs->counts) total += count, squares += count > 0 ? 1 : 0;
  setSummary(tr("%1 weights in %2 squares").arg(formatCount(total), formatCount(squares)));
  invalidate();
}

void ReconstructionPlot::setSelected(const std::optional<QPointF>& weightAndValue) {
  if (m_selected == weightAndValue) return;
  m_selected = weightAndValue;
  update();
}

double ReconstructionPlot::edge(int bin) const { return -m_pairs->reach + std::min(bin, m_pairs->bins) * m_pairs->binWidth(); }

double ReconstructionPlot::left(int column) const { return std::floor(chart()->xAxis->coordToPixel(edge(column * m_grid.across))); }
double ReconstructionPlot::bottom(int row) const { return std::floor(chart()->yAxis->coordToPixel(edge(row * m_grid.up))); }

DataTable ReconstructionPlot::dataTable() const {
  DataTable table{{tr("weight from"), tr("to"), tr("reconstructed from"), tr("to"), tr("count")}, {}};
  if (!m_pairs) return table;
  for (int value = 0; value < m_pairs->bins; ++value)
    for (int weight = 0; weight < m_pairs->bins; ++weight)
      if (const std::uint64_t count = m_pairs->at(weight, value); count > 0)
        table.rows.push_back({edge(weight), edge(weight + 1), edge(value), edge(value + 1), static_cast<qulonglong>(count)});
  return table;
}

void ReconstructionPlot::rebuild() {
  const auto [half, step] = niceSymmetric(m_pairs->reach);
  for (QCPAxis* axis : {chart()->xAxis, chart()->yAxis}) {
    axis->setRange(-half, half);
    setTicks(axis, stepTicks(-half, half, step, false));
  }
  putTogether();
  setGrid(false, false);
  setTitles(tr("weight"), tr("reconstructed"));
  addPainter(chart(), QStringLiteral("main"), true, [this](QPainter& painter, const QRectF& area) { paintPairs(painter, area); });
  addPainter(chart(), QStringLiteral("overlay"), false, [this](QPainter& painter, const QRectF&) { paintSelection(painter); });
  addPainter(chart(), QStringLiteral("axes"), false, [this](QPainter& painter, const QRectF& area) { paintColourScale(painter, area); });
}

void ReconstructionPlot::putTogether() {
  const int bins = m_pairs->bins;
  const auto together = [&](const QCPAxis* axis) {
    const double pixels = std::abs(axis->coordToPixel(m_pairs->reach) - axis->coordToPixel(-m_pairs->reach));
    return std::clamp(static_cast<int>(std::ceil(bins / std::max(1.0, pixels))), 1, bins);
  };
  m_grid = {together(chart()->xAxis), together(chart()->yAxis), 0, 0, {}, 0};
  m_grid.columns = (bins + m_grid.across - 1) / m_grid.across;
  m_grid.rows = (bins + m_grid.up - 1) / m_grid.up;
  m_grid.counts.resize(static_cast<std::size_t>(m_grid.columns * m_grid.rows));
  for (int value = 0; value < bins; ++value)
    for (int weight = 0; weight < bins; ++weight)
      m_grid.counts[static_cast<std::size_t>(value / m_grid.up * m_grid.columns + weight / m_grid.across)] += m_pairs->at(weight, value);
  m_grid.most = *std::max_element(m_grid.counts.begin(), m_grid.counts.end());
}

void ReconstructionPlot::paintPairs(QPainter& painter, const QRectF& area) const {
  const Theme& theme = themeOf(this);
  painter.setRenderHint(QPainter::Antialiasing);
  painter.setPen(QPen(theme.text3, 1.3, Qt::DashLine));
  painter.drawLine(area.bottomLeft(), area.topRight());
  const ColourMap colours(ColourScale::Sequential, theme.dark, 0, 1, theme.bad);
  painter.setRenderHint(QPainter::Antialiasing, false);
  const double half = painter.worldTransform().dx() - std::floor(painter.worldTransform().dx());  // antialiased lines lie half a pixel off
  painter.translate(-half, -half);
  for (int row = 0; row < m_grid.rows; ++row) {
    const double top = bottom(row + 1), height = std::max(1.0, bottom(row) - top);
    for (int column = 0; column < m_grid.columns; ++column) {
      const std::uint64_t count = drawn(column, row);
      if (count == 0) continue;
      const double width = std::max(1.0, left(column + 1) - left(column));
      painter.fillRect(QRectF(left(column), top, width, height), QColor(colours.at(shade(static_cast<double>(count), static_cast<double>(m_grid.most)))));
    }
  }
}

void ReconstructionPlot::paintSelection(QPainter& painter) const {
  if (!m_selected) return;
  const Theme& theme = themeOf(this);
  const auto inside = [this](double value) { return std::clamp(value, -m_pairs->reach, m_pairs->reach); };  // as its pair is counted
  const QPointF centre = toPixel({inside(m_selected->x()), inside(m_selected->y())});
  painter.setRenderHint(QPainter::Antialiasing);
  painter.setBrush(Qt::NoBrush);
  for (const QPen& pen : {QPen(theme.panel, 4), QPen(theme.accent, 2)}) {
    painter.setPen(pen);
    painter.drawEllipse(centre, 5, 5);
  }
}

void ReconstructionPlot::paintColourScale(QPainter& painter, const QRectF& area) const {
  const Theme& theme = themeOf(this);
  const QRectF bar(area.right() + scaleGap, area.top(), scaleWidth, area.height());
  const double most = std::max(static_cast<double>(m_grid.most), 2.0);
  const ColourMap colours(ColourScale::Sequential, theme.dark, 0, 1, theme.bad);
  QImage strip(1, 256, QImage::Format_RGB32);
  for (int y = 0; y < 256; ++y) strip.setPixel(0, y, colours.at(1 - (1 - firstColour) * y / 255));
  painter.drawImage(bar, strip);
  painter.setFont(fonts::hint());
  const double line = QFontMetricsF(painter.font()).height();
  for (const Tick& tick : powerTicks(1, most, 5, true)) {
    const double y = bar.bottom() - std::log(tick.position) / std::log(most) * bar.height();
    painter.setPen(QPen(theme.axis, 1));
    painter.drawLine(QPointF(bar.right(), std::floor(y)), QPointF(bar.right() + 2, std::floor(y)));
    painter.setPen(theme.text2);
    painter.drawText(QRectF(bar.right() + 7, y - line / 2, 40, line), Qt::AlignLeft | Qt::AlignVCenter, tick.text);
  }
}

void ReconstructionPlot::showSquare(int column, int row) {
  m_cursorColumn = column;
  m_cursorRow = row;
  if (column < 0 || row < 0 || column >= m_grid.columns || row >= m_grid.rows) return setHairLine(std::nan(""), {});
  const int decimals = decimalsFor(m_pairs->binWidth());
  const double weight = (edge(column * m_grid.across) + edge((column + 1) * m_grid.across)) / 2;
  const double value = (edge(row * m_grid.up) + edge((row + 1) * m_grid.up)) / 2;
  setHairLine(weight, tr("%1 → %2: %3").arg(formatFixed(weight, decimals), formatFixed(value, decimals), formatCount(drawn(column, row))));
}

bool ReconstructionPlot::moveCursor(int dx, int dy) {
  ensureBuilt();
  const int lastColumn = m_grid.columns - 1, lastRow = m_grid.rows - 1, by = std::abs(dx) > 1 ? lastColumn : 1;
  const int column = m_cursorColumn < 0 ? lastColumn / 2 : m_cursorColumn, row = m_cursorRow < 0 ? lastRow / 2 : m_cursorRow;
  showSquare(std::clamp(column + (dx > 0 ? by : dx < 0 ? -by : 0), 0, lastColumn), std::clamp(row - dy, 0, lastRow));
  return true;
}

void ReconstructionPlot::mouseMoveEvent(QMouseEvent* event) {
  if (isEmpty() || !axisArea().contains(event->position().toPoint())) return setHairLine(std::nan(""), {});
  const double x = std::floor(event->position().x()), y = std::floor(event->position().y());
  int column = -1, row = -1;
  while (column < m_grid.columns && left(column + 1) <= x) ++column;
  while (row < m_grid.rows && bottom(row + 1) > y) ++row;
  showSquare(column, row);
}

}  // namespace nibble
