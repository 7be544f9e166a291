// SPDX-License-Identifier: GPL-3.0-or-later
// Training step by step on the current tensor: settings from the table of training.h, stepper buttons, loss, gradients, magnitude
// against direction, entries moved, and the numbers of every run side by side. Shows the trainer's snapshots; holds no results.
#pragma once
#include <QWidget>
#include <vector>

class QFormLayout;
class QLabel;
class QPushButton;
class QTableWidget;
class QToolButton;

namespace nibble {

class CurvePlot;
class Session;
struct TrainOption;

class TrainPage : public QWidget {
  Q_OBJECT
 public:
  explicit TrainPage(Session& session, QWidget* parent = nullptr);

 public slots:
  void copyCommand();

 private:
  QWidget* buildBar();
  QWidget* buildForm();
  QWidget* buildPlots();
  QWidget* makeField(const TrainOption& option);
  void choose(const std::string& key, const QString& value);
  void showState();
  void refresh();

  struct Field {
    const TrainOption* option;
    QWidget* widget;
  };
  Session& m_session;
  std::vector<Field> m_fields;
  QFormLayout* m_form = nullptr;
  QToolButton *m_play = nullptr, *m_back = nullptr, *m_step = nullptr, *m_reset = nullptr;
  QPushButton *m_beside = nullptr, *m_save = nullptr;
  QLabel *m_position = nullptr, *m_message = nullptr;
  CurvePlot *m_loss = nullptr, *m_gradient = nullptr, *m_plane = nullptr, *m_moved = nullptr;
  QTableWidget* m_table = nullptr;
};

}  // namespace nibble
