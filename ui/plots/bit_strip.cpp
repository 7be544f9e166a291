// SPDX-License-Identifier: GPL-3.0-or-later
#include "ui/plots/bit_strip.h"

#include "ui/theme/number_text.h"
#include "ui/theme/theme.h"

#include <QMouseEvent>
#include <QPainter>
#include <QWheelEvent>
#include <algorithm>

namespace nibble {
namespace {

constexpr int firstColumn = 102, columnGap = 8, cellWidth = 11, stripHeight = 104;
constexpr int weightRow = 4, codeRow = 27, bitsRow = 51, hexRow = 78;

// What one column's painting needs at hand.
struct ColumnPainter {
  QPainter& painter;
  const Theme& theme;
  QColor colour;

  void cells(const QRect& place, const std::vector<bool>& bits) const {
    const double width = static_cast<double>(place.width() + 1) / static_cast<double>(bits.size());
    QFont plain = fonts::fixed(), bold = plain;
    bold.setBold(true);
    for (std::size_t i = 0; i < bits.size(); ++i) {
      const QRect cell(
          place.left() + static_cast<int>(static_cast<double>(i) * width), place.top(),
          static_cast<int>(static_cast<double>(i + 1) * width) - static_cast<int>(static_cast<double>(i) * width) - 1,
          place.height());
      painter.fillRect(cell, bits[i] ? colour : theme.sunken);
      painter.setFont(bits[i] ? bold : plain);
      painter.setPen(bits[i] ? theme.inkOnFamily : theme.text2);
      painter.drawText(cell, Qt::AlignCenter, QChar(bits[i] ? '1' : '0'));
    }
  }

