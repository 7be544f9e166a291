// SPDX-License-Identifier: GPL-3.0-or-later
// Training step by step on the current tensor: methods and stepper buttons, what is lost to rounding, loss, gradients, magnitude
// against direction, entries moved, the parameters as heat maps, one output as a formula, and every run's numbers side by side.
// Shows the trainer's snapshots; holds no results.
#pragma once
#include <QWidget>
#include <functional>
#include <memory>
#include <string>
#include <vector>

class QComboBox;
class QFrame;
class QHBoxLayout;
class QLabel;
class QPushButton;
class QSlider;
class QTableView;
class QTimer;
class QToolButton;

namespace nibble {

class CurvePlot;
class ForwardPanel;
class Panel;
class ParametersPanel;
class RunModel;
class Segments;
class Session;
class TrainForm;
struct TrainSnapshot;

class TrainPage : public QWidget {
  Q_OBJECT
 public:
  explicit TrainPage(Session& session, QWidget* parent = nullptr);

 public slots:
  void copyCommand();

 protected:
  void changeEvent(QEvent* event) override;
  void resizeEvent(QResizeEvent* event) override;
  void showEvent(QShowEvent* event) override;

 private:
  QWidget* buildBar();
  void buildMethods(QHBoxLayout* line);
  void buildStepper(QHBoxLayout* line);
  QWidget* buildMessage();
  QWidget* buildUpperPlots();
  QWidget* buildLowerPlots();
  QWidget* buildTable();
  QToolButton* iconButton(const char* name, const char* iconName, const QString& tip, std::function<void()> act);
  CurvePlot* curvePlot(const char* name, const QString& title, Panel*& panel);
  void choose(const std::string& key, const QString& value);
  void saveTable();
  void showState();
  void refresh();
  void showSettings();
  void showTensors(const std::vector<std::string>& tensors);
  void showStepper(const std::string& refusal);
  void showMessage(const TrainSnapshot* snapshot);
  void showPart(int part);
  void showNextPart();
  void showNothing(const QString& why);
  void showSubtitles(const TrainSnapshot& snapshot);

  Session& m_session;
  Segments* m_methods = nullptr;  // up to six methods
  QComboBox* m_methodList = nullptr;  // more
  TrainForm* m_form = nullptr;
  QToolButton *m_play = nullptr, *m_back = nullptr, *m_step = nullptr, *m_reset = nullptr;
  QSlider *m_slider = nullptr, *m_lambda = nullptr;
  QLabel* m_lambdaText = nullptr;
  QPushButton *m_settings = nullptr, *m_beside = nullptr, *m_save = nullptr, *m_messageAction = nullptr, *m_toCompare = nullptr, *m_toExport = nullptr;
  QLabel *m_position = nullptr, *m_tensors = nullptr, *m_message = nullptr, *m_messageIcon = nullptr;
  QFrame* m_messageBar = nullptr;
  bool m_stale = true;  // what is shown is older than the session: the page was hidden
  QString m_note, m_folder;  // what was written, and where; until the next change
  Panel *m_lossPanel = nullptr, *m_gradientPanel = nullptr, *m_planePanel = nullptr, *m_movedPanel = nullptr;
  CurvePlot *m_loss = nullptr, *m_gradient = nullptr, *m_plane = nullptr, *m_moved = nullptr;
  ParametersPanel* m_parameters = nullptr;
  ForwardPanel* m_forward = nullptr;
  RunModel* m_runs = nullptr;
  std::shared_ptr<const TrainSnapshot> m_shown;
  QTimer* m_frames = nullptr;
  int m_part = 0;  // of what is shown next
  QTableView* m_table = nullptr;
};

}  // namespace nibble
