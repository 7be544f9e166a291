// SPDX-License-Identifier: GPL-3.0-or-later
#include "ui/docks/dock_header.h"

#include "ui/forms/elided_label.h"
#include "ui/theme/icons.h"
#include "ui/theme/theme.h"

#include <QDockWidget>
#include <QHBoxLayout>
#include <QPainter>
#include <QToolButton>

namespace nibble {

DockHeader::DockHeader(const QString& title, QDockWidget* dock)
    : QWidget(dock), m_line(new ElidedLabel(dock->objectName() + "Line")), m_layout(new QHBoxLayout(this)), m_close(new QToolButton) {
  setFixedHeight(sizes::pageTabs);
  auto* name = new QLabel(title);
  name->setProperty("look", "title");
  m_line->setProperty("look", "label");
  m_close->setObjectName(dock->objectName() + "Close");
  m_close->setAccessibleName(tr("Close %1").arg(title));
  m_close->setToolTip(tr("Close (View > %1 opens it again)").arg(title));
  m_close->setIcon(icon("close", &Theme::text2));
  m_close->setProperty("look", "flat");
  m_close->setFocusPolicy(Qt::TabFocus);
  QSizePolicy keeps = m_close->sizePolicy();
  keeps.setRetainSizeWhenHidden(true);
  m_close->setSizePolicy(keeps);
  m_close->setFixedSize(sizes::headerControl, sizes::headerControl);
  m_close->hide();
  connect(m_close, &QToolButton::clicked, dock, &QDockWidget::close);
  m_layout->setContentsMargins(12, 0, 6, 0);
  m_layout->setSpacing(sizes::gap);
  m_layout->addWidget(name);
  m_layout->addWidget(m_line, 1);
  m_layout->addWidget(m_close);
}

QSize DockHeader::sizeHint() const { return {120, sizes::pageTabs}; }

void DockHeader::setLine(const QString& text) { m_line->setFullText(text); }

void DockHeader::addWidget(QWidget* widget) { m_layout->insertWidget(m_layout->count() - 1, widget); }

void DockHeader::enterEvent(QEnterEvent* event) {
  m_close->show();
  QWidget::enterEvent(event);
}

void DockHeader::leaveEvent(QEvent* event) {
  m_close->hide();
  QWidget::leaveEvent(event);
}

void DockHeader::paintEvent(QPaintEvent*) {
  QPainter painter(this);
  const auto& theme = themeOf(this);
  painter.fillRect(rect(), theme.window);
  painter.setPen(theme.border);
  painter.drawLine(rect().bottomLeft(), rect().bottomRight());
}

}  // namespace nibble
