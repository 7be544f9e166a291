// SPDX-License-Identifier: GPL-3.0-or-later
// The current choice: scheme, its settings, its text form as an editable line (both ways), what it costs and what it does to the
// current tensor. A text that is wrong keeps the old choice and says why; a choice that is refused says why under the form.
#pragma once
#include <QDockWidget>
#include <vector>

class QLabel;
class QLineEdit;
class QPushButton;
class QToolButton;

namespace nibble {

class DockHeader;
class ElidedLabel;
class Scheme;
class SchemeCombo;
class Segments;
class Session;
class SettingsForm;
class SizeBar;
class TransformBar;
struct Exploration;
struct PackedLayer;
struct SessionState;

class SchemeDock : public QDockWidget {
  Q_OBJECT
 public:
  explicit SchemeDock(Session& session, QWidget* parent = nullptr);

 private:
  QWidget* buildChoice();
  QWidget* buildReading();
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
  void showStoredLayer();
  void showReadings(const PackedLayer* layer);  // null: no packed layer
  void chooseScheme(const Scheme* scheme);

  Session& m_session;
  DockHeader* m_header;
  SchemeCombo* m_scheme;
  QLabel* m_summary;
  TransformBar* m_transforms;
  SettingsForm* m_form;
  QWidget* m_readingPart;
  Segments* m_reading;
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
