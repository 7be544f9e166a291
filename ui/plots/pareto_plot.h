// SPDX-License-Identifier: GPL-3.0-or-later
// Size against error: each candidate a mark of its family at (true bits per weight or MiB, SQNR in dB). The front (no other is
// smaller and better) is joined by a line and labelled; dominated marks fade to 38 %; the baseline is ringed and in front; each
// bound is a dashed line, named in the free corner and explained on hover; the region above the highest is a band. Points without a finite SQNR (exact) are drawn on the upper edge.
#pragma once
#include "core/schemes/scheme.h"
#include "ui/plots/chart_widget.h"

#include <vector>

namespace nibble {

struct ParetoPoint {
  double bitsPerWeight = 0, mebibytes = 0, sqnrDb = 0;
  QString label;  // short: "hqq 4"
  QString text;   // the choice, shown on hover
  Family family = Family::Uniform;
  bool dominated = false, baseline = false, selected = false, ticked = false;
};

// sqnr = offsetDb + dbPerBit * bits
struct ParetoBound {
  QString label;
  double offsetDb = 0, dbPerBit = 6.0206;
  double mostBits = 1e9;               // the line ends here: beyond it the bound says nothing
  QString tip;                         // what it is, shown on hover
  std::vector<double> dash = {4, 3};   // in pen widths
};

struct ParetoData {
  std::vector<ParetoPoint> points;
  std::vector<ParetoBound> bounds;  // from the highest; the first one carries the band
  double weights = 0;               // number of weights, to draw bounds against MiB; 0: no bounds there
};

// The bound for independent Gaussian weights: 6.02 dB a bit, through 0.
ParetoBound gaussianBound();
// Sets `dominated`: another point is no larger and strictly better, or smaller and no worse.
void markDominated(std::vector<ParetoPoint>& points);

enum class ParetoAxis : std::uint8_t { BitsPerWeight, Mebibytes };

class ParetoPlot : public ChartWidget {
  Q_OBJECT
 public:
  explicit ParetoPlot(QWidget* parent = nullptr, const QString& objectName = QStringLiteral("pareto"));
  void setData(ParetoData data);
  void clear();
  void setAxis(ParetoAxis axis);
  [[nodiscard]] ParetoAxis axis() const { return m_axis; }
  [[nodiscard]] QPointF pointPosition(int index) const;  // pixels
  [[nodiscard]] DataTable dataTable() const override;
  [[nodiscard]] bool isEmpty() const override { return m_data.points.empty(); }

 signals:
  void pointClicked(int index);
  void pointHovered(int index);  // -1: none

 protected:
  void rebuild() override;
  bool moveCursor(int dx, int dy) override;
  void mouseMoveEvent(QMouseEvent* event) override;
  void mousePressEvent(QMouseEvent* event) override;
  void keyPressEvent(QKeyEvent* event) override;
  void leaveEvent(QEvent* event) override;

 private:
  void paintBounds(QPainter& painter, const QRectF& area, bool band) const;
  void paintFront(QPainter& painter) const;
  void paintMarks(QPainter& painter) const;
  void paintLabels(QPainter& painter, const QRectF& area) const;
  [[nodiscard]] double sizeOf(const ParetoPoint& point) const;
  [[nodiscard]] int pointAt(QPointF pixel) const;
  void showPoint(int index);
  [[nodiscard]] double bitsPerUnit() const;  // of the size axis; 0: not known
  [[nodiscard]] int boundAt(QPointF pixel) const;  // -1: none
  void paintKey(QPainter& painter, const QRectF& area) const;
  ParetoData m_data;
  ParetoAxis m_axis = ParetoAxis::BitsPerWeight;
  int m_cursor = -1;
};

}  // namespace nibble
