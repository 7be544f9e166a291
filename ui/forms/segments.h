// SPDX-License-Identifier: GPL-3.0-or-later
// A few choices side by side, one of them chosen: what a combo box is for more of them. An impossible choice is struck through and
// cannot be taken; its reason is the tooltip. One tab stop; arrow keys move. Buttons are named OBJECTNAME_VALUE.
#pragma once
#include <QStringList>
#include <QWidget>
#include <vector>

class QToolButton;

namespace nibble {

class Segments : public QWidget {
  Q_OBJECT
 public:
  Segments(const QString& objectName, const QString& accessibleName, QWidget* parent = nullptr);
  // `values` name the choices (object names, chosen()); `labels` are what is read.
  void setChoices(const QStringList& values, const QStringList& labels);
  [[nodiscard]] const QStringList& values() const { return m_values; }
  [[nodiscard]] QString value() const { return m_value; }
  void setValue(const QString& value);                              // no signal; unknown: none is chosen
  void setImpossible(const QString& value, const QString& reason);  // empty reason: possible
  void setTight(bool on) { m_tight = on; }                          // less room beside the labels, from the next choices on
  void setStretching(bool on);                                      // fill the width, or be as narrow as the labels

 signals:
  void chosen(const QString& value);  // by the person

 protected:
  void keyPressEvent(QKeyEvent* event) override;

 private:
  void take(int index);
  QStringList m_values;
  QString m_value;
  std::vector<QToolButton*> m_buttons;
  bool m_stretching = true, m_tight = false;
};

}  // namespace nibble
