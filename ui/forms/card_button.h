// SPDX-License-Identifier: GPL-3.0-or-later
// A large button of the start page: icon, title, one line below it, and the shortcut on the right.
#pragma once
#include <QPushButton>

namespace nibble {

class CardButton : public QPushButton {
  Q_OBJECT
 public:
  CardButton(const QString& objectName, const QString& iconName, const QString& title, const QString& line, const QString& shortcut,
             bool primary, QWidget* parent = nullptr);
  void setLine(const QString& line);
  [[nodiscard]] QSize sizeHint() const override { return {320, 56}; }

 protected:
  void paintEvent(QPaintEvent* event) override;

 private:
  QString m_iconName, m_title, m_line, m_shortcut;
  bool m_primary;
};

}  // namespace nibble
