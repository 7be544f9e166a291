// SPDX-License-Identifier: GPL-3.0-or-later
// A plot with axes, drawn by QCustomPlot, which stays hidden behind this class: subclasses fill chart() in their .cpp. The chart is a
// child without mouse or focus of its own, so that the plot is one widget to a person, a test and a screen reader.
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
  [[nodiscard]] QPointF toData(QPointF pixel) const;   // through the bottom and left axis
  [[nodiscard]] QPointF toPixel(QPointF data) const;
  void requestReplot();
  // The vertical hair line at a data x; NaN hides it.
  void setHairLine(double x);

  // Subclass: give all items their colours and data anew; called before a replot after data, size or palette changed.
  virtual void rebuild() = 0;

  void renderTo(QPaintDevice* device, QSize size) override;
  void recolour() override;
  void resizeEvent(QResizeEvent* event) override;
  void paintEvent(QPaintEvent* event) override;
  void leaveEvent(QEvent* event) override;
  void invalidate();  // rebuild() and replot at the next event loop turn

 private:
  void applyAxisColours();
  void flush();
  QCustomPlot* m_chart = nullptr;
  double m_hair = 0;
  bool m_hairShown = false, m_dirty = true, m_queued = false;
};

}  // namespace nibble
