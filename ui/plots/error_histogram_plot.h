// SPDX-License-Identifier: GPL-3.0-or-later
// Density of the error divided by the step of its own group, with the +-1/2 step band in which a nearest-level scheme stays and
// the share that left it. Log density by default, from a decade below the density of one single error (named in the tooltip).
// Steps: multiples of the group's step.
#pragma once
#include "core/report/histogram.h"
#include "core/schemes/scheme.h"
#include "ui/plots/chart_widget.h"

namespace nibble {

struct ErrorHistogramData {
  Histogram errors;          // over error / step, or over plain error
  double outsideShare = -1;  // share of errors beyond half a step, 0..1; negative: not known, no label
  bool inSteps = true;       // false: axis is plain error and there is no band
  Family family = Family::Uniform;
};

class ErrorHistogramPlot : public ChartWidget {
  Q_OBJECT
 public:
  explicit ErrorHistogramPlot(QWidget* parent = nullptr, const QString& objectName = QStringLiteral("errorHistogram"));
  void setData(ErrorHistogramData data);
  void clear();
  void setLogarithmic(bool on);
  [[nodiscard]] bool logarithmic() const { return m_logarithmic; }
  [[nodiscard]] DataTable dataTable() const override;
  [[nodiscard]] bool isEmpty() const override { return m_data.errors.counts.empty(); }

 protected:
  void rebuild() override;
  bool moveCursor(int dx, int dy) override;
  void mouseMoveEvent(QMouseEvent* event) override;

 private:
  [[nodiscard]] double density(int bin) const;  // per step (or unit of error); the whole integrates to 1
  void addBand();
  void showBin(int bin);
  ErrorHistogramData m_data;
  bool m_logarithmic = true;
  int m_cursor = -1;
};

}  // namespace nibble
