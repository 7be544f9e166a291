// SPDX-License-Identifier: GPL-3.0-or-later
#include "ui/plots/matrix_plot.h"

#include "ui/plots/matrix_painting.h"
#include "ui/plots/matrix_view.h"
#include "ui/theme/number_text.h"
#include "ui/theme/theme.h"

#include <QMouseEvent>
#include <QPainter>
#include <QWheelEvent>
#include <algorithm>
#include <cmath>

namespace nibble {
namespace {

constexpr QMargins fullMargins(46, 8, 78, 36), scaleMargins(0, 5, 78, 5);
constexpr double dragDistance = 4;

}  // namespace

struct MatrixPlot::State {
  MatrixPlotData data;
  MatrixLook look = MatrixLook::Full;
  QMargins margins = fullMargins;
  MatrixView view;
  PooledMatrix picture;
  QImage coloured;
  std::pair<double, double> coloursFor{0, 0};
  bool pictureDue = false, colourDue = false;
  std::optional<MatrixRegion> group;
  std::optional<Cell> chosen, cursor;
  enum class Drag { None, Press, Band, Pan } drag = Drag::None;
  QPointF pressed, now;
  MatrixRegion pannedFrom;
};

MatrixPlotData matrixOf(std::shared_ptr<const std::vector<float>> values, std::uint64_t columns, ColourScale scale,
                        Pooling mode) {
  MatrixPlotData data;
  data.rows = columns > 0 ? values->size() / columns : 0;
  data.columns = columns;
  data.scale = scale;
  data.pooled = [values, columns, mode](const MatrixRegion& region, int width, int height) {
    return pool(*values, columns, region, width, height, mode);
  };
  data.cellText = [values, columns](std::uint64_t row, std::uint64_t column) {
    return MatrixPlot::tr("row %1, column %2: %3").arg(row).arg(column).arg(formatFixed((*values)[row * columns + column], 4));
  };
  return data;
}

MatrixPlot::MatrixPlot(QWidget* parent, const QString& objectName)
    : PlotWidget(objectName, tr("Matrix"), parent), m_state(std::make_unique<State>()) {
  setToolTip(tr("Wheel or drag: closer; middle button or Shift: move; double click: all"));
}

MatrixPlot::~MatrixPlot() = default;

void MatrixPlot::setLook(MatrixLook look) {
  m_state->look = look;
  m_state->margins = look == MatrixLook::Full ? fullMargins : look == MatrixLook::WithScale ? scaleMargins : QMargins();
  setMinimumSize(24, 24);
  update();
}

void MatrixPlot::setData(MatrixPlotData data) {
  State& s = *m_state;
  const bool sameShape = data.rows == s.data.rows && data.columns == s.data.columns;
  s.data = std::move(data);
  s.pictureDue = true;
  if (!sameShape) {
    s.view.rows = s.data.rows, s.view.columns = s.data.columns;
    s.view.region = s.view.whole();
    s.picture = {};
    s.group.reset(), s.chosen.reset(), s.cursor.reset();
    s.drag = State::Drag::None;
  }
  setSummary(tr("%1 rows, %2 columns").arg(formatCount(s.data.rows), formatCount(s.data.columns)));
}

void MatrixPlot::clear() {
  setData({});
}

void MatrixPlot::setPicture(PooledMatrix picture) {
  m_state->picture = std::move(picture);
  m_state->pictureDue = false;
  m_state->colourDue = true;
  update();
}

const PooledMatrix& MatrixPlot::picture() const {
  return m_state->picture;
}

QSize MatrixPlot::pictureSize() const {
  return (QSizeF(mapArea().size()) * devicePixelRatioF()).toSize();
}

MatrixRegion MatrixPlot::region() const {
  return m_state->view.region;
}

double MatrixPlot::rowsPerPixel() const {
  return mapArea().height() > 0 ? static_cast<double>(region().rows()) / mapArea().height() : 0;
}

QRect MatrixPlot::mapArea() const {
  return rect().marginsRemoved(m_state->margins);
}

QRectF MatrixPlot::cellRect(std::uint64_t row, std::uint64_t column) const {
  MatrixView view = m_state->view;
  view.area = mapArea();
  return view.rectOf({row, row + 1, column, column + 1});
}

void MatrixPlot::setSelection(std::optional<MatrixRegion> group, std::optional<std::pair<std::uint64_t, std::uint64_t>> cell) {
  m_state->group = group;
  m_state->chosen = cell;
  update();
}

DataTable MatrixPlot::dataTable() const {
  const PooledMatrix& p = m_state->picture;
  DataTable table{{tr("row")}, {}};
  for (int x = 0; x < p.width; ++x) {
    const auto first = p.region.columnBegin +
                       firstCell(static_cast<std::uint64_t>(x), p.region.columns(), static_cast<std::uint64_t>(p.width));
    table.headers << QString::number(first);
  }
  for (int y = 0; y < p.height; ++y) {
    const auto first =
        p.region.rowBegin + firstCell(static_cast<std::uint64_t>(y), p.region.rows(), static_cast<std::uint64_t>(p.height));
    QVariantList row{static_cast<qulonglong>(first)};
    for (int x = 0; x < p.width; ++x)
      row << p.values[static_cast<std::size_t>(y) * static_cast<std::size_t>(p.width) + static_cast<std::size_t>(x)];
    table.rows.push_back(std::move(row));
  }
  return table;
}

bool MatrixPlot::isEmpty() const {
  return m_state->data.rows == 0 || m_state->data.columns == 0;
}

void MatrixPlot::setRegion(const MatrixRegion& wanted) {
  State& s = *m_state;
  if (isEmpty() || wanted.rowEnd <= wanted.rowBegin || wanted.columnEnd <= wanted.columnBegin) return;
  const MatrixRegion next = s.view.clamped(wanted), before = s.view.region;
  if (next == before) return;
  s.view.region = next;
  s.pictureDue = true;
  update();
  if (next.rowBegin != before.rowBegin || next.rowEnd != before.rowEnd) emit rowRangeChanged(next.rowBegin, next.rowEnd);
  emit regionChanged(next);
}

void MatrixPlot::setRowRange(quint64 begin, quint64 end) {
  setRegion({begin, end, region().columnBegin, region().columnEnd});
}

void MatrixPlot::showAll() {
  setRegion(m_state->view.whole());
}

void MatrixPlot::renderTo(QPaintDevice* device, QSize size) {
  State& s = *m_state;
  QPainter painter(device);
  if (isEmpty()) return paintEmpty(painter, QRect(QPoint(), size));
  s.view.area = QRect(QPoint(), size).marginsRemoved(s.margins);
  if (!s.view.valid()) return painter.fillRect(QRect(QPoint(), size), themeOf(this).panel);
  if (s.pictureDue && s.data.pooled) {
    s.pictureDue = false;
    if (PooledMatrix fresh = s.data.pooled(s.view.region, pictureSize().width(), pictureSize().height()); fresh.width > 0) {
      s.picture = std::move(fresh);
      s.colourDue = true;
    }
  }
  const Theme& theme = themeOf(this);
  if (s.colourDue) {
    s.coloursFor = scaleRange(s.picture, s.data.scale, s.data.low, s.data.high);
    s.coloured =
        colouredImage(s.picture, ColourMap(s.data.scale, theme.dark, s.coloursFor.first, s.coloursFor.second, theme.bad));
    s.colourDue = false;
  }
  const ColourMap colours(s.data.scale, theme.dark, s.coloursFor.first, s.coloursFor.second, theme.bad);
  MatrixPainting painting{s.view, theme, colours, s.data.decimals};
  painting.ground(painter, size);
  painting.map(painter, s.coloured, s.picture);
  if (s.look == MatrixLook::Full) painting.axes(painter, tr("column (input)"), tr("row (output)"));
  if (s.look != MatrixLook::Bare) painting.colourScale(painter, s.data.low == s.data.high);
  if (s.group) painting.frame(painter, *s.group, s.chosen);
  if (s.cursor) painting.cursor(painter, *s.cursor);
  if (s.drag == State::Drag::Band) painting.band(painter, QRectF(s.pressed, s.now).normalized());
}

void MatrixPlot::recolour() {
  m_state->colourDue = true;
}

void MatrixPlot::paintEvent(QPaintEvent* /*event*/) {
  renderTo(this, size());
}

void MatrixPlot::resizeEvent(QResizeEvent* event) {
  PlotWidget::resizeEvent(event);
  m_state->pictureDue = true;
  m_state->view.area = mapArea();
}

void MatrixPlot::wheelEvent(QWheelEvent* event) {
  if (isEmpty() || event->angleDelta().y() == 0 || !m_state->view.area.contains(event->position())) return event->ignore();
  setRegion(m_state->view.zoomed(event->position(), std::pow(1.25, -event->angleDelta().y() / 120.0)));
  event->accept();
}

void MatrixPlot::mousePressEvent(QMouseEvent* event) {
  State& s = *m_state;
  if (isEmpty() || !s.view.area.contains(event->position())) return;
  const bool wantsPan = event->button() == Qt::MiddleButton ||
                        (event->button() == Qt::LeftButton && event->modifiers().testFlag(Qt::ShiftModifier));
  if (!wantsPan && event->button() != Qt::LeftButton) return;
  s.drag = wantsPan ? State::Drag::Pan : State::Drag::Press;
  s.pressed = s.now = event->position();
  s.pannedFrom = s.view.region;
}

void MatrixPlot::mouseMoveEvent(QMouseEvent* event) {
  State& s = *m_state;
  s.now = event->position();
  const QPointF way = s.now - s.pressed;
  if (s.drag == State::Drag::Press && std::hypot(way.x(), way.y()) > dragDistance) s.drag = State::Drag::Band;
  if (s.drag == State::Drag::Pan) {
    MatrixView start = s.view;
    start.region = s.pannedFrom;
    setRegion(start.moved(-way.y() / start.cellHeight(), -way.x() / start.cellWidth()));
  }
  const auto cell = isEmpty() ? std::nullopt : s.view.cellAt(s.now);
  emit hoverText(cell && s.data.cellText ? s.data.cellText(cell->first, cell->second) : QString());
  if (s.drag != State::Drag::None) update();
}

void MatrixPlot::mouseReleaseEvent(QMouseEvent* event) {
  State& s = *m_state;
  const auto drag = std::exchange(s.drag, State::Drag::None);
  if (drag == State::Drag::Band) setRegion(s.view.within(QRectF(s.pressed, event->position())));
  if (drag == State::Drag::Press) {
    if (const auto cell = s.view.cellAt(event->position())) {
      s.cursor.reset();
      emit cellClicked(cell->first, cell->second);
    }
  }
  update();
}

void MatrixPlot::mouseDoubleClickEvent(QMouseEvent* event) {
  if (event->button() == Qt::LeftButton) showAll();
}

bool MatrixPlot::moveCursor(int dx, int dy) {
  State& s = *m_state;
  const MatrixRegion& r = s.view.region;
  const Cell from = s.cursor ? *s.cursor : s.chosen ? *s.chosen : Cell{r.rowBegin, r.columnBegin};
  const auto step = [](std::uint64_t at, int by, std::uint64_t count) {
    const auto wide = static_cast<std::int64_t>(std::abs(by) > 1 ? count : 1) * (by > 0 ? 1 : by < 0 ? -1 : 0);
    return static_cast<std::uint64_t>(
        std::clamp<std::int64_t>(static_cast<std::int64_t>(at) + wide, 0, static_cast<std::int64_t>(count) - 1));
  };
  s.cursor = Cell{step(from.first, dy, s.data.rows), step(from.second, dx, s.data.columns)};
  const auto [row, column] = *s.cursor;
  const double down = row < r.rowBegin  ? -static_cast<double>(r.rowBegin - row)
                      : row >= r.rowEnd ? static_cast<double>(row - r.rowEnd + 1)
                                        : 0;
  const double right = column < r.columnBegin  ? -static_cast<double>(r.columnBegin - column)
                       : column >= r.columnEnd ? static_cast<double>(column - r.columnEnd + 1)
                                               : 0;
  setRegion(s.view.moved(down, right));
  if (s.data.cellText) emit hoverText(s.data.cellText(row, column));
  update();
  return true;
}

void MatrixPlot::keyPressEvent(QKeyEvent* event) {
  State& s = *m_state;
  if (isEmpty()) return PlotWidget::keyPressEvent(event);
  const auto centre = [&] {
    return s.cursor ? cellRect(s.cursor->first, s.cursor->second).center() : QRectF(mapArea()).center();
  };
  switch (event->key()) {
    case Qt::Key_Plus:
    case Qt::Key_Equal:
      return setRegion(s.view.zoomed(centre(), 0.5));
    case Qt::Key_Minus:
      return setRegion(s.view.zoomed(centre(), 2));
    case Qt::Key_Return:
    case Qt::Key_Enter:
    case Qt::Key_Space:
      if (s.cursor) emit cellClicked(s.cursor->first, s.cursor->second);
      return;
    case Qt::Key_Escape:
      if (region() == s.view.whole()) break;
      return showAll();
    default:
      break;
  }
  PlotWidget::keyPressEvent(event);
}

}  // namespace nibble
