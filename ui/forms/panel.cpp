// SPDX-License-Identifier: GPL-3.0-or-later
#include "ui/forms/panel.h"

#include "ui/forms/elided_label.h"
#include "ui/plots/plot_widget.h"
#include "ui/theme/theme.h"

#include <QActionGroup>
#include <QHBoxLayout>
#include <QLabel>
#include <QMenu>
#include <QToolButton>
#include <QVBoxLayout>

namespace nibble {

namespace {
constexpr int titleMark = 18;  // room of the mark behind a title that opens a menu
}

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
  if (m_choice == nullptr) return;
  m_choice->setText(title);
  m_choice->setFixedWidth(QFontMetrics(fonts::bold()).horizontalAdvance(title) + titleMark);
  m_choice->setAccessibleName(tr("%1: choose what is shown here").arg(title));
}

void Panel::setTitleChoices(const QStringList& values, const QStringList& titles) {
  m_title->hide();
  m_choice = new QToolButton;
  m_choice->setObjectName(objectName() + "Choice");
  m_choice->setProperty("look", "titleMenu");
  m_choice->setToolTip(tr("Choose what is shown here"));
  m_choice->setFocusPolicy(Qt::StrongFocus);
  auto* menu = new QMenu(m_choice);
  menu->setObjectName(objectName() + "Menu");
  auto* group = new QActionGroup(menu);
  for (qsizetype i = 0; i < values.size(); ++i) {
    QAction* action = group->addAction(titles[i]);
    action->setObjectName(objectName() + "_" + values[i]);
    action->setData(values[i]);
    action->setCheckable(true);
    menu->addAction(action);
  }
  connect(group, &QActionGroup::triggered, this, [this](QAction* action) { emit titleChosen(action->data().toString()); });
  m_choice->setMenu(menu);  // for its mark; it opens here, without an event loop of its own
  connect(m_choice, &QToolButton::clicked, menu, [this, menu] { menu->popup(m_choice->mapToGlobal(QPoint(0, m_choice->height() + 2))); });
  m_header->insertWidget(0, m_choice);
  setTitleChoice(values.value(0));
}

void Panel::setTitleChoice(const QString& value) {
  for (QAction* action : m_choice->menu()->actions()) {
    if (action->data().toString() != value) continue;
    action->setChecked(true);
    setTitle(action->text());
  }
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
