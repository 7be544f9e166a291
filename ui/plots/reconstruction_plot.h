// SPDX-License-Identifier: GPL-3.0-or-later
// Where pairs of a weight (across) and its reconstruction (up) lie: the colour of a square is the count of pairs in it, in equal
// steps of its logarithm from one pair up; squares without a pair draw nothing. On the dashed line both are equal; upright
// distance from it is the error. The chosen weight is ringed.
#pragma once
#include "core/report/reconstruction.h"
#include "ui/plots/chart_widget.h"

#include <memory>
#include <optional>
#include <vector>

namespace nibble {

class ReconstructionPlot : public ChartWidget {
  Q_OBJECT
 public:
  explicit ReconstructionPlot(QWidget* parent = nullptr, const QString& objectName = QStringLiteral("reconstruction"));
  void setData(std::shared_ptr<const Reconstruction> pairs);
  void clear() { setData(nullptr); }
  void setSelected(const std::optional<QPointF>& weightAndValue);
  [[nodiscard]] DataTable dataTable() const override;  // squares that hold a pair
  [[nodiscard]] bool isEmpty() const override { return m_pairs == nullptr; }

 protected:
  void rebuild() override;
  bool moveCursor(int dx, int dy) override;
  void mouseMoveEvent(QMouseEvent* event) override;

 private:
  // What is drawn: squares smaller than a pixel are put together, so that none is lost between pixels.
  struct Grid {
    int across = 1, up = 1;  // squares put together
    int columns = 0, rows = 0;
    std::vector<std::uint64_t> counts;  // [rows, columns], from the lowest up
    std::uint64_t most = 0;
  };
  void putTogether();
  [[nodiscard]] std::uint64_t drawn(int column, int row) const { return m_grid.counts[static_cast<std::size_t>(row * m_grid.columns + column)]; }
  [[nodiscard]] double edge(int bin) const;     // where a square begins; the end where there are no more
  [[nodiscard]] double left(int column) const;  // pixel where a drawn square begins
  [[nodiscard]] double bottom(int row) const;   // pixel below it
  void paintPairs(QPainter& painter, const QRectF& area) const;
  void paintSelection(QPainter& painter) const;
  void paintColourScale(QPainter& painter, const QRectF& area) const;
  void showSquare(int column, int row);
  std::shared_ptr<const Reconstruction> m_pairs;
  std::optional<QPointF> m_selected;
  Grid m_grid;
  int m_cursorColumn = -1, m_cursorRow = -1;
};

}  // namespace nibble
