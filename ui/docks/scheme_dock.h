// SPDX-License-Identifier: GPL-3.0-or-later
// The current choice: scheme, its settings, its text form as an editable line (both ways), what it costs and what it does to the
// current tensor. A text that is wrong keeps the old choice and says why; a choice that is refused says why under the form.
#pragma once
#include <QDockWidget>
#include <vector>

class QComboBox;
class QLabel;
class QLineEdit;
class QPushButton;
class QToolButton;

namespace nibble {

class DockHeader;
class ElidedLabel;
class Session;
class SettingsForm;
class SizeBar;
class Choice;
struct Exploration;
struct SessionState;

class SchemeDock : public QDockWidget {
  Q_OBJECT
 public:
  explicit SchemeDock(Session& session, QWidget* parent = nullptr);

 private:
  QWidget* buildChoice();
  QWidget* buildText();
  QWidget* buildFigures();
  QWidget* buildButtons();
  void buildHeader();
  void follow();
  void showResult();
  void showFigures(const Exploration& exploration);
  void clearFigures(const QString& reason);
  void textEdited(const QString& text);
  void showTextProblem(const QString& problem);
  void openVary();

  Session& m_session;
  DockHeader* m_header;
  QComboBox* m_scheme;
  QLabel* m_summary;
  SettingsForm* m_form;
  QLineEdit* m_text;
  QLabel* m_textProblem;
  QLabel* m_key;
  QLabel* m_sampled;
  QLabel* m_legend;
  QLabel* m_problem;
  SizeBar* m_bar;
  std::vector<std::pair<QLabel*, QLabel*>> m_figures;  // name, value
  QPushButton* m_add;
  QPushButton* m_vary;
};

}  // namespace nibble
