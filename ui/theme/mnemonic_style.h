// SPDX-License-Identifier: GPL-3.0-or-later
// The Fusion style, with the keys of menus underlined only while somebody uses them: from Alt on until a click, or until another
// key outside the menus. GUI thread.
#pragma once
#include <QProxyStyle>

namespace nibble {

class MnemonicStyle : public QProxyStyle {
  Q_OBJECT
 public:
  // Watches the keys of the application.
  MnemonicStyle();
  int styleHint(StyleHint hint, const QStyleOption* option, const QWidget* widget, QStyleHintReturn* result) const override;
  bool eventFilter(QObject* watched, QEvent* event) override;

 private:
  void show(bool shown);
  bool m_shown = false;
};

}  // namespace nibble
