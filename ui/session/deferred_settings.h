// SPDX-License-Identifier: GPL-3.0-or-later
// Settings that are written when the program ends and not a moment after each change: QSettings writes in the thread of the
// window, and a busy disk would hold the window up for as long as it likes. Reading sees every change at once. What a crash
// loses is the list of recent files and the theme.
#pragma once
#include <QEvent>
#include <QSettings>

namespace nibble {

class DeferredSettings : public QSettings {
 public:
  using QSettings::QSettings;

 protected:
  bool event(QEvent* event) override { return event->type() == QEvent::UpdateRequest || QSettings::event(event); }
};

}  // namespace nibble
