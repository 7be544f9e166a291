// SPDX-License-Identifier: GPL-3.0-or-later
// The one sign of keyboard focus: a 2 px accent line just outside the focused widget, whatever its kind. It lies over the
// widget's neighbours without taking the mouse and moves with the focus. Parent: the application. GUI thread.
#pragma once
#include <QFocusFrame>
#include <QObject>
#include <QPointer>

class QApplication;

namespace nibble {

class FocusOutline : public QObject {
  Q_OBJECT
 public:
  explicit FocusOutline(QApplication* application);
  ~FocusOutline() override;

 private:
  void follow(QWidget* now);
  QPointer<QFocusFrame> m_frame;
};

}  // namespace nibble
