// SPDX-License-Identifier: GPL-3.0-or-later
// Export: format, loader and destination; what every loader of the format asks for (pre-flight); then writing, reading back with a
// second decoder and the comparison, layer by layer. Formats that cannot hold the choice stay listed with the reason.
#pragma once
#include <QWidget>
#include <functional>
#include <vector>

class QComboBox;
class QLabel;
class QLineEdit;
class QProgressBar;
class QPushButton;
class QTableView;

namespace nibble {

class ExportModel;
class Panel;
class PreflightModel;
class Session;

class ExportPage : public QWidget {
  Q_OBJECT
 public:
  explicit ExportPage(Session& session, QWidget* parent = nullptr);

 public slots:
  void startExport();

 private:
  struct Step {
    QLabel* icon;
    QLabel* name;
    QLabel* value;
  };
  QWidget* buildTarget();
  QWidget* buildPreflight();
  QWidget* buildRoundTrip();
  QWidget* buildSteps();
  void refresh();
  void showTarget();
  void showPreflight();
  void showSteps();
  void showResult();
  void setStep(std::size_t step, const QString& iconName, const QString& value);
  void editExport(const QString& what, const QString& mergeKey, const std::function<void(struct ExportSettings&)>& change);

  Session& m_session;
  QComboBox* m_format;
  QComboBox* m_runtime;
  QComboBox* m_scope;
  QLineEdit* m_folder;
  QPushButton* m_choose;
  QPushButton* m_cancel;
  QPushButton* m_export;
  QLabel* m_problem;
  Panel* m_preflightPanel;
  Panel* m_tripPanel;
  QTableView* m_preflight;
  QTableView* m_layers;
  PreflightModel* m_preflightModel;
  ExportModel* m_exportModel;
  std::vector<Step> m_steps;
  QProgressBar* m_bar;
  QLabel* m_difference;
  QPushButton* m_openFolder;
  QPushButton* m_copyLoad;
};

}  // namespace nibble
