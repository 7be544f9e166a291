// SPDX-License-Identifier: GPL-3.0-or-later
// Schemes: the candidates on the current tensor in a table with ratios to a baseline, the errors of the ticked rows over each other,
// and size against error. Rows come from the scheme dock and from the buttons above; the table can be copied and saved, each row be
// made the baseline (double click, B), the current scheme (Enter) or be removed (Del). Files: the open checkpoint against another
// one (diff_view.h). Activations: the layer with its inputs (activations_view.h).
#pragma once
#include "core/run/choice.h"

#include <QWidget>

class QDoubleSpinBox;
class QHBoxLayout;
class QMenu;
class QPushButton;
class QStackedWidget;
class QTableView;
class QToolButton;

namespace nibble {

class ActivationsView;
class CandidateModel;
class DiffView;
class ElidedLabel;
class OverlayHistogramPlot;
class Panel;
class ParetoPlot;
class Segments;
class Session;
struct SessionState;

class ComparePage : public QWidget {
  Q_OBJECT
 public:
  explicit ComparePage(Session& session, QWidget* parent = nullptr);
  [[nodiscard]] CandidateModel& model() const { return *m_model; }

 public slots:
  void addBits();
  void addGroups();
  void addNear();
  void copyTable();
  void saveTable();
  void copyCommand();
  void compareFiles();  // asks for the file the open one is compared with

 protected:
  void resizeEvent(QResizeEvent* event) override;
  bool eventFilter(QObject* watched, QEvent* event) override;

 private:
  QWidget* buildHeader();
  QWidget* buildTable();
  QWidget* buildPlots();
  void buildVary(QHBoxLayout* line);
  void showMode();
  [[nodiscard]] QString tableText(QChar separator) const;  // of the mode shown
  [[nodiscard]] QByteArray tableJson() const;
  void hideColumns();
  QToolButton* iconButton(const QString& objectName, const QString& iconName, const QString& tip);
  QMenu* pictureMenu();
  void follow(const SessionState& before);
  void refresh();
  void showView();
  void spanProblems();
  void openRowMenu(const QPoint& place);
  void setBaseline(int sourceIndex);
  void useScheme(int sourceIndex);
  void vary(const std::string& key, const std::vector<std::string>& values, const QString& what);
  [[nodiscard]] int currentSource() const;  // -1: none

  Session& m_session;
  ElidedLabel* m_name;
  QPushButton* m_bits;
  QPushButton* m_group;
  QPushButton* m_near;
  QDoubleSpinBox* m_nearBits;  // the size that "every scheme near" looks for
  Segments* m_mode;
  QToolButton* m_picture;
  QStackedWidget* m_modes;     // schemes, files
  DiffView* m_files;
  ActivationsView* m_activations = nullptr;
  QStackedWidget* m_stack;
  QTableView* m_table;
  CandidateModel* m_model;
  Panel* m_errorPanel;
  Panel* m_paretoPanel;
  OverlayHistogramPlot* m_overlay;
  ParetoPlot* m_pareto;
  Segments* m_scale;
  Segments* m_axis;
  std::vector<int> m_widths;         // of the table's columns
  std::vector<int> m_paretoSources;  // candidate of each Pareto point
};

}  // namespace nibble
