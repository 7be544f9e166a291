// SPDX-License-Identifier: GPL-3.0-or-later
// Per row (output channel): minimum, 1 %, median, 99 % and maximum, rows down. Lies beside the matrix and shares its row range,
// zoom and selection. The band is 1 % to 99 %, the fine line minimum and maximum, the dark line the median. Where many rows
// share a pixel each quantity shows its extreme (minimum of minima, maximum of maxima; median: the mean).
#pragma once
#include "ui/plots/chart_widget.h"

#include <vector>

namespace nibble {

struct RowRange {
  float low = 0, percent1 = 0, median = 0, percent99 = 0, high = 0;
};

class RowRangesPlot : public ChartWidget {
  Q_OBJECT
 public:
  explicit RowRangesPlot(QWidget* parent = nullptr, const QString& objectName = QStringLiteral("rowRanges"));
  void setData(std::vector<RowRange> rows);
  void clear();
  void setSelectedRow(qint64 row);  // -1: none; line with its label
  [[nodiscard]] qint64 selectedRow() const { return m_selected; }
  [[nodiscard]] std::pair<quint64, quint64> rowRange() const { return {m_begin, m_end}; }
  [[nodiscard]] DataTable dataTable() const override;
  [[nodiscard]] bool isEmpty() const override { return m_rows.empty(); }

 public slots:
  void setRowRange(quint64 begin, quint64 end);

 signals:
  void rowClicked(quint64 row);
  void rowRangeChanged(quint64 begin, quint64 end);

 protected:
  void rebuild() override;
  bool moveCursor(int dx, int dy) override;
  void mouseMoveEvent(QMouseEvent* event) override;
  void mousePressEvent(QMouseEvent* event) override;
  void mouseDoubleClickEvent(QMouseEvent* event) override;
  void wheelEvent(QWheelEvent* event) override;

 private:
  [[nodiscard]] qint64 rowAt(QPointF pixel) const;  // -1: none
  void paintRowLines(QPainter& painter, const QRectF& area) const;
  void showRow(qint64 row);
  std::vector<RowRange> m_rows;
  qint64 m_selected = -1, m_cursor = -1;
  quint64 m_begin = 0, m_end = 0;
};

}  // namespace nibble
