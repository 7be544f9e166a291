// SPDX-License-Identifier: GPL-3.0-or-later
#include "ui/plots/microscope_plot.h"

#include "ui/plots/chart_tools.h"
#include "ui/theme/number_text.h"
#include "ui/theme/theme.h"

#include <QMouseEvent>
#include <QPainter>
#include <algorithm>
#include <cmath>
#include <functional>

namespace nibble {
namespace {

constexpr double sideMargin = 24, levelTop = 23, axisFromBottom = 22, grabRadius = 11, closestLevels = 3;

enum class Handle { None, Scale, Zero };

}  // namespace

struct MicroscopePlot::State {
  MicroscopeData data;
  double low = 0, high = 1;  // values at the ends of the axis
  Handle drag = Handle::None;
  double pressedAt = 0, zeroOffset = 0;  // value under the pointer at the start; how far the zero handle was pulled
  double startScale = 0, startZero = 0, startLevel = 0;
  double width = 1, height = 1;  // of the last layout

  [[nodiscard]] double pixel(double value) const {
    return sideMargin + (value - low) / (high - low) * (width - 2 * sideMargin);
  }
  [[nodiscard]] double value(double pixel) const {
    return low + (pixel - sideMargin) / (width - 2 * sideMargin) * (high - low);
  }
  [[nodiscard]] double axisY() const { return height - axisFromBottom; }
  [[nodiscard]] double levelBottom() const { return levelTop + 0.40 * (axisY() - levelTop); }
  [[nodiscard]] double fanBottom() const { return levelTop + 0.754 * (axisY() - levelTop); }
  [[nodiscard]] int handleLevel() const;
  [[nodiscard]] std::vector<int> ascendingCodes() const;
  void fitAxis();
};

// The last level carries the handle, unless it lies so near 0 that a small pull would mean a huge change: then the first.
int MicroscopePlot::State::handleLevel() const {
  const auto order = ascendingCodes();
  if (order.empty()) return -1;
  const double first = data.levels[static_cast<std::size_t>(order.front())],
               last = data.levels[static_cast<std::size_t>(order.back())];
  return std::abs(last) >= 0.1 * std::abs(first) ? order.back() : order.front();
}

std::vector<int> MicroscopePlot::State::ascendingCodes() const {
  std::vector<int> order;
  for (std::size_t code = 0; code < data.levels.size(); ++code) {
    if (std::isfinite(data.levels[code])) order.push_back(static_cast<int>(code));
  }
  std::stable_sort(order.begin(), order.end(), [this](int a, int b) {
    return data.levels[static_cast<std::size_t>(a)] < data.levels[static_cast<std::size_t>(b)];
  });
  return order;
}

void MicroscopePlot::State::fitAxis() {
  low = 0, high = 0;
  for (const auto* list : {&data.weights, &data.levels}) {
    for (const double v : *list) {
      if (std::isfinite(v)) low = std::min(low, v), high = std::max(high, v);
    }
  }
  const double pad = high > low ? 0.05 * (high - low) : 1;
  low -= pad, high += pad;
}

MicroscopePlot::MicroscopePlot(QWidget* parent, const QString& objectName)
    : PlotWidget(objectName, tr("Microscope"), parent), m_state(std::make_unique<State>()) {
  setMinimumHeight(100);
  m_emptyText = tr("Click a cell of the matrix to see its group");
}

MicroscopePlot::~MicroscopePlot() = default;

void MicroscopePlot::setData(MicroscopeData data) {
  State& s = *m_state;
  s.data = std::move(data);
  if (isEmpty()) s.drag = Handle::None;
  if (s.drag == Handle::None) s.fitAxis();
  setSummary(tr("%1 weights, %2 levels").arg(s.data.weights.size()).arg(s.data.levels.size()));
}

void MicroscopePlot::clear() {
  setData({});
}

QPointF MicroscopePlot::scaleHandle() const {
  State& s = *m_state;
  s.width = width(), s.height = height();
  const int code = s.handleLevel();
  if (code < 0) return {};
  return {s.pixel(s.data.levels[static_cast<std::size_t>(code)]), (levelTop + s.levelBottom()) / 2};
}

QPointF MicroscopePlot::zeroHandle() const {
  State& s = *m_state;
  s.width = width(), s.height = height();
  return {s.pixel(s.zeroOffset), s.axisY()};
}

double MicroscopePlot::toPixel(double value) const {
  m_state->width = width();
  return m_state->pixel(value);
}

DataTable MicroscopePlot::dataTable() const {
  const MicroscopeData& d = m_state->data;
  DataTable table{{tr("index"), tr("weight"), tr("code"), tr("level"), tr("error")}, {}};
  for (std::size_t i = 0; i < d.weights.size(); ++i) {
    const int code = i < d.codes.size() ? d.codes[i] : -1;
    const bool known = code >= 0 && code < static_cast<int>(d.levels.size());
    const double level = known ? d.levels[static_cast<std::size_t>(code)] : std::nan("");
    table.rows.push_back({static_cast<int>(i), d.weights[i], code, level, d.weights[i] - level});
  }
  return table;
}

bool MicroscopePlot::isEmpty() const {
  return m_state->data.weights.empty();
}

namespace {

// What one repaint needs at hand.
struct Painting {
  QPainter& painter;
  const Theme& theme;
  const MicroscopeData& data;
  QColor colour;
  std::vector<int> order;
  std::vector<double> pixels;  // of the levels, by order
  double levelBottom, fanBottom, axisY;

