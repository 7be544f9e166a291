// SPDX-License-Identifier: GPL-3.0-or-later
// Which cells of a matrix a rectangle of pixels shows, and how zoom and pan change that: whole cells only, at least four each
// way (or all there are), never outside the matrix. Pure values, used by MatrixPlot. Internal to plots.
#pragma once
#include "ui/plots/pooling.h"

#include <QPointF>
#include <QRectF>
#include <optional>
#include <utility>

namespace nibble {

using Cell = std::pair<std::uint64_t, std::uint64_t>;

struct MatrixView {
  std::uint64_t rows = 0, columns = 0;
  MatrixRegion region;
  QRectF area;  // pixels of the map

  [[nodiscard]] bool valid() const {
    return region.rows() > 0 && region.columns() > 0 && area.width() >= 1 && area.height() >= 1;
  }
  [[nodiscard]] MatrixRegion whole() const { return {0, rows, 0, columns}; }
  [[nodiscard]] double cellWidth() const { return area.width() / static_cast<double>(region.columns()); }
  [[nodiscard]] double cellHeight() const { return area.height() / static_cast<double>(region.rows()); }
  [[nodiscard]] std::optional<Cell> cellAt(QPointF pixel) const;
  // Pixels of any cells, those outside the view included.
  [[nodiscard]] QRectF rectOf(const MatrixRegion& cells) const;

  [[nodiscard]] MatrixRegion clamped(MatrixRegion wanted) const;
  [[nodiscard]] MatrixRegion zoomed(QPointF pixel, double factor) const;  // factor < 1: closer
  [[nodiscard]] MatrixRegion within(QRectF pixels) const;                 // cells touched by a rubber band
  [[nodiscard]] MatrixRegion moved(double rowsDown, double columnsRight) const;
};

}  // namespace nibble
