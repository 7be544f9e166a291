// SPDX-License-Identifier: GPL-3.0-or-later
#include "ui/plots/label_places.h"

#include <algorithm>
#include <limits>

namespace nibble {
namespace {

// What the next place in the order costs, in square pixels covered.
constexpr double awayFromNearest = 12;

double overlap(const QRectF& a, const QRectF& b) {
  const QRectF both = a.intersected(b);
  return both.isEmpty() ? 0 : both.width() * both.height();
}

std::vector<QRectF> candidates(const LabelWish& wish) {
  const double w = wish.size.width(), h = wish.size.height(), gap = wish.gap;
  const QPointF m = wish.mark;
  std::vector<QRectF> places;
  for (const double down : {0.0, 8.0, -10.0, 16.0, -18.0, 26.0, -28.0}) {
    const double top = m.y() - h / 2 + down;
    const double side = down == 0 ? gap : gap - 1;
    places.emplace_back(m.x() + side, top, w, h);
    places.emplace_back(m.x() - side - w, top, w, h);
  }
  for (const double away : {gap, gap + 14}) {
    places.emplace_back(m.x() - w / 2, m.y() + away - 2, w, h);
    places.emplace_back(m.x() - w / 2, m.y() - away - h + 2, w, h);
  }
  return places;
}

}  // namespace

std::vector<QRectF> placeLabels(const std::vector<LabelWish>& wishes, const std::vector<QPointF>& marks, const QRectF& area,
                                double markRadius, double apart) {
  std::vector<QRectF> placed;
  for (const LabelWish& wish : wishes) {
    QRectF best;
    double least = std::numeric_limits<double>::infinity(), preference = 0;
    for (const QRectF& place : candidates(wish)) {
      double cost = (place.width() * place.height() - overlap(place, area)) * 4;
      for (const QPointF& mark : marks) {
        cost += overlap(place, QRectF(mark.x() - markRadius, mark.y() - markRadius, 2 * markRadius, 2 * markRadius)) * 2;
      }
      for (const QRectF& other : placed) {
        const double closer = std::max(0.0, apart - place.height()) / 2;
        cost += overlap(place.adjusted(-3, -closer, 3, closer), other) * 3;
      }
      cost += awayFromNearest * preference;
      preference += 1;
      if (cost < least - 1e-9) least = cost, best = place;
    }
    placed.push_back(best);
  }
  return placed;
}

}  // namespace nibble
