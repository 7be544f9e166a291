// SPDX-License-Identifier: GPL-3.0-or-later
// Labels beside marks without collisions: each tries a few places around its mark, nearest and rightmost first, and takes the
// first that keeps clear of marks, other labels and the edge; if none is clear, the one that covers least. Pure. Internal to
// plots.
#pragma once
#include <QPointF>
#include <QRectF>
#include <QSizeF>
#include <vector>

namespace nibble {

struct LabelWish {
  QPointF mark;
  QSizeF size;
  double gap = 10;  // from the mark's centre to the text
};

// One rectangle per wish, in order; earlier wishes choose first. `marks`: all marks drawn; lines of text stay `apart` from
// another.
std::vector<QRectF> placeLabels(const std::vector<LabelWish>& wishes, const std::vector<QPointF>& marks, const QRectF& area,
                                double markRadius, double apart);

}  // namespace nibble
