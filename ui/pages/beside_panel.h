// SPDX-License-Identifier: GPL-3.0-or-later
// Beside the matrix, one at a time, chosen by the panel's title: the ranges of the rows, weights against what comes back, the
// largest errors as a table whose lines choose their cell, singular values of error and weights, and the share of energy that the
// first of them hold. Which is in the view option "explore.beside".
#pragma once
#include "ui/forms/panel.h"
#include "ui/session/exploration.h"

#include <utility>

class QLabel;
class QStackedWidget;
class QTableView;

namespace nibble {

class CurvePlot;
class LargestModel;
class PlotWidget;
class ReconstructionPlot;
class RowRangesPlot;
class Session;
struct Spectrum;

// Values of "explore.beside" and what they are called.
std::vector<std::pair<QString, QString>> besideViews();
void showBeside(Session& session, const QString& view);

class BesidePanel : public Panel {
  Q_OBJECT
 public:
  explicit BesidePanel(Session& session, QWidget* parent = nullptr);
  [[nodiscard]] RowRangesPlot* rows() const { return m_rows; }
  [[nodiscard]] std::vector<PlotWidget*> plots() const;
  void showCell();  // the session's cell, in all views

 signals:
  void cellChosen(quint64 row, quint64 column);

 protected:
  void changeEvent(QEvent* event) override;
  void resizeEvent(QResizeEvent* event) override;

 private:
  void buildLargest();
  void follow(const SessionState& before);
  void showView();
  void refresh();
  void showStudy();
  void showSpectrum();
  void fitColumns();
  void saveTable();
  [[nodiscard]] QString emptyText() const;

  Session& m_session;
  QStackedWidget* m_stack;
  RowRangesPlot* m_rows;
  ReconstructionPlot* m_reconstruction;
  QStackedWidget* m_largest;
  QTableView* m_table;
  LargestModel* m_model;
  QLabel* m_largestEmpty;
  CurvePlot* m_spectrum;
  std::vector<QWidget*> m_tableTools;
  bool m_choosing = false;  // a line is current because its cell is, not because a person chose it
};

}  // namespace nibble
