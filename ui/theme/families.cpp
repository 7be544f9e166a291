// SPDX-License-Identifier: GPL-3.0-or-later
#include "ui/theme/theme.h"

#include <QGuiApplication>
#include <QIconEngine>
#include <QPainter>
#include <QPainterPath>
#include <array>
#include <cmath>
#include <numbers>

namespace nibble {
namespace {

struct FamilyLook {
  QRgb light, dark;
  Mark mark;
};

// In the order of enum Family.
constexpr std::array<FamilyLook, 8> looks{{
    {0xFF3A70C6, 0xFF1881BA, Mark::Disc},
    {0xFFDC7D19, 0xFFE88A32, Mark::Square},
    {0xFF285019, 0xFF6ED19C, Mark::TriangleUp},
    {0xFF79328D, 0xFFE287FC, Mark::Diamond},
    {0xFF36A0B1, 0xFF9DECFA, Mark::TriangleDown},
    {0xFF746A13, 0xFFE6CC06, Mark::PlusCircle},
    {0xFFD3486A, 0xFFE0403B, Mark::CrossSquare},
    {0xFF342B2D, 0xFF999496, Mark::Star},
}};

const FamilyLook& lookOf(Family family) {
  return looks[static_cast<std::size_t>(family)];
}

void drawStar(QPainter& painter, QPointF c, double r) {
  for (int arm = 0; arm < 4; ++arm) {
    const double angle = arm * std::numbers::pi / 4;
    const QPointF d(r * std::cos(angle), r * std::sin(angle));
    painter.drawLine(c - d, c + d);
  }
}

// The mark of a family in the colours of the palette at paint time.
class FamilyIconEngine : public QIconEngine {
 public:
  explicit FamilyIconEngine(Family family) : m_family(family) {}
  void paint(QPainter* painter, const QRect& rect, QIcon::Mode mode, QIcon::State /*state*/) override {
    const Theme& theme = themeOf(QGuiApplication::palette());
    const QColor colour = mode == QIcon::Disabled ? theme.text3 : familyColour(theme, m_family);
    painter->save();
    painter->setRenderHint(QPainter::Antialiasing);
    drawMark(*painter, QRectF(rect).center(), markOf(m_family), colour, rect.width() * 9.0 / 16);
    painter->restore();
  }
  QPixmap pixmap(const QSize& size, QIcon::Mode mode, QIcon::State state) override {
    QPixmap pixmap(size);
    pixmap.fill(Qt::transparent);
    QPainter painter(&pixmap);
    paint(&painter, QRect(QPoint(), size), mode, state);
    return pixmap;
  }
  [[nodiscard]] QIconEngine* clone() const override { return new FamilyIconEngine(m_family); }

 private:
  Family m_family;
};

}  // namespace

Mark markOf(Family family) {
  return lookOf(family).mark;
}

QColor familyColour(const Theme& theme, Family family) {
  return QColor(theme.dark ? lookOf(family).dark : lookOf(family).light);
}

void drawMark(QPainter& painter, QPointF c, Mark mark, const QColor& colour, double size) {
  const double r = size / 2;
  const bool lines = mark == Mark::PlusCircle || mark == Mark::CrossSquare || mark == Mark::Star;
  painter.save();
  painter.setRenderHint(QPainter::Antialiasing);
  painter.setPen(lines ? QPen(colour, 1.5) : QPen(Qt::NoPen));
  painter.setBrush(lines ? QBrush(Qt::NoBrush) : QBrush(colour));
  const auto polygon = [&](std::initializer_list<QPointF> points) {
    QPolygonF shape;
    for (const QPointF& p : points) shape << c + p * r;
    painter.drawPolygon(shape);
  };
  switch (mark) {
    case Mark::Disc:
      painter.drawEllipse(c, r, r);
      break;
    case Mark::Square:
      painter.fillRect(QRectF(c.x() - r * 0.9, c.y() - r * 0.9, size * 0.9, size * 0.9), colour);
      break;
    case Mark::TriangleUp:
      polygon({{0, -1}, {1.05, 0.85}, {-1.05, 0.85}});
      break;
    case Mark::TriangleDown:
      polygon({{0, 1}, {1.05, -0.85}, {-1.05, -0.85}});
      break;
    case Mark::Diamond:
      polygon({{0, -1.2}, {1.2, 0}, {0, 1.2}, {-1.2, 0}});
      break;
    case Mark::PlusCircle:
      painter.drawEllipse(c, r, r);
      painter.drawLine(c - QPointF(r, 0), c + QPointF(r, 0));
      painter.drawLine(c - QPointF(0, r), c + QPointF(0, r));
      break;
    case Mark::CrossSquare:
      painter.drawRect(QRectF(c.x() - r * 0.9, c.y() - r * 0.9, size * 0.9, size * 0.9));
      painter.drawLine(c - QPointF(r, r) * 0.9, c + QPointF(r, r) * 0.9);
      painter.drawLine(c - QPointF(r, -r) * 0.9, c + QPointF(r, -r) * 0.9);
      break;
    case Mark::Star:
      drawStar(painter, c, r * 1.1);
      break;
  }
  painter.restore();
}

QIcon familyIcon(Family family) {
  return QIcon(new FamilyIconEngine(family));
}

}  // namespace nibble
