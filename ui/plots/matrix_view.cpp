// SPDX-License-Identifier: GPL-3.0-or-later
#include "ui/plots/matrix_view.h"

#include <algorithm>
#include <cmath>

namespace nibble {
namespace {

constexpr std::uint64_t leastCells = 4;

// [begin, end) with at least leastCells (or all) cells inside [0, count).
std::pair<std::uint64_t, std::uint64_t> fitted(double begin, double end, std::uint64_t count) {
  const auto whole = static_cast<double>(count);
  const double span = std::clamp(std::nearbyint(end - begin), static_cast<double>(std::min(leastCells, count)), whole);
  const double first = std::clamp(std::nearbyint(begin), 0.0, whole - span);
  return {static_cast<std::uint64_t>(first), static_cast<std::uint64_t>(first + span)};
}

// A wheel step must show: rounding may not swallow it.
std::pair<double, double> scaledSpan(double begin, double end, double at, double factor) {
  const double span = end - begin;
  double next = span * factor;
  if (std::abs(next - span) < 1) next = factor < 1 ? span - 1 : span + 1;
  const double first = at - (at - begin) / span * next;
  return {first, first + next};
}

}  // namespace

std::optional<Cell> MatrixView::cellAt(QPointF pixel) const {
  if (!valid() || !area.contains(pixel)) return std::nullopt;
  const double row = (pixel.y() - area.top()) / cellHeight(), column = (pixel.x() - area.left()) / cellWidth();
  const auto inside = [](double cell, std::uint64_t begin, std::uint64_t end) {
    return std::min(begin + static_cast<std::uint64_t>(std::max(cell, 0.0)), end - 1);
  };
  return Cell{inside(row, region.rowBegin, region.rowEnd), inside(column, region.columnBegin, region.columnEnd)};
}

QRectF MatrixView::rectOf(const MatrixRegion& cells) const {
  const auto pixelX = [&](std::uint64_t c) {
    return area.left() + (static_cast<double>(c) - static_cast<double>(region.columnBegin)) * cellWidth();
  };
  const auto pixelY = [&](std::uint64_t r) {
    return area.top() + (static_cast<double>(r) - static_cast<double>(region.rowBegin)) * cellHeight();
  };
  return {QPointF(pixelX(cells.columnBegin), pixelY(cells.rowBegin)), QPointF(pixelX(cells.columnEnd), pixelY(cells.rowEnd))};
}

MatrixRegion MatrixView::clamped(MatrixRegion wanted) const {
  const auto [r0, r1] = fitted(static_cast<double>(wanted.rowBegin), static_cast<double>(wanted.rowEnd), rows);
  const auto [c0, c1] = fitted(static_cast<double>(wanted.columnBegin), static_cast<double>(wanted.columnEnd), columns);
  return {r0, r1, c0, c1};
}

MatrixRegion MatrixView::zoomed(QPointF pixel, double factor) const {
  const double row = static_cast<double>(region.rowBegin) + (pixel.y() - area.top()) / cellHeight();
  const double column = static_cast<double>(region.columnBegin) + (pixel.x() - area.left()) / cellWidth();
  const auto [top, bottom] = scaledSpan(static_cast<double>(region.rowBegin), static_cast<double>(region.rowEnd), row, factor);
  const auto [left, right] =
      scaledSpan(static_cast<double>(region.columnBegin), static_cast<double>(region.columnEnd), column, factor);
  const auto [r0, r1] = fitted(top, bottom, rows);
  const auto [c0, c1] = fitted(left, right, columns);
  return {r0, r1, c0, c1};
}

MatrixRegion MatrixView::within(QRectF pixels) const {
  const QRectF part = pixels.normalized().intersected(area);
  const double top = static_cast<double>(region.rowBegin) + std::floor((part.top() - area.top()) / cellHeight());
  const double bottom = static_cast<double>(region.rowBegin) + std::ceil((part.bottom() - area.top()) / cellHeight());
  const double left = static_cast<double>(region.columnBegin) + std::floor((part.left() - area.left()) / cellWidth());
  const double right = static_cast<double>(region.columnBegin) + std::ceil((part.right() - area.left()) / cellWidth());
  const auto [r0, r1] = fitted(top, bottom, rows);
  const auto [c0, c1] = fitted(left, right, columns);
  return {r0, r1, c0, c1};
}

MatrixRegion MatrixView::moved(double rowsDown, double columnsRight) const {
  const auto [r0, r1] =
      fitted(static_cast<double>(region.rowBegin) + rowsDown, static_cast<double>(region.rowEnd) + rowsDown, rows);
  const auto [c0, c1] = fitted(static_cast<double>(region.columnBegin) + columnsRight,
                               static_cast<double>(region.columnEnd) + columnsRight, columns);
  return {r0, r1, c0, c1};
}

}  // namespace nibble
