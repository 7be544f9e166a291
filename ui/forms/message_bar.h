// SPDX-License-Identifier: GPL-3.0-or-later
// One line above the page for what belongs to no view: a file that does not open, a file that changed on disk. Never a box in the
// way; a newer message replaces the older one.
#pragma once
#include <QFrame>
#include <functional>

class QLabel;
class QPushButton;

namespace nibble {

class MessageBar : public QFrame {
  Q_OBJECT
 public:
  enum class Kind { Error, Warning };
  MessageBar(const QString& objectName, Kind kind, QWidget* parent = nullptr);
  void showMessage(const QString& text);
  void showMessage(const QString& text, const QString& action, std::function<void()> act);
  [[nodiscard]] QString message() const;

 private:
  QLabel* m_icon;
  QLabel* m_text;
  QPushButton* m_action;
  std::function<void()> m_act;
};

}  // namespace nibble
