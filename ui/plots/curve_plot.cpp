// SPDX-License-Identifier: GPL-3.0-or-later
#include "ui/plots/curve_plot.h"

#include "ui/plots/chart_tools.h"
#include "ui/theme/number_text.h"
#include "ui/theme/theme.h"

#include <qcustomplot.h>
#include <QMouseEvent>
#include <QPainter>
#include <algorithm>
#include <cmath>
#include <limits>

namespace nibble {
namespace {

constexpr double labelLine = 14, labelWidth = 60;
constexpr int labelIndent = 24;  // with its piece of line
constexpr std::size_t mostPoints = 1200;

}  // namespace

CurvePlot::CurvePlot(const QString& objectName, const QString& accessibleName, QWidget* parent)
    : ChartWidget(objectName, accessibleName, parent) {
  setLabelRoom(m_margins.right);
  setMinimumSize(150, 110);
}

void CurvePlot::setLabelRoom(int pixels) { setMargins(60, pixels, 36, 8); }

void CurvePlot::setMargins(int left, int right, int bottom, int top) {
  m_margins = {left, right, bottom, top};
  setAxisMargins(left, right, bottom, top);
}

int CurvePlot::labelRoom() const {
  const QFontMetrics plain(fonts::hint()), bold(fonts::boldHint());
  int widest = 0;
  for (const CurveSeries& s : m_data.series)
    if (!s.x.empty() && drawn(s.y.back()) && !s.label.isEmpty())
      widest = std::max({widest, (s.chosen ? bold : plain).horizontalAdvance(s.label), plain.horizontalAdvance(s.note)});
  return widest == 0 || m_data.xEnd <= 0 ? m_margins.right : std::max(m_margins.right, std::min(widest + labelIndent, width() / 2));
}

bool CurvePlot::isEmpty() const {
  return std::none_of(m_data.series.begin(), m_data.series.end(), [](const CurveSeries& s) { return !s.x.empty(); });
}

void CurvePlot::setData(CurveData data) {
  m_data = std::move(data);
  QStringList names;
  for (const CurveSeries& s : m_data.series)
    if (!s.y.empty()) names << tr("%1 %2").arg(s.name, formatSignificant(s.y.back(), 3));
  setSummary(names.join(QStringLiteral(", ")));
  makeRoom();
}

void CurvePlot::makeRoom() { setAxisMargins(m_margins.left, labelRoom(), m_margins.bottom, m_margins.top); }

void CurvePlot::resizeEvent(QResizeEvent* event) {
  makeRoom();
  ChartWidget::resizeEvent(event);
}

DataTable CurvePlot::dataTable() const {
  DataTable table{{tr("curve"), m_data.xTitle, m_data.yTitle}, {}};
  for (const CurveSeries& s : m_data.series)
    for (std::size_t i = 0; i < s.x.size(); ++i) table.rows.push_back({s.name, s.x[i], s.y[i]});
  return table;
}

bool CurvePlot::drawn(double y) const { return std::isfinite(y) && (!m_data.logarithmic || y > 0); }

CurvePlot::Range CurvePlot::xRange() const {
  Range range{0, std::max(m_data.xEnd, 1e-12)};
  for (const CurveSeries& s : m_data.series)
    for (const double x : s.x)
      if (std::isfinite(x)) range.low = std::min(range.low, x), range.high = std::max(range.high, x);
  return range;
}

CurvePlot::Range CurvePlot::yRange() const {
  Range range{std::numeric_limits<double>::infinity(), -std::numeric_limits<double>::infinity()};
  for (const CurveSeries& s : m_data.series)
    for (const double y : s.y)
      if (drawn(y)) range.low = std::min(range.low, y), range.high = std::max(range.high, y);
  if (!(range.high >= range.low)) return m_data.logarithmic ? Range{0.1, 1} : Range{0, 1};
  if (m_data.logarithmic) return {std::min(std::max(range.low, m_data.yLeast), range.high) / 1.25, range.high * 1.25};
  if (!m_data.fromZero) {
    const double around = std::max((range.high - range.low) * 0.06, 1e-12);
    return {range.low - around, range.high + around};
  }
  range.low = std::min(range.low, 0.0);
  range.high = std::max({range.high, m_data.yEnd, range.low + 1e-12});
  const double room = (range.high - range.low) * 0.05;
  return {range.low < 0 ? range.low - room : 0, range.high + room};
}

void CurvePlot::rebuild() {
  const Range across = xRange(), up = yRange();
  QCPAxis *x = chart()->xAxis, *y = chart()->yAxis;
  x->setRange(across.low, across.high);
  y->setScaleType(m_data.logarithmic ? QCPAxis::stLogarithmic : QCPAxis::stLinear);
  y->setRange(up.low, up.high);
  setTicks(x, niceTicks(across.low, across.high, std::clamp(axisArea().width() / 48, 2, 6), true));
  auto ticks = m_data.logarithmic ? powerTicks(up.low, up.high, 5, false) : niceTicks(up.low, up.high, std::clamp(axisArea().height() / 24, 3, 5), true);
  if (m_data.logarithmic && ticks.size() < 3) {
    // Few powers of ten: round numbers between them.
    const auto digits = up.high / up.low < 10 ? std::vector{1.0, 1.5, 2.0, 3.0, 5.0, 7.0} : std::vector{1.0, 2.0, 5.0};
    ticks.clear();
    for (int power = static_cast<int>(std::floor(std::log10(up.low))); power <= static_cast<int>(std::ceil(std::log10(up.high))); ++power)
      for (const double digit : digits)
        if (const double value = digit * std::pow(10.0, power); value >= up.low && value <= up.high) ticks.push_back({value, formatSignificant(value, digit == 1.5 ? 2 : 1)});
  }
  setTicks(y, ticks);
  setGrid(false, true);
  setTitles(m_data.titles ? m_data.xTitle : QString(), m_data.titles ? m_data.yTitle : QString());
  for (const bool chosen : {false, true}) {
    for (const CurveSeries& s : m_data.series) {
      if (s.chosen != chosen) continue;
      auto* line = new QCPCurve(x, y);
      line->setPen(QPen(s.colour, s.fine ? 1 : chosen ? 2.2 : 1.5, s.dashed ? Qt::DashLine : Qt::SolidLine));
      line->setAntialiased(!s.fine);
      QVector<double> order, keys, values;
      const std::size_t every = std::max<std::size_t>(1, s.x.size() / mostPoints);
      for (std::size_t i = 0; i < s.x.size(); i += i + 1 == s.x.size() ? 1 : std::min(every, s.x.size() - 1 - i))
        order << static_cast<double>(i), keys << s.x[i], values << (drawn(s.y[i]) ? s.y[i] : std::nan(""));
      line->setData(order, keys, values, true);
    }
  }
  addPainter(chart(), QStringLiteral("overlay"), false, [this](QPainter& painter, const QRectF& area) { paintLabels(painter, area); });
}

void CurvePlot::paintLabels(QPainter& painter, const QRectF& area) const {
  const Theme& theme = themeOf(this);
  if (m_data.marker >= 0) {
    const double at = std::floor(chart()->xAxis->coordToPixel(m_data.marker)) + 0.5;
    painter.setPen(QPen(theme.text3, 1, Qt::DotLine));
    if (at >= area.left() && at <= area.right()) painter.drawLine(QPointF(at, area.top()), QPointF(at, area.bottom()));
  }
  struct Label {
    const CurveSeries* series;
    double x, y, lines;
  };
  std::vector<Label> labels;
  for (const CurveSeries& s : m_data.series) {
    if (s.x.empty() || !drawn(s.y.back())) continue;
    const QPointF end(chart()->xAxis->coordToPixel(s.x.back()), chart()->yAxis->coordToPixel(s.y.back()));
    if (s.dot) {
      painter.setPen(Qt::NoPen);
      painter.setBrush(s.colour);
      painter.drawEllipse(end, 3.5, 3.5);
    }
    if (!s.label.isEmpty()) labels.push_back({&s, end.x() + 6, end.y() - labelLine / 2, s.note.isEmpty() ? 1.0 : 2.0});
  }
  std::stable_sort(labels.begin(), labels.end(), [](const Label& a, const Label& b) { return a.y < b.y; });
  const auto beside = [](const Label& a, const Label& b) { return std::abs(a.x - b.x) > labelWidth; };
  for (std::size_t i = 1; i < labels.size(); ++i)
    for (std::size_t j = 0; j < i; ++j)
      if (!beside(labels[i], labels[j])) labels[i].y = std::max(labels[i].y, labels[j].y + labelLine * labels[j].lines);
  for (std::size_t i = labels.size(); i-- > 0;) {
    labels[i].y = std::min(labels[i].y, area.bottom() - labelLine * labels[i].lines);
    for (std::size_t j = i + 1; j < labels.size(); ++j)
      if (!beside(labels[i], labels[j])) labels[i].y = std::min(labels[i].y, labels[j].y - labelLine * labels[i].lines);
  }
  painter.setRenderHint(QPainter::Antialiasing);
  for (const Label& label : labels) {
    const CurveSeries& s = *label.series;
    painter.setPen(QPen(s.colour, s.chosen ? 2.2 : 1.5, s.dashed ? Qt::DotLine : Qt::SolidLine));
    painter.drawLine(QPointF(label.x, label.y + labelLine / 2), QPointF(label.x + 9, label.y + labelLine / 2));
    painter.setFont(s.chosen ? fonts::boldHint() : fonts::hint());
    const double left = label.x + 13, room = area.right() + labelRoom() - left;
    drawHaloText(painter, QRectF(left, label.y, room, labelLine), Qt::AlignLeft | Qt::AlignVCenter, s.label, s.chosen ? theme.text : theme.text2, theme.panel);
    if (s.note.isEmpty()) continue;
    painter.setFont(fonts::hint());
    drawHaloText(painter, QRectF(left, label.y + labelLine, room, labelLine), Qt::AlignLeft | Qt::AlignVCenter, s.note, theme.text2, theme.panel);
  }
}

void CurvePlot::showAt(double x) {
  m_cursor = x;
  QStringList parts;
  for (const CurveSeries& s : m_data.series) {
    const auto found = std::lower_bound(s.x.begin(), s.x.end(), x);
    if (found == s.x.end()) continue;
    parts << tr("%1 %2").arg(s.name, formatSignificant(s.y[static_cast<std::size_t>(found - s.x.begin())], 4));
  }
  setHairLine(x, tr("%1 %2: %3").arg(m_data.xTitle, formatSignificant(x, 4), parts.join(", ")));
}

bool CurvePlot::moveCursor(int dx, int dy) {
  if (dy != 0) return false;
  const Range range = xRange();
  const double step = m_data.xEnd >= 1 ? 1 : (range.high - range.low) / 50;
  showAt(std::clamp(m_cursor + dx * step, range.low, range.high));
  return true;
}

void CurvePlot::mouseMoveEvent(QMouseEvent* event) {
  if (isEmpty() || !axisArea().contains(event->position().toPoint())) return;
  const double x = toData(event->position()).x();
  showAt(m_data.xEnd >= 1 ? std::nearbyint(x) : x);
}

}  // namespace nibble
