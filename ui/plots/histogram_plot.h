// SPDX-License-Identifier: GPL-3.0-or-later
// Distribution of the raw weights as grey adjoining bars, with the levels one group may use as lines of the scheme's colour
// over them. Levels closer than 3 px become one band. Counts on a log axis (from 0.7, so that a single weight shows) or linear.
#pragma once
#include "core/report/histogram.h"
#include "core/schemes/scheme.h"
#include "ui/plots/chart_widget.h"

#include <vector>

namespace nibble {

struct HistogramData {
  Histogram weights;
  std::vector<double> levels;  // by code: levels[0] is what code 0 decodes to; may be empty, need not ascend
  Family family = Family::Uniform;
  QString unit;  // axis title, default "weight"
};

class HistogramPlot : public ChartWidget {
  Q_OBJECT
 public:
  explicit HistogramPlot(QWidget* parent = nullptr, const QString& objectName = QStringLiteral("weightHistogram"));
  void setData(HistogramData data);
  void clear();
  void setLogarithmic(bool on);
  [[nodiscard]] bool logarithmic() const { return m_logarithmic; }
  [[nodiscard]] DataTable dataTable() const override;
  [[nodiscard]] bool isEmpty() const override { return m_data.weights.counts.empty(); }

 protected:
  void rebuild() override;
  bool moveCursor(int dx, int dy) override;
  void mouseMoveEvent(QMouseEvent* event) override;

 private:
  void showBin(int bin);
  HistogramData m_data;
  bool m_logarithmic = true;
  int m_cursor = -1;
};

}  // namespace nibble
