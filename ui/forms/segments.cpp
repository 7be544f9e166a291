// SPDX-License-Identifier: GPL-3.0-or-later
#include "ui/forms/segments.h"

#include "ui/theme/theme.h"

#include <QHBoxLayout>
#include <QKeyEvent>
#include <QToolButton>

namespace nibble {

Segments::Segments(const QString& objectName, const QString& accessibleName, QWidget* parent) : QWidget(parent) {
  setObjectName(objectName);
  setAccessibleName(accessibleName);
  setFocusPolicy(Qt::StrongFocus);
  auto* layout = new QHBoxLayout(this);
  layout->setContentsMargins(0, 0, 0, 0);
  layout->setSpacing(0);
}

void Segments::setChoices(const QStringList& values, const QStringList& labels) {
  for (auto* button : m_buttons) delete button;
  m_buttons.clear();
  m_values = values;
  for (int i = 0; i < values.size(); ++i) {
    auto* button = new QToolButton(this);
    button->setObjectName(objectName() + "_" + values[i]);
    button->setText(labels[i]);
    button->setAccessibleName(accessibleName() + " " + labels[i]);
    button->setCheckable(true);
    button->setFocusPolicy(Qt::NoFocus);
    button->setProperty("look", "segment");
    button->setProperty("place", values.size() == 1 ? "only" : i == 0 ? "first" : i == values.size() - 1 ? "last" : "middle");
    button->setProperty("impossible", false);
    button->setProperty("tight", m_tight);
    button->setSizePolicy(m_stretching ? QSizePolicy::Expanding : QSizePolicy::Minimum, QSizePolicy::Expanding);
    connect(button, &QToolButton::clicked, this, [this, i] { take(i); });
    layout()->addWidget(button);
    m_buttons.push_back(button);
  }
  setValue(m_value);
}

void Segments::setValue(const QString& value) {
  m_value = value;
  for (int i = 0; i < m_values.size(); ++i) m_buttons[static_cast<std::size_t>(i)]->setChecked(m_values[i] == value);
  const auto place = m_values.indexOf(value);
  setAccessibleDescription(place < 0 ? QString() : m_buttons[static_cast<std::size_t>(place)]->text());
}

void Segments::setImpossible(const QString& value, const QString& reason) {
  const auto place = m_values.indexOf(value);
  if (place < 0) return;
  auto* button = m_buttons[static_cast<std::size_t>(place)];
  button->setToolTip(reason);
  button->setEnabled(reason.isEmpty());
  if (button->property("impossible").toBool() == !reason.isEmpty()) return;
  button->setProperty("impossible", !reason.isEmpty());
  QFont font = button->font();
  font.setStrikeOut(!reason.isEmpty());
  button->setFont(font);
  restyle(button);
}

void Segments::setStretching(bool on) {
  m_stretching = on;
  for (auto* button : m_buttons) button->setSizePolicy(on ? QSizePolicy::Expanding : QSizePolicy::Minimum, QSizePolicy::Expanding);
}

void Segments::take(int index) {
  const bool same = m_values[index] == m_value;
  setValue(m_values[index]);
  if (!same) emit chosen(m_value);
}

void Segments::keyPressEvent(QKeyEvent* event) {
  const int step = event->key() == Qt::Key_Right || event->key() == Qt::Key_Down ? 1
                   : event->key() == Qt::Key_Left || event->key() == Qt::Key_Up  ? -1 : 0;
  if (step == 0) return QWidget::keyPressEvent(event);
  for (auto i = m_values.indexOf(m_value) + step; i >= 0 && i < m_values.size(); i += step) {
    if (!m_buttons[static_cast<std::size_t>(i)]->isEnabled()) continue;
    take(static_cast<int>(i));
    return;
  }
}

}  // namespace nibble