  void axis(double low, double high, double left, double right, double perValue) const {
    painter.setRenderHint(QPainter::Antialiasing, false);
    painter.setPen(QPen(theme.borderStrong, 1));
    painter.drawLine(QPointF(left, axisY), QPointF(right, axisY));
    painter.setFont(fonts::hint());
    const double line = QFontMetricsF(painter.font()).height();
    for (const Tick& tick : niceTicks(low, high, std::clamp(static_cast<int>((right - left) / 80), 2, 10), true)) {
      const double x = left + (tick.position - low) * perValue;
      painter.setPen(QPen(theme.axis, 1));
      painter.drawLine(QPointF(std::floor(x), axisY), QPointF(std::floor(x), axisY + 4));
      painter.setPen(theme.text2);
      painter.drawText(QRectF(x - 40, axisY + 5, 80, line), Qt::AlignCenter, tick.text);
    }
  }

  void levels() const {
    drawLevelLines();
    QFont font = fonts::fixed();
    QFont bold = font;
    bold.setBold(true);
    const int chosen = data.selected >= 0 && data.selected < static_cast<int>(data.codes.size())
                           ? data.codes[static_cast<std::size_t>(data.selected)]
                           : -1;
    const double room = QFontMetricsF(bold).horizontalAdvance(QString::number(order.back())) + 6;
    double chosenAt = -1e9, last = -1e9;
    for (std::size_t i = 0; i < order.size(); ++i) {
      if (order[i] == chosen) chosenAt = pixels[i];
    }
    for (std::size_t i = 0; i < order.size(); ++i) {
      const bool isChosen = order[i] == chosen;
      if (!isChosen && (pixels[i] - last < room || std::abs(pixels[i] - chosenAt) < room)) continue;
      last = pixels[i];
      painter.setFont(isChosen ? bold : font);
      painter.setPen(theme.text);
      painter.drawText(QRectF(pixels[i] - 30, 4, 60, 18), Qt::AlignCenter, QString::number(order[i]));
    }
  }

  void drawLevelLines() const {
    const bool dense =
        pixels.size() > 1 && (pixels.back() - pixels.front()) / static_cast<double>(pixels.size() - 1) < closestLevels;
    if (dense) return drawLevels(painter, pixels, levelTop, levelBottom, colour);
    painter.setRenderHint(QPainter::Antialiasing);
    painter.setPen(QPen(colour, 2, Qt::SolidLine, Qt::FlatCap));
    for (const double x : pixels) painter.drawLine(QPointF(x, levelTop), QPointF(x, levelBottom));
  }

