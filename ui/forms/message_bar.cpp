// SPDX-License-Identifier: GPL-3.0-or-later
#include "ui/forms/message_bar.h"

#include "ui/theme/icons.h"
#include "ui/theme/theme.h"

#include <QHBoxLayout>
#include <QLabel>
#include <QPushButton>
#include <QToolButton>

namespace nibble {

MessageBar::MessageBar(const QString& objectName, Kind kind, QWidget* parent)
    : QFrame(parent), m_icon(new QLabel), m_text(new QLabel), m_action(new QPushButton) {
  setObjectName(objectName);
  setProperty("look", kind == Kind::Error ? "badBar" : "warnBar");
  m_icon->setPixmap(icon("warning", kind == Kind::Error ? &Theme::bad : &Theme::warn).pixmap(sizes::icon, sizes::icon));
  m_text->setObjectName(objectName + "Text");
  m_text->setTextInteractionFlags(Qt::TextSelectableByMouse);
  m_text->setTextFormat(Qt::PlainText);
  m_text->setWordWrap(true);
  m_action->setObjectName(objectName + "Action");
  auto* close = new QToolButton;
  close->setObjectName(objectName + "Close");
  close->setAccessibleName(tr("Close the message"));
  close->setIcon(icon("close", &Theme::text2));
  close->setProperty("look", "flat");
  auto* line = new QHBoxLayout(this);
  line->setContentsMargins(sizes::inside, sizes::grid, sizes::grid, sizes::grid);
  line->addWidget(m_icon);
  line->addWidget(m_text, 1);
  line->addWidget(m_action);
  line->addWidget(close);
  connect(close, &QToolButton::clicked, this, &QWidget::hide);
  connect(m_action, &QPushButton::clicked, this, [this] {
    hide();
    if (m_act) m_act();
  });
  hide();
}

QString MessageBar::message() const { return m_text->text(); }

void MessageBar::showMessage(const QString& text) { showMessage(text, {}, {}); }

void MessageBar::showMessage(const QString& text, const QString& action, std::function<void()> act) {
  m_text->setText(text);
  setAccessibleName(text);
  m_act = std::move(act);
  m_action->setText(action);
  m_action->setVisible(!action.isEmpty());
  show();
}

}  // namespace nibble
