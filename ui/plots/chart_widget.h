// SPDX-License-Identifier: GPL-3.0-or-later
// A plot with axes, drawn by QCustomPlot, which stays hidden behind this class: subclasses fill chart() in their .cpp. The
// chart is never shown: it paints straight into this widget, a picture, SVG or PDF, one path for all, and the plot is one
// widget to a person, a test and a screen reader. A change only marks the chart; it is rebuilt once, at the next repaint.
#pragma once
#include "ui/plots/plot_widget.h"

class QCustomPlot;

namespace nibble {

class ChartWidget : public PlotWidget {
  Q_OBJECT
 public:
  ~ChartWidget() override;
  // Left and bottom margin of the axes, so that plots above each other line up. Default 46 and 36.
  void setAxisMargins(int left, int right, int bottom, int top);
  // Pixels of the axis area in this widget, for tests and overlays.
  [[nodiscard]] QRect axisArea() const;

 protected:
  ChartWidget(const QString& objectName, const QString& accessibleName, QWidget* parent);
  [[nodiscard]] QCustomPlot* chart() const { return m_chart; }
  [[nodiscard]] QPointF toData(QPointF pixel) const;  // through the bottom and left axis
  [[nodiscard]] QPointF toPixel(QPointF data) const;
  // The line under the pointer, at a data x with its text for the header; NaN hides the line.
  void setHairLine(double x, const QString& text);
  // Axis titles and ticks of the axes that show a grid.
  void setTitles(const QString& bottom, const QString& left);
  void setGrid(bool vertical, bool horizontal);

  // Subclass: fill the empty chart anew with graphs and painters; called before painting after data, size or palette changed.
  virtual void rebuild() = 0;

  void renderTo(QPaintDevice* device, QSize size) override;
  void recolour() override;
  void resizeEvent(QResizeEvent* event) override;
  void paintEvent(QPaintEvent* event) override;
  void leaveEvent(QEvent* event) override;
  void invalidate();         // data, size or colours changed
  void ensureBuilt() const;  // rebuild() now if it is due, so that pixels and data agree

 private:
  void applyAxisColours();
  void layOut(QSize size);
  QCustomPlot* m_chart = nullptr;
  QString m_bottomTitle, m_leftTitle;
  double m_hair;
  bool m_dirty = true;
};

}  // namespace nibble