  void hex(const QRect& place, const std::vector<HexDigit>& digits) const {
    if (digits.empty()) return;
    painter.fillRect(place, theme.sunken);
    QFont plain = fonts::fixed(), bold = plain;
    bold.setBold(true);
    const double width = static_cast<double>(place.width()) / static_cast<double>(digits.size());
    for (std::size_t i = 0; i < digits.size(); ++i) {
      const QRectF cell(place.left() + static_cast<double>(i) * width, place.top(), width, place.height());
      if (digits[i].ours) painter.fillRect(cell, mixed(colour, theme.panel, theme.dark ? 0.28 : 0.35));
      painter.setFont(digits[i].ours ? bold : plain);
      painter.setPen(digits[i].ours ? theme.text : theme.text3);
      painter.drawText(cell, Qt::AlignCenter, QChar(digits[i].digit));
    }
    painter.setPen(theme.border);
    painter.setBrush(Qt::NoBrush);
    painter.drawRect(place.adjusted(0, 0, -1, -1));
  }
};

}  // namespace

BitStrip::BitStrip(QWidget* parent, const QString& objectName) : PlotWidget(objectName, tr("Bit strip"), parent) {
  setMinimumHeight(stripHeight);
  setFixedHeight(stripHeight);
  m_emptyText = QString();
}

void BitStrip::setData(BitStripData data) {
  m_data = std::move(data);
  std::size_t cells = 4;
  for (const BitColumn& column : m_data.columns) cells = std::max({cells, column.bits.size(), column.hex.size()});
  m_columnWidth = static_cast<int>(cells) * cellWidth + 2 + columnGap;
  setSummary(tr("%1 weights, %2 %3").arg(m_data.columns.size()).arg(m_data.place, m_data.bitRange));
  setToolTip(m_data.where);
  scrollTo(m_data.selected);
}

void BitStrip::clear() {
  setData({});
}

QSize BitStrip::sizeHint() const {
  return {720, stripHeight};
}
QSize BitStrip::minimumSizeHint() const {
  return {240, stripHeight};
}

int BitStrip::visibleColumns() const {
  return std::max(1, (width() - firstColumn - 4) / m_columnWidth);
}

QRect BitStrip::columnRect(int index) const {
  if (index < m_first || index >= m_first + visibleColumns() || index >= static_cast<int>(m_data.columns.size())) return {};
  return {firstColumn + (index - m_first) * m_columnWidth, 2, m_columnWidth, stripHeight - 4};
}

// Shows the chosen column where it is, moves only when it would be out of sight.
void BitStrip::scrollTo(int index) {
  const int count = static_cast<int>(m_data.columns.size()), visible = visibleColumns();
  if (index >= 0 && (index < m_first || index >= m_first + visible)) m_first = index - visible / 2;
  m_first = std::clamp(m_first, 0, std::max(0, count - visible));
  update();
}

DataTable BitStrip::dataTable() const {
  DataTable table{{tr("index"), tr("weight"), tr("code"), tr("bits"), tr("hex")}, {}};
  for (std::size_t i = 0; i < m_data.columns.size(); ++i) {
    const BitColumn& c = m_data.columns[i];
    QString bits, hex;
    for (const bool bit : c.bits) bits += QLatin1Char(bit ? '1' : '0');
    for (const HexDigit& digit : c.hex) hex += QLatin1Char(digit.digit);
    table.rows.push_back({static_cast<int>(i), c.weight, c.code, bits, hex});
  }
  return table;
}

void BitStrip::renderTo(QPaintDevice* device, QSize size) {
  QPainter painter(device);
  if (isEmpty()) return paintEmpty(painter, QRect(QPoint(), size));
  const Theme& theme = themeOf(this);
  painter.fillRect(QRect(QPoint(), size), theme.panel);
  painter.fillRect(0, 0, size.width(), 1, theme.border);
  painter.setFont(fonts::hint());
  painter.setPen(theme.text2);
  const QString labels[] = {tr("weight"), tr("code"), tr("bits")};
  const int tops[] = {weightRow, codeRow, bitsRow};
  for (int i = 0; i < 3; ++i) painter.drawText(QRect(18, tops[i], 80, 19), Qt::AlignLeft | Qt::AlignVCenter, labels[i]);
  painter.drawText(QRect(18, hexRow - 3, 80, 15), Qt::AlignLeft | Qt::AlignVCenter, m_data.unit);
  const int indent = 18 + QFontMetrics(painter.font()).horizontalAdvance(m_data.unit) + 5;
  const int range = QFontMetrics(painter.font()).horizontalAdvance(m_data.bitRange);
  painter.drawText(QRect(std::max(4, std::min(indent, firstColumn - 2 - range)), hexRow + 10, range + 4, 15), Qt::AlignLeft | Qt::AlignVCenter, m_data.bitRange);
  QFont place = fonts::fixed();
  place.setPixelSize(place.pixelSize() - 1);
  painter.setFont(place);
  painter.drawText(QRect(indent, hexRow - 3, firstColumn - indent, 15), Qt::AlignLeft | Qt::AlignVCenter, m_data.place);

  const ColumnPainter columns{painter, theme, familyColour(theme, m_data.family)};
  const int last = std::min(m_first + visibleColumns(), static_cast<int>(m_data.columns.size()));
  for (int i = m_first; i < last; ++i) {
    const BitColumn& column = m_data.columns[static_cast<std::size_t>(i)];
    const QRect rect = columnRect(i);
    if (i == m_data.selected) {
      painter.setRenderHint(QPainter::Antialiasing);
      painter.setPen(QPen(theme.accent, 2));
      painter.setBrush(theme.accentSoft);
      painter.drawRoundedRect(QRectF(rect).adjusted(1, 1, -1, -1), 2, 2);
      painter.setRenderHint(QPainter::Antialiasing, false);
    }
    painter.setFont(fonts::hint());
    painter.setPen(theme.text2);
    painter.drawText(QRect(rect.left(), weightRow, rect.width(), 19), Qt::AlignCenter, formatSigned(column.weight, 3));
    QFont code = fonts::fixed();
    code.setBold(true);
    painter.setFont(code);
    painter.setPen(theme.text);
    painter.drawText(QRect(rect.left(), codeRow, rect.width(), 19), Qt::AlignCenter, QString::number(column.code));
    const QRect inner(rect.left() + columnGap / 2, 0, m_columnWidth - columnGap, 0);
    const int bits = static_cast<int>(column.bits.size()) * cellWidth + 2;
    if (bits > 2) columns.cells(QRect(inner.center().x() - bits / 2 + 1, bitsRow, bits - 1, 19), column.bits);
    columns.hex(QRect(inner.left(), hexRow, inner.width(), 22), column.hex);
  }
}

bool BitStrip::moveCursor(int dx, int /*dy*/) {
  if (dx == 0) return false;
  emit columnClicked(std::clamp(m_data.selected + dx, 0, static_cast<int>(m_data.columns.size()) - 1));
  return true;
}

int BitStrip::columnAt(QPoint pixel) const {
  if (isEmpty() || pixel.x() < firstColumn) return -1;
  const int index = m_first + (pixel.x() - firstColumn) / m_columnWidth;
  return columnRect(index).isEmpty() ? -1 : index;
}

void BitStrip::paintEvent(QPaintEvent* /*event*/) {
  renderTo(this, size());
}

void BitStrip::mousePressEvent(QMouseEvent* event) {
  const int index = columnAt(event->position().toPoint());
  if (event->button() == Qt::LeftButton && index >= 0) emit columnClicked(index);
}

void BitStrip::mouseMoveEvent(QMouseEvent* event) {
  const int index = columnAt(event->position().toPoint());
  if (index < 0) return void(emit hoverText({}));
  const BitColumn& c = m_data.columns[static_cast<std::size_t>(index)];
  emit hoverText(tr("weight %1 of the group: %2, code %3").arg(index).arg(formatFixed(c.weight, 4)).arg(c.code));
}

void BitStrip::wheelEvent(QWheelEvent* event) {
  const int way = event->angleDelta().y() + event->angleDelta().x();
  const int most = std::max(0, static_cast<int>(m_data.columns.size()) - visibleColumns());
  m_first = std::clamp(m_first + (way < 0 ? 1 : -1), 0, most);
  update();
  event->accept();
}

void BitStrip::resizeEvent(QResizeEvent* event) {
  PlotWidget::resizeEvent(event);
  scrollTo(m_data.selected);
}

}  // namespace nibble
