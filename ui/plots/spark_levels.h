// SPDX-License-Identifier: GPL-3.0-or-later
// The small plot of the start page: the weights of one tensor in grey and the levels a group may use in the scheme's colour; 8
// bits fill into a band. No y axis. A click (or Space, Enter) asks for this setting.
#pragma once
#include "core/report/histogram.h"
#include "core/schemes/scheme.h"
#include "ui/plots/plot_widget.h"

#include <vector>

namespace nibble {

struct SparkLevelsData {
  Histogram weights;
  std::vector<double> levels;
  Family family = Family::Hqq;
};

class SparkLevels : public PlotWidget {
  Q_OBJECT
 public:
  explicit SparkLevels(QWidget* parent = nullptr, const QString& objectName = QStringLiteral("sparkLevels"));
  void setData(SparkLevelsData data);
  void clear();
  [[nodiscard]] QSize sizeHint() const override { return {240, 190}; }
  [[nodiscard]] DataTable dataTable() const override;
  [[nodiscard]] bool isEmpty() const override { return m_data.weights.counts.empty(); }

 signals:
  void clicked();

 protected:
  void renderTo(QPaintDevice* device, QSize size) override;
  void recolour() override { update(); }
  void paintEvent(QPaintEvent* event) override;
  void mouseReleaseEvent(QMouseEvent* event) override;
  void keyPressEvent(QKeyEvent* event) override;

 private:
  SparkLevelsData m_data;
};

}  // namespace nibble
