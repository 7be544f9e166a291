// SPDX-License-Identifier: GPL-3.0-or-later
#include "ui/forms/elided_label.h"

namespace nibble {
namespace {

constexpr qsizetype leastLetters = 8;  // a few letters beside an ellipsis say nothing

}  // namespace

ElidedLabel::ElidedLabel(const QString& objectName, QWidget* parent, Qt::TextElideMode mode) : QLabel(parent), m_mode(mode) {
  setObjectName(objectName);
  setTextFormat(Qt::PlainText);
  setSizePolicy(QSizePolicy::Preferred, QSizePolicy::Preferred);
}

void ElidedLabel::setFullText(const QString& text) {
  if (text == m_full) return;
  m_full = text;
  setAccessibleName(text);
  updateGeometry();
  elide();
}

QSize ElidedLabel::minimumSizeHint() const { return {0, QLabel::minimumSizeHint().height()}; }

QSize ElidedLabel::sizeHint() const { return {fontMetrics().horizontalAdvance(m_full) + 2, QLabel::sizeHint().height()}; }

void ElidedLabel::resizeEvent(QResizeEvent* event) {
  QLabel::resizeEvent(event);
  elide();
}

void ElidedLabel::elide() {
  QString shown = fontMetrics().elidedText(m_full, m_mode, width());
  if (shown != m_full && shown.size() < leastLetters) shown.clear();
  if (shown != text()) setText(shown);
  setToolTip(shown == m_full ? QString() : m_full);
}

}  // namespace nibble
