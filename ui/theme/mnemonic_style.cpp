// SPDX-License-Identifier: GPL-3.0-or-later
#include "ui/theme/mnemonic_style.h"

#include <QApplication>
#include <QKeyEvent>
#include <QMenu>
#include <QMenuBar>

namespace nibble {
namespace {

bool inMenus() {
  return QApplication::activePopupWidget() != nullptr || qobject_cast<QMenuBar*>(QApplication::focusWidget()) != nullptr;
}

}  // namespace

MnemonicStyle::MnemonicStyle() : QProxyStyle(QStringLiteral("Fusion")) {
  qApp->installEventFilter(this);
}

int MnemonicStyle::styleHint(StyleHint hint, const QStyleOption* option, const QWidget* widget, QStyleHintReturn* result) const {
  if (hint == SH_UnderlineShortcut) return m_shown ? 1 : 0;
  return QProxyStyle::styleHint(hint, option, widget, result);
}

bool MnemonicStyle::eventFilter(QObject* watched, QEvent* event) {
  switch (event->type()) {
    case QEvent::KeyPress:
      if (static_cast<QKeyEvent*>(event)->key() == Qt::Key_Alt) show(true);
      else if (!inMenus()) show(false);
      break;
    case QEvent::MouseButtonPress:
    case QEvent::ApplicationStateChange: show(false); break;
    default: break;
  }
  return QProxyStyle::eventFilter(watched, event);
}

void MnemonicStyle::show(bool shown) {
  if (m_shown == shown) return;
  m_shown = shown;
  for (QWidget* widget : QApplication::allWidgets())
    if (qobject_cast<QMenuBar*>(widget) != nullptr || qobject_cast<QMenu*>(widget) != nullptr) widget->update();
}

}  // namespace nibble
