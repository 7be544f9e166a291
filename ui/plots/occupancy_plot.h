// SPDX-License-Identifier: GPL-3.0-or-later
// How often each code is used, in percent of all codes. A code that is never used leaves a gap: a level paid for in vain. Above
// 512 codes neighbours share a bar.
#pragma once
#include "core/schemes/scheme.h"
#include "ui/plots/chart_widget.h"

#include <cstdint>
#include <vector>

namespace nibble {

struct OccupancyData {
  std::vector<std::uint64_t> counts;  // by code
  Family family = Family::Uniform;
  int selectedCode = -1;  // drawn in accent; -1: none
  QString what{}, of{};   // instead of "code" and "weights"
};

class OccupancyPlot : public ChartWidget {
  Q_OBJECT
 public:
  explicit OccupancyPlot(QWidget* parent = nullptr, const QString& objectName = QStringLiteral("occupancy"));
  void setData(OccupancyData data);
  void clear();
  [[nodiscard]] DataTable dataTable() const override;
  [[nodiscard]] bool isEmpty() const override { return m_data.counts.empty(); }

 signals:
  void codeClicked(int code);

 protected:
  void rebuild() override;
  bool moveCursor(int dx, int dy) override;
  void mouseMoveEvent(QMouseEvent* event) override;
  void mousePressEvent(QMouseEvent* event) override;

 private:
  [[nodiscard]] int codeAt(double x) const;  // -1: none
  void showCode(int code);
  OccupancyData m_data;
  std::uint64_t m_total = 0;
  int m_cursor = -1;
};

}  // namespace nibble
