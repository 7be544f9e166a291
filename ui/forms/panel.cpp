// SPDX-License-Identifier: GPL-3.0-or-later
#include "ui/forms/panel.h"

#include "ui/forms/elided_label.h"
#include "ui/plots/plot_widget.h"
#include "ui/theme/theme.h"

#include <QHBoxLayout>
#include <QLabel>
#include <QToolButton>
#include <QVBoxLayout>

namespace nibble {

Panel::Panel(const QString& objectName, const QString& title, QWidget* parent)
    : QFrame(parent), m_title(new QLabel(title)), m_line(new ElidedLabel(objectName + "Line")) {
  setObjectName(objectName);
  setAccessibleName(title);
  setProperty("look", "panel");
  auto* outer = new QVBoxLayout(this);
  outer->setContentsMargins(1, 1, 1, 1);
  outer->setSpacing(0);
  auto* header = new QWidget;
  header->setFixedHeight(sizes::panelHeader);
  m_header = new QHBoxLayout(header);
  m_header->setContentsMargins(sizes::inside, 0, sizes::inside, 0);
  m_header->setSpacing(sizes::gap);
  m_title->setObjectName(objectName + "Title");
  m_title->setProperty("look", "title");
  m_line->setProperty("look", "label");
  m_header->addWidget(m_title);
  m_header->addWidget(m_line, 1);
  outer->addWidget(header);
  m_body = new QVBoxLayout;
  m_body->setContentsMargins(0, 0, 0, 0);
  m_body->setSpacing(0);
  outer->addLayout(m_body, 1);
}

void Panel::setTitle(const QString& title) {
  m_title->setText(title);
  setAccessibleName(title);
}

void Panel::setSubtitle(const QString& subtitle) {
  m_subtitle = subtitle;
  m_line->setFullText(subtitle);
}

void Panel::setHoverText(const QString& text) { m_line->setFullText(text.isEmpty() ? m_subtitle : text); }

QString Panel::headerText() const { return m_line->fullText(); }

void Panel::addHeaderWidget(QWidget* widget) {
  widget->setFixedHeight(sizes::headerControl);
  widget->setProperty("small", true);
  for (auto* button : widget->findChildren<QToolButton*>()) button->setProperty("small", true);
  m_header->addWidget(widget);
}

void Panel::addBody(QWidget* widget, int stretch) { m_body->addWidget(widget, stretch); }

void Panel::addPlot(PlotWidget* plot, int stretch) {
  connect(plot, &PlotWidget::hoverText, this, &Panel::setHoverText);
  addBody(plot, stretch);
}

}  // namespace nibble
