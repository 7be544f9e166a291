// SPDX-License-Identifier: GPL-3.0-or-later
// The title line of a dock: name, one line about the content, small buttons, and a close button that shows while the pointer is over
// it. The dock is moved by dragging it.
#pragma once
#include <QWidget>

class QDockWidget;
class QHBoxLayout;
class QToolButton;

namespace nibble {

class ElidedLabel;

class DockHeader : public QWidget {
  Q_OBJECT
 public:
  DockHeader(const QString& title, QDockWidget* dock);
  void setLine(const QString& text);
  void addWidget(QWidget* widget);
  [[nodiscard]] QSize sizeHint() const override;
  [[nodiscard]] QSize minimumSizeHint() const override { return {60, sizeHint().height()}; }

 protected:
  void enterEvent(QEnterEvent* event) override;
  void leaveEvent(QEvent* event) override;
  void paintEvent(QPaintEvent* event) override;

 private:
  ElidedLabel* m_line;
  QHBoxLayout* m_layout;
  QToolButton* m_close;
};

}  // namespace nibble
