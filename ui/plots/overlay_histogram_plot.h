// SPDX-License-Identifier: GPL-3.0-or-later
// Error densities of the ticked candidates as unfilled steps over one axis, at most six, with a key in the upper right corner
// sorted by sigma, widest first. All histograms are drawn as densities, so different bins compare.
#pragma once
#include "core/report/histogram.h"
#include "core/schemes/scheme.h"
#include "ui/plots/chart_widget.h"

#include <vector>

namespace nibble {

struct OverlaySeries {
  Histogram errors;
  QString label;     // "hqq 4"
  double sigma = 0;  // root of the mean squared error
  Family family = Family::Uniform;
  bool baseline = false;  // heavier line and bold label
};

inline constexpr std::size_t overlaySeriesMost = 6;

class OverlayHistogramPlot : public ChartWidget {
  Q_OBJECT
 public:
  explicit OverlayHistogramPlot(QWidget* parent = nullptr, const QString& objectName = QStringLiteral("errorOverlay"));
  void setData(std::vector<OverlaySeries> series);  // beyond six the rest is left out
  void clear();
  void setLogarithmic(bool on);
  [[nodiscard]] bool logarithmic() const { return m_logarithmic; }
  [[nodiscard]] DataTable dataTable() const override;
  [[nodiscard]] bool isEmpty() const override { return m_series.empty(); }

 protected:
  void rebuild() override;
  bool moveCursor(int dx, int dy) override;
  void mouseMoveEvent(QMouseEvent* event) override;

 private:
  void addSteps(const OverlaySeries& series, const Histogram& histogram, double unit, double floor);
  [[nodiscard]] QString sigmaText(const OverlaySeries& series) const;
  [[nodiscard]] QRectF keyArea(const QRectF& area) const;
  void paintKey(QPainter& painter, const QRectF& area) const;
  void showAt(double error);
  std::vector<OverlaySeries> m_series;
  bool m_logarithmic = true;
  double m_cursor = 0;
  int m_power = 0;  // the axis shows error / 10^power
};

}  // namespace nibble