  // From each weight to the level of its code; the chosen one last, over the others.
  void fans(const std::function<double(double)>& pixel) const {
    const auto draw = [&](std::size_t i, const QPen& pen) {
      const int code = i < data.codes.size() ? data.codes[i] : -1;
      if (code < 0 || code >= static_cast<int>(data.levels.size())) return;
      const double level = pixel(data.levels[static_cast<std::size_t>(code)]), weight = pixel(data.weights[i]);
      painter.setPen(pen);
      painter.drawPolyline(QPolygonF({QPointF(level, levelBottom), QPointF(weight, fanBottom), QPointF(weight, axisY)}));
    };
    painter.setRenderHint(QPainter::Antialiasing);
    painter.setBrush(Qt::NoBrush);
    for (std::size_t i = 0; i < data.weights.size(); ++i) draw(i, QPen(theme.text3, 1));
    if (data.selected >= 0 && data.selected < static_cast<int>(data.weights.size())) {
      draw(static_cast<std::size_t>(data.selected), QPen(theme.accent, 2));
    }
  }

  void zeroLine(double x) const {
    QPen dots(theme.text3, 1);
    dots.setDashPattern({3, 3});
    painter.setRenderHint(QPainter::Antialiasing);
    painter.setPen(dots);
    painter.drawLine(QPointF(x, levelTop), QPointF(x, axisY));
  }

  void zeroHandle(double x, const QString& label) const {
    painter.setPen(QPen(theme.text, 1.5));
    painter.setBrush(theme.panel);
    const QPointF c(x, axisY);
    painter.drawPolygon(QPolygonF({c + QPointF(0, -7), c + QPointF(7, 0), c + QPointF(0, 7), c + QPointF(-7, 0)}));
    painter.setFont(fonts::hint());
    painter.setPen(theme.text2);
    painter.drawText(QRectF(x + 7, axisY + 5, 60, QFontMetricsF(painter.font()).height()), Qt::AlignLeft | Qt::AlignVCenter,
                     label);
  }

