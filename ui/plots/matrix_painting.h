// SPDX-License-Identifier: GPL-3.0-or-later
// How the matrix plot looks, part by part, for one repaint: ground, map with the numbers of large cells, axes, colour scale,
// the frame of the chosen group, the rubber band. Nothing is kept between repaints but the coloured image. Internal to plots.
#pragma once
#include "ui/plots/matrix_view.h"
#include "ui/theme/colour_map.h"

#include <QImage>
#include <QString>

class QPainter;

namespace nibble {

struct Theme;

QImage colouredImage(const PooledMatrix& picture, const ColourMap& colours);
// The asked range; where it is empty, one from the picture: 0 or -m up to the 99.5 % magnitude m, rounded to 1, 2, 2.5, 4, 5 x
// 10^n.
std::pair<double, double> scaleRange(const PooledMatrix& picture, ColourScale scale, double low, double high);

struct MatrixPainting {
  const MatrixView& view;
  const Theme& theme;
  const ColourMap& colours;
  int decimals = 2;

  void ground(QPainter& painter, QSize size) const;
  void map(QPainter& painter, const QImage& image, const PooledMatrix& picture) const;
  void axes(QPainter& painter, const QString& bottom, const QString& left) const;
  void colourScale(QPainter& painter, bool ownDecimals) const;
  void frame(QPainter& painter, const MatrixRegion& group, const std::optional<Cell>& chosen) const;
  void cursor(QPainter& painter, const Cell& cell) const;
  void band(QPainter& painter, const QRectF& rect) const;

 private:
  void numbers(QPainter& painter, const PooledMatrix& picture) const;
};

}  // namespace nibble
