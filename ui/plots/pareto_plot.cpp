// SPDX-License-Identifier: GPL-3.0-or-later
#include "ui/plots/pareto_plot.h"

#include "ui/plots/chart_tools.h"
#include "ui/plots/label_places.h"
#include "ui/theme/number_text.h"
#include "ui/theme/theme.h"

#include <qcustomplot.h>
#include <QMouseEvent>
#include <QPainter>
#include <algorithm>
#include <cmath>

namespace nibble {
namespace {

constexpr double markSize = 10, ringRadius = 9, hitRadius = 11, faded = 0.38, labelsApart = 14;

}  // namespace

ParetoBound gaussianBound() {
  ParetoBound bound;
  bound.label = ParetoPlot::tr("Gaussian of this variance, 6.02 dB a bit");
  bound.dbPerBit = 20 * std::log10(2.0);
  bound.tip = ParetoPlot::tr("What Gaussian weights of this variance would allow: variance x 4^-bits. Weights of any other density allow less error");
  return bound;
}

void markDominated(std::vector<ParetoPoint>& points) {
  for (ParetoPoint& p : points) {
    p.dominated = std::any_of(points.begin(), points.end(), [&](const ParetoPoint& other) {
      return (other.bitsPerWeight <= p.bitsPerWeight && other.sqnrDb > p.sqnrDb) ||
             (other.bitsPerWeight < p.bitsPerWeight && other.sqnrDb >= p.sqnrDb);
    });
  }
}

ParetoPlot::ParetoPlot(QWidget* parent, const QString& objectName) : ChartWidget(objectName, tr("Size against error"), parent) {
  setToolTip(tr("Each mark is a candidate; the line joins those that no other beats in size and error"));
}

void ParetoPlot::setData(ParetoData data) {
  m_data = std::move(data);
  m_cursor = -1;
  const auto front =
      std::count_if(m_data.points.begin(), m_data.points.end(), [](const ParetoPoint& p) { return !p.dominated; });
  setSummary(tr("%1 candidates, %2 on the front").arg(m_data.points.size()).arg(front));
  invalidate();
}

void ParetoPlot::clear() {
  setData({});
}

void ParetoPlot::setAxis(ParetoAxis axis) {
  m_axis = axis;
  invalidate();
}

double ParetoPlot::sizeOf(const ParetoPoint& point) const {
  return m_axis == ParetoAxis::BitsPerWeight ? point.bitsPerWeight : point.mebibytes;
}

QPointF ParetoPlot::pointPosition(int index) const {
  const ParetoPoint& p = m_data.points[static_cast<std::size_t>(index)];
  const QPointF place = toPixel({sizeOf(p), std::isfinite(p.sqnrDb) ? p.sqnrDb : 0});
  return std::isfinite(p.sqnrDb) ? place : QPointF(place.x(), axisArea().top() + ringRadius);
}

DataTable ParetoPlot::dataTable() const {
  DataTable table{{tr("scheme"), tr("bits per weight"), tr("MiB"), tr("SQNR dB"), tr("dominated"), tr("baseline")}, {}};
  for (const ParetoPoint& p : m_data.points) {
    table.rows.push_back(
        {p.text.isEmpty() ? p.label : p.text, p.bitsPerWeight, p.mebibytes, p.sqnrDb, p.dominated, p.baseline});
  }
  return table;
}

void ParetoPlot::rebuild() {
  double least = 1e300, most = 0, best = 0, worst = 0;
  for (const ParetoPoint& p : m_data.points) {
    least = std::min(least, sizeOf(p)), most = std::max(most, sizeOf(p));
    if (std::isfinite(p.sqnrDb)) best = std::max(best, p.sqnrDb), worst = std::min(worst, p.sqnrDb);
  }
  QCPAxis *x = chart()->xAxis, *y = chart()->yAxis;
  double low = std::floor(least), high = std::floor(most) + 1, step = high - low <= 8 ? 1 : niceStep(high - low, 7);
  if (m_axis == ParetoAxis::Mebibytes) {
    step = niceStep(std::max(most, 1e-9), 6);
    low = 0, high = std::ceil(most / step * 1.02) * step;
  }
  if (m_axis == ParetoAxis::BitsPerWeight && least - low < 0.12) low -= step;
  x->setRange(low, high);
  setTicks(x, stepTicks(low, high, step, false));
  const double bound = m_data.bounds.empty() || m_axis != ParetoAxis::BitsPerWeight
                           ? 0
                           : m_data.bounds.front().offsetDb + m_data.bounds.front().dbPerBit * high;
  const double top = std::max(best * 1.12, std::min(bound, best * 1.32)) + 1;
  y->setRange(std::floor(worst / 10) * 10, std::max(top, 10.0));
  setTicks(y, niceTicks(y->range().lower, y->range().upper, 7, true));
  setGrid(true, true);
  setTitles(m_axis == ParetoAxis::BitsPerWeight ? tr("true bits per weight") : tr("MiB"), tr("SQNR, dB"));
  addPainter(chart(), QStringLiteral("under"), true, [this](QPainter& p, const QRectF& area) { paintBounds(p, area, true); });
  addPainter(chart(), QStringLiteral("main"), true, [this](QPainter& p, const QRectF& area) {
    paintBounds(p, area, false);
    paintFront(p);
  });
  addPainter(chart(), QStringLiteral("overlay"), false, [this](QPainter& p, const QRectF& area) {
    paintKey(p, area);
    paintMarks(p);
    paintLabels(p, area);
  });
}

double ParetoPlot::bitsPerUnit() const {
  if (m_axis == ParetoAxis::BitsPerWeight) return 1;
  return m_data.weights > 0 ? 8.0 * 1024 * 1024 / m_data.weights : 0;
}

void ParetoPlot::paintBounds(QPainter& painter, const QRectF& area, bool band) const {
  const Theme& theme = themeOf(this);
  const double bits = bitsPerUnit();
  if (bits == 0) return;
  const QCPAxis *x = chart()->xAxis, *y = chart()->yAxis;
  painter.setRenderHint(QPainter::Antialiasing);
  for (std::size_t i = 0; i < m_data.bounds.size(); ++i) {
    const ParetoBound& bound = m_data.bounds[i];
    const auto at = [&](double size) { return QPointF(x->coordToPixel(size), y->coordToPixel(bound.offsetDb + bound.dbPerBit * bits * size)); };
    const double end = std::min(x->range().upper, bound.mostBits / bits);
    if (end <= x->range().lower) continue;
    const QPointF left = at(x->range().lower), right = at(end);
    if (band) {
      painter.setPen(Qt::NoPen);
      painter.setBrush(theme.band);
      const double top = std::min(area.top(), right.y());
      if (i == 0) painter.drawPolygon(QPolygonF({left, right, QPointF(right.x(), top), QPointF(left.x(), top)}));
      continue;
    }
    QPen dashes(theme.text2, 1.3);
    dashes.setDashPattern(QList<qreal>(bound.dash.begin(), bound.dash.end()));
    painter.setPen(dashes);
    painter.drawLine(left, right);
  }
}

// The lines lie too close for labels along them: their names stand in the corner that no candidate reaches.
void ParetoPlot::paintKey(QPainter& painter, const QRectF& area) const {
  if (bitsPerUnit() == 0) return;
  const Theme& theme = themeOf(this);
  painter.setFont(fonts::hint());
  double y = area.top() + 12;
  for (const ParetoBound& bound : m_data.bounds) {
    QPen dashes(theme.text2, 1.3);
    dashes.setDashPattern(QList<qreal>(bound.dash.begin(), bound.dash.end()));
    painter.setPen(dashes);
    painter.drawLine(QPointF(area.left() + 8, y), QPointF(area.left() + 34, y));
    drawHaloText(painter, QRectF(area.left() + 40, y - 8, 300, 16), Qt::AlignLeft | Qt::AlignVCenter, bound.label, theme.text2, theme.panel);
    y += 15;
  }
}

int ParetoPlot::boundAt(QPointF pixel) const {
  const double bits = bitsPerUnit();
  const QRectF area = axisArea();
  if (bits == 0 || !area.contains(pixel)) return -1;
  const int row = static_cast<int>(std::floor((pixel.y() - area.top() - 4.5) / 15));
  if (row >= 0 && row < static_cast<int>(m_data.bounds.size()) && pixel.x() < area.left() + 180) return row;
  const double size = chart()->xAxis->pixelToCoord(pixel.x());
  int nearest = -1;
  double least = 6;
  for (int i = 0; i < static_cast<int>(m_data.bounds.size()); ++i) {
    const ParetoBound& bound = m_data.bounds[static_cast<std::size_t>(i)];
    if (size * bits > bound.mostBits) continue;
    const double away = std::abs(chart()->yAxis->coordToPixel(bound.offsetDb + bound.dbPerBit * bits * size) - pixel.y());
    if (away < least) least = away, nearest = i;
  }
  return nearest;
}

void ParetoPlot::paintFront(QPainter& painter) const {
  std::vector<int> front;
  for (int i = 0; i < static_cast<int>(m_data.points.size()); ++i) {
    if (!m_data.points[static_cast<std::size_t>(i)].dominated) front.push_back(i);
  }
  std::sort(front.begin(), front.end(), [this](int a, int b) {
    const QPointF p = pointPosition(a), q = pointPosition(b);
    return p.x() != q.x() ? p.x() < q.x() : p.y() > q.y();
  });
  QPolygonF line;
  for (const int i : front) line << pointPosition(i);
  painter.setRenderHint(QPainter::Antialiasing);
  painter.setPen(QPen(themeOf(this).borderStrong, 1.5));
  painter.setBrush(Qt::NoBrush);
  painter.drawPolyline(line);
}

void ParetoPlot::paintMarks(QPainter& painter) const {
  const Theme& theme = themeOf(this);
  const auto paint = [&](int i) {
    const ParetoPoint& p = m_data.points[static_cast<std::size_t>(i)];
    QColor colour = familyColour(theme, p.family);
    if (p.dominated && !p.baseline) colour.setAlphaF(static_cast<float>(faded));
    drawMark(painter, pointPosition(i), markOf(p.family), colour, markSize);
  };
  const auto ring = [&](int i, const QPen& pen) {
    painter.setRenderHint(QPainter::Antialiasing);
    painter.setPen(pen);
    painter.setBrush(Qt::NoBrush);
    painter.drawEllipse(pointPosition(i), ringRadius, ringRadius);
  };
  // Faded ones first, the baseline last: it stands in front.
  for (const int pass : {0, 1, 2}) {
    for (int i = 0; i < static_cast<int>(m_data.points.size()); ++i) {
      const ParetoPoint& p = m_data.points[static_cast<std::size_t>(i)];
      if (pass != (p.baseline ? 2 : p.dominated ? 0 : 1)) continue;
      paint(i);
      if (p.baseline) ring(i, QPen(theme.accent, 2));
      if (p.selected && !p.baseline) ring(i, QPen(theme.accent, 1));
    }
  }
  if (m_cursor >= 0) ring(m_cursor, QPen(theme.text, 1));
}

void ParetoPlot::paintLabels(QPainter& painter, const QRectF& area) const {
  const Theme& theme = themeOf(this);
  std::vector<int> labelled;
  const auto wanted = [&](int i) {
    const ParetoPoint& p = m_data.points[static_cast<std::size_t>(i)];
    return p.baseline || !p.dominated || p.selected || i == m_cursor;
  };
  std::vector<QPointF> marks;
  for (int i = 0; i < static_cast<int>(m_data.points.size()); ++i) {
    marks.push_back(pointPosition(i));
    if (wanted(i)) labelled.push_back(i);
  }
  // Labels keep off the first bound's line too.
  if (!m_data.bounds.empty() && m_axis == ParetoAxis::BitsPerWeight) {
    const QCPAxis *x = chart()->xAxis, *y = chart()->yAxis;
    const ParetoBound& bound = m_data.bounds.front();
    for (double pixel = area.left(); pixel < area.right(); pixel += 12) {
      marks.emplace_back(pixel, y->coordToPixel(bound.offsetDb + bound.dbPerBit * x->pixelToCoord(pixel)) - 4);
    }
  }
  std::stable_sort(labelled.begin(), labelled.end(), [this](int a, int b) {
    const auto &p = m_data.points[static_cast<std::size_t>(a)], &q = m_data.points[static_cast<std::size_t>(b)];
    return p.baseline != q.baseline ? p.baseline : pointPosition(a).x() > pointPosition(b).x();
  });
  std::vector<LabelWish> wishes;
  const auto font = [this](int i) {
    return m_data.points[static_cast<std::size_t>(i)].baseline ? fonts::boldHint() : fonts::hint();
  };
  // Beside the baseline's ring, whoever's mark lies in it.
  const auto baseline = std::find_if(m_data.points.begin(), m_data.points.end(), [](const ParetoPoint& p) { return p.baseline; });
  const auto inRing = [&](int i) {
    return baseline != m_data.points.end() &&
           QLineF(pointPosition(i), pointPosition(static_cast<int>(baseline - m_data.points.begin()))).length() < ringRadius;
  };
  for (const int i : labelled) {
    const QFontMetricsF metrics(font(i));
    wishes.push_back({pointPosition(i),
                      QSizeF(metrics.horizontalAdvance(m_data.points[static_cast<std::size_t>(i)].label), metrics.height()),
                      inRing(i) ? ringRadius + 4 : markSize / 2 + 5});
  }
  const auto places = placeLabels(wishes, marks, area, markSize / 2 + 1, labelsApart);
  for (std::size_t k = 0; k < labelled.size(); ++k) {
    const ParetoPoint& p = m_data.points[static_cast<std::size_t>(labelled[k])];
    painter.setFont(font(labelled[k]));
    drawHaloText(painter, places[k], Qt::AlignLeft | Qt::AlignTop, p.label,
                 p.dominated && !p.baseline ? theme.text2 : theme.text, theme.panel);
  }
}

int ParetoPlot::pointAt(QPointF pixel) const {
  int nearest = -1;
  double least = hitRadius;
  for (int i = 0; i < static_cast<int>(m_data.points.size()); ++i) {
    const double away = QLineF(pointPosition(i), pixel).length();
    const bool infront = away == least && m_data.points[static_cast<std::size_t>(i)].baseline;
    if (away < least || infront) least = away, nearest = i;
  }
  return nearest;
}

void ParetoPlot::showPoint(int index) {
  if (m_cursor != index) emit pointHovered(index);
  m_cursor = index;
  update();
  if (index < 0) return void(emit hoverText({}));
  const ParetoPoint& p = m_data.points[static_cast<std::size_t>(index)];
  emit hoverText(
      tr("%1: %2 bpw, %3").arg(p.text.isEmpty() ? p.label : p.text, formatBpw(p.bitsPerWeight), formatSqnrWithUnit(p.sqnrDb)));
}

bool ParetoPlot::moveCursor(int dx, int dy) {
  std::vector<int> order;
  for (int i = 0; i < static_cast<int>(m_data.points.size()); ++i) order.push_back(i);
  std::stable_sort(order.begin(), order.end(), [this](int a, int b) { return pointPosition(a).x() < pointPosition(b).x(); });
  const auto found = std::find(order.begin(), order.end(), m_cursor);
  const int at = found == order.end() ? -1 : static_cast<int>(found - order.begin());
  showPoint(order[static_cast<std::size_t>(std::clamp(at + dx + dy, 0, static_cast<int>(order.size()) - 1))]);
  return true;
}

void ParetoPlot::mouseMoveEvent(QMouseEvent* event) {
  const int point = isEmpty() ? -1 : pointAt(event->position());
  showPoint(point);
  const int bound = isEmpty() || point >= 0 ? -1 : boundAt(event->position());
  const QString tip = bound >= 0 ? m_data.bounds[static_cast<std::size_t>(bound)].tip : QString();
  setToolTip(tip.isEmpty() ? tr("Each mark is a candidate; the line joins those that no other beats in size and error") : tip);
  if (bound >= 0) emit hoverText(m_data.bounds[static_cast<std::size_t>(bound)].label);
}

void ParetoPlot::leaveEvent(QEvent* event) {
  showPoint(-1);
  ChartWidget::leaveEvent(event);
}

void ParetoPlot::mousePressEvent(QMouseEvent* event) {
  PlotWidget::mousePressEvent(event);
  if (isEmpty() || event->button() != Qt::LeftButton) return;
  if (const int index = pointAt(event->position()); index >= 0) emit pointClicked(index);
}

void ParetoPlot::keyPressEvent(QKeyEvent* event) {
  const bool enters = event->key() == Qt::Key_Return || event->key() == Qt::Key_Enter || event->key() == Qt::Key_Space;
  if (enters && m_cursor >= 0) return void(emit pointClicked(m_cursor));
  PlotWidget::keyPressEvent(event);
}

}  // namespace nibble
