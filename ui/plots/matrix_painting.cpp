// SPDX-License-Identifier: GPL-3.0-or-later
#include "ui/plots/matrix_painting.h"

#include "ui/plots/chart_tools.h"
#include "ui/theme/number_text.h"
#include "ui/theme/theme.h"

#include <QPainter>
#include <algorithm>
#include <cmath>

namespace nibble {
namespace {

constexpr double scaleGap = 12, scaleWidth = 10;
constexpr double numberCellWidth = 46, numberCellHeight = 16;

}  // namespace

QImage colouredImage(const PooledMatrix& picture, const ColourMap& colours) {
  QImage image(picture.width, picture.height, QImage::Format_RGB32);
  for (int y = 0; y < picture.height; ++y) {
    auto* line = reinterpret_cast<QRgb*>(image.scanLine(y));
    const float* values = picture.values.data() + static_cast<std::size_t>(y) * static_cast<std::size_t>(picture.width);
    for (int x = 0; x < picture.width; ++x) line[x] = colours.at(static_cast<double>(values[x]));
  }
  return image;
}

std::pair<double, double> scaleRange(const PooledMatrix& picture, ColourScale scale, double low, double high) {
  if (high > low) return {low, high};
  std::vector<float> sizes;
  for (const float value : picture.values) {
    if (std::isfinite(value)) sizes.push_back(std::abs(value));
  }
  double extent = 0;
  if (!sizes.empty()) {
    const auto at = sizes.begin() + static_cast<std::ptrdiff_t>(static_cast<double>(sizes.size() - 1) * 0.995);
    std::nth_element(sizes.begin(), at, sizes.end());
    extent = static_cast<double>(*at > 0 ? *at : *std::max_element(sizes.begin(), sizes.end()));
  }
  extent = extent > 0 ? niceStep(extent, 1) : 1;
  return {scale == ColourScale::Diverging ? -extent : 0, extent};
}

void MatrixPainting::ground(QPainter& painter, QSize size) const {
  painter.fillRect(QRect(QPoint(), size), theme.panel);
}

void MatrixPainting::map(QPainter& painter, const QImage& image, const PooledMatrix& picture) const {
  if (image.isNull()) return painter.fillRect(view.area, theme.band);
  painter.save();
  painter.setClipRect(view.area);
  painter.setRenderHint(QPainter::SmoothPixmapTransform, false);
  painter.fillRect(view.area, theme.band);
  painter.drawImage(view.rectOf(picture.region), image);
  numbers(painter, picture);
  painter.restore();
}

void MatrixPainting::numbers(QPainter& painter, const PooledMatrix& picture) const {
  const bool single = static_cast<std::uint64_t>(picture.width) == picture.region.columns() &&
                      static_cast<std::uint64_t>(picture.height) == picture.region.rows();
  if (!single || picture.region != view.region || view.cellWidth() < numberCellWidth || view.cellHeight() < numberCellHeight)
    return;
  painter.setFont(fonts::hint());
  const QColor darkInk = themeFor(false).text, lightInk = themeFor(true).text;
  for (int y = 0; y < picture.height; ++y) {
    for (int x = 0; x < picture.width; ++x) {
      const double value =
          picture.values[static_cast<std::size_t>(y) * static_cast<std::size_t>(picture.width) + static_cast<std::size_t>(x)];
      const QColor ground(colours.at(value));
      const auto row = picture.region.rowBegin + static_cast<std::uint64_t>(y),
                 column = picture.region.columnBegin + static_cast<std::uint64_t>(x);
      painter.setPen(contrast(darkInk, ground) > contrast(lightInk, ground) ? darkInk : lightInk);
      painter.drawText(view.rectOf({row, row + 1, column, column + 1}), Qt::AlignCenter,
                       formatFixed(value, std::max(decimals + 2, 3)));
    }
  }
}

void MatrixPainting::axes(QPainter& painter, const QString& bottom, const QString& left) const {
  painter.save();
  painter.setFont(fonts::hint());
  const double line = QFontMetricsF(painter.font()).height();
  const QRectF& a = view.area;
  const MatrixRegion& r = view.region;
  painter.setRenderHint(QPainter::Antialiasing, false);
  painter.setPen(QPen(theme.axis, 1));
  painter.drawLine(QPointF(a.left() - 1, a.top()), QPointF(a.left() - 1, a.bottom()));
  painter.drawLine(QPointF(a.left() - 1, a.bottom()), QPointF(a.right(), a.bottom()));
  const int mostRows = std::clamp(static_cast<int>(a.height() / 52), 1, 6),
            mostColumns = std::clamp(static_cast<int>(a.width() / 52), 1, 6);
  for (const Tick& tick : cellTicks(static_cast<double>(r.rowBegin), static_cast<double>(r.rowEnd), mostRows)) {
    const double y = a.top() + (tick.position - static_cast<double>(r.rowBegin)) * view.cellHeight();
    painter.setPen(QPen(theme.axis, 1));
    painter.drawLine(QPointF(a.left() - 5, std::floor(y)), QPointF(a.left() - 1, std::floor(y)));
    painter.setPen(theme.text2);
    painter.drawText(QRectF(a.left() - 48, y - line / 2, 40, line), Qt::AlignRight | Qt::AlignVCenter, tick.text);
  }
  for (const Tick& tick : cellTicks(static_cast<double>(r.columnBegin), static_cast<double>(r.columnEnd), mostColumns)) {
    const double x = a.left() + (tick.position - static_cast<double>(r.columnBegin)) * view.cellWidth();
    painter.setPen(QPen(theme.axis, 1));
    painter.drawLine(QPointF(std::floor(x), a.bottom()), QPointF(std::floor(x), a.bottom() + 4));
    painter.setPen(theme.text2);
    painter.drawText(QRectF(x - 40, a.bottom() + 6, 80, line), Qt::AlignCenter, tick.text);
  }
  drawAxisTitles(painter, a, bottom, left, theme, a.bottom() + 35);
  painter.restore();
}

void MatrixPainting::colourScale(QPainter& painter, bool ownDecimals) const {
  const QRectF bar(view.area.right() + scaleGap, view.area.top(), scaleWidth, view.area.height());
  QImage strip(1, 256, QImage::Format_RGB32);
  const double span = colours.high() - colours.low();
  for (int y = 0; y < 256; ++y) strip.setPixel(0, y, colours.at(colours.high() - span * y / 255));
  painter.drawImage(bar, strip);
  painter.setFont(fonts::hint());
  const double line = QFontMetricsF(painter.font()).height();
  const int steps = colours.low() < 0 || bar.height() < 90 ? 4 : 5;
  const bool whole = !ownDecimals && decimals == 0;
  const auto ticks =
      whole ? niceTicks(colours.low(), colours.high(), 5)
            : stepTicks(colours.low(), colours.high(), colours.low() < 0 ? span / 4 : niceStep(span, steps), false);
  for (const Tick& tick : ticks) {
    const double y = bar.bottom() - (tick.position - colours.low()) / span * bar.height();
    painter.setPen(QPen(theme.axis, 1));
    painter.drawLine(QPointF(bar.right(), std::floor(y)), QPointF(bar.right() + 2, std::floor(y)));
    painter.setPen(theme.text2);
    painter.drawText(QRectF(bar.right() + 7, y - line / 2, 60, line), Qt::AlignLeft | Qt::AlignVCenter,
                     ownDecimals ? tick.text : formatFixed(tick.position, decimals));
  }
}

void MatrixPainting::frame(QPainter& painter, const MatrixRegion& group, const std::optional<Cell>& chosen) const {
  constexpr double leastSide = 8;
  QRectF rect = view.rectOf(group);
  const bool visible = rect.intersects(view.area), flat = rect.height() < leastSide, slim = rect.width() < leastSide;
  if (flat) rect.adjust(0, (rect.height() - leastSide) / 2, 0, (leastSide - rect.height()) / 2);
  if (slim) rect.adjust((rect.width() - leastSide) / 2, 0, (leastSide - rect.width()) / 2, 0);
  // What was made larger keeps all its sides at the edge.
  const auto inside = [](double low, double from, double to) { return std::max(from, std::min(low, to - leastSide)); };
  if (visible && flat) rect.moveTop(inside(rect.top(), view.area.top(), view.area.bottom()));
  if (visible && slim) rect.moveLeft(inside(rect.left(), view.area.left(), view.area.right()));
  rect = QRectF(rect.toAlignedRect());
  painter.save();
  painter.setClipRect(view.area.adjusted(-2, -2, 2, 2));
  painter.setRenderHint(QPainter::Antialiasing);
  painter.setBrush(Qt::NoBrush);
  painter.setPen(QPen(theme.panel, 4, Qt::SolidLine, Qt::SquareCap, Qt::MiterJoin));
  painter.drawRect(rect);
  painter.setPen(QPen(theme.accent, 2, Qt::SolidLine, Qt::SquareCap, Qt::MiterJoin));
  painter.drawRect(rect);
  if (chosen) {
    const QRectF cell = view.rectOf({chosen->first, chosen->first + 1, chosen->second, chosen->second + 1});
    if (cell.width() >= 10 && cell.height() >= 10) painter.drawRect(cell.adjusted(1, 1, -1, -1));
  }
  painter.restore();
}

void MatrixPainting::cursor(QPainter& painter, const Cell& at) const {
  const QPointF centre = view.rectOf({at.first, at.first + 1, at.second, at.second + 1}).center();
  painter.save();
  painter.setClipRect(view.area);
  painter.setPen(QPen(theme.text, 1));
  painter.drawLine(QPointF(centre.x(), view.area.top()), QPointF(centre.x(), view.area.bottom()));
  painter.drawLine(QPointF(view.area.left(), centre.y()), QPointF(view.area.right(), centre.y()));
  painter.restore();
}

void MatrixPainting::band(QPainter& painter, const QRectF& rect) const {
  QColor soft = theme.accent;
  soft.setAlphaF(0.15F);
  painter.fillRect(rect, soft);
  painter.setPen(QPen(theme.accent, 1, Qt::DashLine));
  painter.drawRect(rect);
}

}  // namespace nibble
