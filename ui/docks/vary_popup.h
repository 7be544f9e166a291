// SPDX-License-Identifier: GPL-3.0-or-later
// "Vary...": tick values of some settings; every combination with the current choice becomes a candidate. A popup that closes by
// itself; what does not fit the matrix is left out and counted.
#pragma once
#include "core/run/choice.h"

#include <QFrame>
#include <functional>
#include <optional>

class QLabel;
class QPushButton;
class QToolButton;

namespace nibble {

class VaryPopup : public QFrame {
  Q_OBJECT
 public:
  VaryPopup(const Choice& choice, std::optional<MatrixSize> size, QWidget* parent);

 signals:
  void accepted(const std::vector<nibble::Choice>& choices);

 private:
  struct Toggle {
    std::string key, value;
    QToolButton* button;
  };
  QWidget* makeRow(const std::string& key, const SettingInfo& info);
  void recount();

  Choice m_choice;
  std::optional<MatrixSize> m_size;
  std::vector<Toggle> m_toggles;
  std::vector<Choice> m_choices;
  QLabel* m_count;
  QPushButton* m_add;
};

}  // namespace nibble