  // A line one step long that ends in the circle.
  void scaleHandle(int code, double width, const QString& label) const {
    const auto at = static_cast<std::size_t>(std::find(order.begin(), order.end(), code) - order.begin());
    const bool isLast = at + 1 == order.size();
    const QPointF c(pixels[at], (levelTop + levelBottom) / 2);
    painter.setPen(QPen(theme.text, 1.8));
    painter.setBrush(theme.panel);
    painter.drawLine(QPointF(pixels[isLast ? at - 1 : at + 1], c.y()), c);
    painter.drawEllipse(c, 5.5, 5.5);
    painter.setFont(fonts::hint());
    painter.setPen(theme.text2);
    const QFontMetricsF metrics(painter.font());
    const double wide = metrics.horizontalAdvance(label);
    const double left = isLast && c.x() + 9 + wide < width ? c.x() + 9 : c.x() - 9 - wide;
    painter.drawText(QRectF(left, c.y() - metrics.height() / 2, wide + 1, metrics.height()), Qt::AlignLeft | Qt::AlignVCenter,
                     label);
  }
};

}  // namespace

void MicroscopePlot::renderTo(QPaintDevice* device, QSize size) {
  State& s = *m_state;
  QPainter painter(device);
  if (isEmpty()) return paintEmpty(painter, QRect(QPoint(), size));
  s.width = size.width(), s.height = size.height();
  const Theme& theme = themeOf(this);
  painter.fillRect(QRect(QPoint(), size), theme.panel);
  Painting p{painter,         theme,         s.data,   familyColour(theme, s.data.family), s.ascendingCodes(), {},
             s.levelBottom(), s.fanBottom(), s.axisY()};
  for (const int code : p.order) p.pixels.push_back(s.pixel(s.data.levels[static_cast<std::size_t>(code)]));
  p.axis(s.low, s.high, sideMargin, s.width - sideMargin, (s.width - 2 * sideMargin) / (s.high - s.low));
  p.zeroLine(s.pixel(s.zeroOffset));
  if (!p.order.empty()) p.levels();
  p.fans([&s](double value) { return s.pixel(value); });
  if (s.data.zeroDraggable) p.zeroHandle(s.pixel(s.zeroOffset), tr("zero"));
  if (s.data.scaleDraggable && p.pixels.size() > 1) p.scaleHandle(s.handleLevel(), s.width, tr("scale"));
}

void MicroscopePlot::recolour() {
  update();
}

void MicroscopePlot::paintEvent(QPaintEvent* /*event*/) {
  renderTo(this, size());
}

bool MicroscopePlot::moveCursor(int dx, int /*dy*/) {
  State& s = *m_state;
  if (dx == 0) return false;
  const int last = static_cast<int>(s.data.weights.size()) - 1;
  emit weightClicked(std::clamp(s.data.selected + dx, 0, last));
  return true;
}

void MicroscopePlot::keyPressEvent(QKeyEvent* event) {
  const MicroscopeData& d = m_state->data;
  const int way = event->key() == Qt::Key_Right ? 1 : event->key() == Qt::Key_Left ? -1 : 0;
  const bool control = event->modifiers().testFlag(Qt::ControlModifier), shift = event->modifiers().testFlag(Qt::ShiftModifier);
  if (isEmpty() || (event->key() != Qt::Key_Escape && !(control && way != 0))) return PlotWidget::keyPressEvent(event);
  if (event->key() == Qt::Key_Escape) {
    emit resetRequested();
  } else if (shift && d.scaleDraggable) {
    emit scaleDragged(d.scale * (1 + way / 64.0));
    emit dragFinished();
  } else if (!shift && d.zeroDraggable) {
    emit zeroDragged(d.zero - way / 8.0);
    emit dragFinished();
  }
}

void MicroscopePlot::mousePressEvent(QMouseEvent* event) {
  State& s = *m_state;
  if (isEmpty() || event->button() != Qt::LeftButton) return;
  const auto hits = [&](QPointF handle) { return QLineF(handle, event->position()).length() <= grabRadius; };
  s.drag = s.data.scaleDraggable && hits(scaleHandle()) ? Handle::Scale
           : s.data.zeroDraggable && hits(zeroHandle()) ? Handle::Zero
                                                        : Handle::None;
  if (s.drag != Handle::None) {
    const int code = s.handleLevel();
    s.startLevel = code >= 0 ? s.data.levels[static_cast<std::size_t>(code)] : 0;
    s.pressedAt = s.value(event->position().x());
    s.startScale = s.data.scale, s.startZero = s.data.zero;
    return;
  }
  int nearest = -1;
  double best = 6;
  for (std::size_t i = 0; i < s.data.weights.size() && event->position().y() > s.levelBottom(); ++i) {
    const double away = std::abs(s.pixel(s.data.weights[i]) - event->position().x());
    if (away < best) best = away, nearest = static_cast<int>(i);
  }
  if (nearest >= 0) emit weightClicked(nearest);
}

void MicroscopePlot::mouseMoveEvent(QMouseEvent* event) {
  State& s = *m_state;
  if (isEmpty()) return;
  s.width = width(), s.height = height();
  const double at = s.value(event->position().x()), moved = at - s.pressedAt;
  if (s.drag == Handle::Scale && s.startLevel != 0) {
    // The handle's level follows the pointer: scale' = scale * level' / level.
    emit scaleDragged(s.startScale * std::max((s.startLevel + moved) / s.startLevel, 0.02));
  } else if (s.drag == Handle::Zero && s.startScale != 0) {
    // Pulling the comb of levels by its zero: values shift by `moved`, the zero in codes by the opposite.
    s.zeroOffset = moved;
    emit zeroDragged(s.startZero - moved / s.startScale);
    update();
  }
  const auto hits = [&](QPointF handle) { return QLineF(handle, event->position()).length() <= grabRadius; };
  const bool over = (s.data.scaleDraggable && hits(scaleHandle())) || (s.data.zeroDraggable && hits(zeroHandle()));
  setCursor(over || s.drag != Handle::None ? Qt::SizeHorCursor : Qt::ArrowCursor);
  emit hoverText(over || s.drag != Handle::None ? QString() : formatFixed(at, 4));  // a handle leaves the line to what would be
}

void MicroscopePlot::mouseReleaseEvent(QMouseEvent* /*event*/) {
  State& s = *m_state;
  if (std::exchange(s.drag, Handle::None) == Handle::None) return;
  s.zeroOffset = 0;
  s.fitAxis();
  update();
  emit dragFinished();
}

void MicroscopePlot::mouseDoubleClickEvent(QMouseEvent* event) {
  const auto hits = [&](QPointF handle) { return QLineF(handle, event->position()).length() <= grabRadius; };
  if (!isEmpty() &&
      ((m_state->data.scaleDraggable && hits(scaleHandle())) || (m_state->data.zeroDraggable && hits(zeroHandle())))) {
    emit resetRequested();
  }
}

}  // namespace nibble
