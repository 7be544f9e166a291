// SPDX-License-Identifier: GPL-3.0-or-later
// A framed panel with a header of 30 px: title, one line about what is shown, and small controls on the right. While the pointer is
// over a plot its hover text takes the place of that line, so that nothing covers the data. Where a panel can show several things
// in turn, its title opens the list of them.
#pragma once
#include <QFrame>

class QHBoxLayout;
class QLabel;
class QToolButton;
class QVBoxLayout;

namespace nibble {

class ElidedLabel;
class PlotWidget;

class Panel : public QFrame {
  Q_OBJECT
 public:
  Panel(const QString& objectName, const QString& title, QWidget* parent = nullptr);
  void setTitle(const QString& title);
  void setSubtitle(const QString& subtitle);
  // The title becomes a button (OBJECTNAMEChoice) with a menu of `titles` (OBJECTNAMEMenu, entries OBJECTNAME_VALUE).
  void setTitleChoices(const QStringList& values, const QStringList& titles);
  void setTitleChoice(const QString& value);  // ticks the entry and shows its title; no signal
  void addHeaderWidget(QWidget* widget);
  void addBody(QWidget* widget, int stretch = 1);
  void addPlot(PlotWidget* plot, int stretch = 1);  // addBody, and its hover text goes into the header
  void setHoverText(const QString& text);           // empty: the subtitle again
  [[nodiscard]] QVBoxLayout* body() const { return m_body; }
  [[nodiscard]] QString headerText() const;

 signals:
  void titleChosen(const QString& value);  // by the person

 private:
  QLabel* m_title;
  QToolButton* m_choice = nullptr;
  ElidedLabel* m_line;
  QHBoxLayout* m_header;
  QVBoxLayout* m_body;
  QString m_subtitle;
};

}  // namespace nibble
