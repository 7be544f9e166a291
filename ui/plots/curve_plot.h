// SPDX-License-Identifier: GPL-3.0-or-later
// Curves over steps (or of one number against another): lines with their names at the ends, linear or logarithmic upwards. A NaN
// breaks a line; on a logarithmic axis so does what is not above zero. A line may carry many points: each pixel gets at most a
// few.
#pragma once
#include "ui/plots/chart_widget.h"

#include <vector>

namespace nibble {

struct CurveSeries {
  QString name, label, note;  // in the table; at the end of the line (empty: none); a second line there
  QColor colour;
  bool dashed = false, chosen = false, dot = false;  // dot: a mark at the last point
  bool fine = false;  // one number per place, jagged: thin and hard-edged, which also paints many times faster
  std::vector<double> x, y;
};

struct CurveData {
  QString xTitle, yTitle;
  std::vector<CurveSeries> series;
  bool logarithmic = false;
  double xEnd = 0, yEnd = 0;  // least ends of the axes; 0: the data's
  double marker = -1;         // a dotted line at this x; negative: none
  bool titles = true, fromZero = true;  // titles at the axes; a linear axis begins at 0
  double yLeast = 0;                    // where a logarithmic axis begins at the lowest; what is smaller lies below it
};

class CurvePlot : public ChartWidget {
  Q_OBJECT
 public:
  CurvePlot(const QString& objectName, const QString& accessibleName, QWidget* parent = nullptr);
  void setData(CurveData data);
  void clear() { setData({}); }
  void setLabelRoom(int pixels);  // right of the axes, at least: more where labels need it and half the width is left
  void setMargins(int left, int right, int bottom, int top);  // instead of those of a plot with labels
  [[nodiscard]] DataTable dataTable() const override;
  [[nodiscard]] bool isEmpty() const override;

 protected:
  void rebuild() override;
  bool moveCursor(int dx, int dy) override;
  void mouseMoveEvent(QMouseEvent* event) override;
  void resizeEvent(QResizeEvent* event) override;

 private:
  struct Range {
    double low, high;
  };
  [[nodiscard]] bool drawn(double y) const;
  [[nodiscard]] int labelRoom() const;
  void makeRoom();
  [[nodiscard]] Range xRange() const;
  [[nodiscard]] Range yRange() const;
  void paintLabels(QPainter& painter, const QRectF& area) const;
  void showAt(double x);
  CurveData m_data;
  double m_cursor = 0;
  struct Margins {
    int left = 60, right = 74, bottom = 36, top = 8;
  };
  Margins m_margins;
};

}  // namespace nibble
