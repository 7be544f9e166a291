// SPDX-License-Identifier: GPL-3.0-or-later
#include "ui/forms/card_button.h"

#include "ui/theme/icons.h"
#include "ui/theme/theme.h"

#include <QPainter>

namespace nibble {

CardButton::CardButton(const QString& objectName, const QString& iconName, const QString& title, const QString& line,
                       const QString& shortcut, bool primary, QWidget* parent)
    : QPushButton(parent), m_iconName(iconName), m_title(title), m_line(line), m_shortcut(shortcut), m_primary(primary) {
  setObjectName(objectName);
  setAccessibleName(title);
  setAccessibleDescription(line);
  setProperty("look", primary ? "primaryCard" : "card");
  setFixedHeight(56);
}

void CardButton::setLine(const QString& line) {
  m_line = line;
  setAccessibleDescription(line);
  update();
}

void CardButton::paintEvent(QPaintEvent* event) {
  QPushButton::paintEvent(event);
  // The accent ground of the primary card would pass for a light window.
  const auto& theme = themeOf(static_cast<const QWidget*>(nullptr));
  QPainter painter(this);
  const QColor strong = m_primary ? theme.accentText : theme.text;
  const QColor quiet = m_primary ? mixed(theme.accentText, theme.accent, 0.85) : theme.text2;
  drawIcon(painter, QRect(15, (height() - 20) / 2, 20, 20), m_iconName, strong);
  QFont title = fonts::bold();
  title.setPixelSize(QFontInfo(fonts::body()).pixelSize() + 1);
  painter.setFont(title);
  painter.setPen(strong);
  painter.drawText(QRect(47, 8, width() - 60, 22), Qt::AlignVCenter | Qt::AlignLeft, m_title);
  painter.setFont(fonts::hint());
  painter.setPen(quiet);
  const QRect line(47, 28, width() - 15 - 2 * sizes::gap - painter.fontMetrics().horizontalAdvance(m_shortcut) - 47, 18);
  painter.drawText(line, Qt::AlignVCenter | Qt::AlignLeft, painter.fontMetrics().elidedText(m_line, Qt::ElideRight, line.width()));
  painter.drawText(QRect(0, 0, width() - 15, height()), Qt::AlignVCenter | Qt::AlignRight, m_shortcut);
}

}  // namespace nibble
