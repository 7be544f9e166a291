// SPDX-License-Identifier: GPL-3.0-or-later
// Compare, activations: what comes into the current layer. The largest |input| and |weight| of each channel before and after
// smoothing, with alpha as a live slider; the outlier channels; and the error of the outputs for weights and inputs quantized
// together, plain and smoothed. Inputs come from a file or are drawn.
#pragma once
#include <QWidget>

class QLabel;
class QLineEdit;
class QSlider;
class QSpinBox;
class QTableView;

namespace nibble {

class CurvePlot;
class LinearModel;
class Panel;
class Session;
struct ActivationFacts;

class ActivationsView : public QWidget {
  Q_OBJECT
 public:
  explicit ActivationsView(Session& session, QWidget* parent = nullptr);
  [[nodiscard]] const LinearModel& model() const { return *m_model; }

 protected:
  void changeEvent(QEvent* event) override;
  void showEvent(QShowEvent* event) override;
  void resizeEvent(QResizeEvent* event) override;

 private:
  QWidget* buildInputs();
  QWidget* buildPlots();
  QWidget* buildTable();
  QSpinBox* addCount(const QString& objectName, const std::string& key, const QString& meaning, int least, int most);
  CurvePlot* addPlot(const char* name, const QString& title, const QString& meaning, Panel*& panel);
  void setOption(const std::string& key, const QString& value, const QString& what);
  void showOptions();
  void refresh();
  void showProfile(const ActivationFacts& facts);

  struct Shown {
    const ActivationFacts* facts = nullptr;
    double alpha = 0;
    bool dark = false;
    bool operator==(const Shown&) const = default;
  };
  Session& m_session;
  Shown m_shown;  // by the curves
  LinearModel* m_model;
  QLineEdit* m_file;
  QSpinBox *m_rows, *m_outliers;
  QLabel *m_note, *m_alphaText, *m_found;
  QSlider* m_alpha;
  Panel *m_inputPanel, *m_weightPanel, *m_tablePanel;
  CurvePlot *m_inputs, *m_weights;
  QTableView* m_table;
};

}  // namespace nibble
