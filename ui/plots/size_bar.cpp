// SPDX-License-Identifier: GPL-3.0-or-later
#include "ui/plots/size_bar.h"

#include "ui/theme/number_text.h"
#include "ui/theme/theme.h"

#include <QMouseEvent>
#include <QPainter>
#include <algorithm>
#include <cmath>
#include <numeric>

namespace nibble {
namespace {

constexpr double shades[] = {1.0, 0.65, 0.38, 0.22};

double sum(const std::vector<SizePart>& parts) {
  return std::accumulate(parts.begin(), parts.end(), 0.0,
                         [](double all, const SizePart& part) { return all + part.bitsPerWeight; });
}

}  // namespace

SizeBar::SizeBar(QWidget* parent, const QString& objectName)
    : PlotWidget(objectName, tr("Bits per weight by purpose"), parent) {
  setMinimumSize(60, 9);
  setSizePolicy(QSizePolicy::Expanding, QSizePolicy::Fixed);
  setFocusPolicy(Qt::NoFocus);
  m_emptyText = QString();
}

void SizeBar::setData(std::vector<SizePart> parts, Family family) {
  std::erase_if(parts, [](const SizePart& part) { return !(part.bitsPerWeight > 0); });
  m_parts = std::move(parts);
  m_family = family;
  setToolTip(legendText());
  setSummary(legendText());
}

void SizeBar::clear() {
  setData({}, m_family);
}

QString SizeBar::legendText() const {
  QStringList texts;
  for (const SizePart& part : m_parts) texts << part.label + QLatin1Char(' ') + formatBpw(part.bitsPerWeight);
  return texts.join(QStringLiteral(" + "));
}

DataTable SizeBar::dataTable() const {
  DataTable table{{tr("part"), tr("bits per weight")}, {}};
  for (const SizePart& part : m_parts) table.rows.push_back({part.label, part.bitsPerWeight});
  return table;
}

void SizeBar::renderTo(QPaintDevice* device, QSize size) {
  QPainter painter(device);
  const Theme& theme = themeOf(this);
  painter.fillRect(QRect(QPoint(), size), theme.panel);
  const double whole = sum(m_parts);
  double before = 0;
  for (std::size_t i = 0; i < m_parts.size(); ++i) {
    const double left = std::nearbyint(before / whole * size.width());
    before += m_parts[i].bitsPerWeight;
    const double right = std::nearbyint(before / whole * size.width()) - (i + 1 < m_parts.size() ? 1 : 0);
    const double shade = shades[std::min(i, std::size(shades) - 1)];
    painter.fillRect(QRectF(left, 0, std::max(right - left, 1.0), size.height()),
                     mixed(familyColour(theme, m_family), theme.panel, shade));
  }
}

void SizeBar::paintEvent(QPaintEvent* /*event*/) {
  renderTo(this, size());
}

void SizeBar::mouseMoveEvent(QMouseEvent* event) {
  const double at = event->position().x() / std::max(width(), 1) * sum(m_parts);
  double before = 0;
  for (const SizePart& part : m_parts) {
    before += part.bitsPerWeight;
    if (at <= before) return void(emit hoverText(tr("%1: %2 bits per weight").arg(part.label, formatBpw(part.bitsPerWeight))));
  }
}

}  // namespace nibble
