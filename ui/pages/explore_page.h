// SPDX-License-Identifier: GPL-3.0-or-later
// One tensor under the current choice: weights with the levels of the chosen group, errors in steps, codes, the matrix with its row
// ranges or another look at the errors beside it, and the chosen group under the microscope. All panels share the session's
// cell. Large matrices are pooled off the GUI thread; until then the picture comes from one row per pixel.
#pragma once
#include "ui/session/exploration.h"
#include "ui/session/job_lane.h"
#include "ui/plots/pooling.h"

#include <QWidget>

class QLabel;
class QStackedWidget;
class QVBoxLayout;

namespace nibble {

class BesidePanel;
class ElidedLabel;
class ErrorHistogramPlot;
class HistogramPlot;
class MatrixPlot;
class MicroscopePanel;
class OccupancyPlot;
class Panel;
class RowRangesPlot;
class Segments;
class Session;

class ExplorePage : public QWidget {
  Q_OBJECT
 public:
  explicit ExplorePage(Session& session, QWidget* parent = nullptr);

 protected:
  void resizeEvent(QResizeEvent* event) override;

 private:
  QWidget* buildHeader();
  QWidget* buildDistributions();
  QWidget* buildMatrix();
  void connectPlots();
  void followSession(const SessionState& before);
  void showExploration();
  void showHeader(const Exploration& exploration);
  void showDistributions(const Exploration& exploration);
  void setExactness(const QString& text, const char* look);
  void showLevels();
  void showMatrix();
  [[nodiscard]] QString whyNot(Quantity quantity, const QString& name) const;
  void showMatrixLine();
  void showCell();
  void showEmpty(const QString& reason);
  void chooseCell(std::uint64_t row, std::uint64_t column);
  void setViewOption(const std::string& key, const QString& value, const QString& what);
  PooledMatrix pooled(const MatrixRegion& region, int width, int height);
  void arrange();

  Session& m_session;
  ElidedLabel* m_name;
  QLabel* m_type;
  QLabel* m_shape;
  QLabel* m_size;
  QLabel* m_facts;
  QLabel* m_exactness;
  QLabel* m_problem;
  Panel* m_weightsPanel;
  Panel* m_errorPanel;
  Panel* m_codesPanel;
  Panel* m_matrixPanel;
  BesidePanel* m_rowsPanel;
  HistogramPlot* m_weights;
  ErrorHistogramPlot* m_errors;
  OccupancyPlot* m_codes;
  MatrixPlot* m_matrix;
  RowRangesPlot* m_rows;
  MicroscopePanel* m_microscope;
  Segments* m_scale;
  Segments* m_quantity;
  Segments* m_errorOrCodes;
  QStackedWidget* m_errorStack;
  JobLane m_pictures{JobLane::Policy::Newest};
  std::shared_ptr<const MatrixSource> m_source;
  std::shared_ptr<const Exploration> m_shown;
  bool m_pictureSampled = false, m_narrow = false;
};

}  // namespace nibble
