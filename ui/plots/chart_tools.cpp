// SPDX-License-Identifier: GPL-3.0-or-later
#include "ui/plots/chart_tools.h"

#include "ui/theme/theme.h"

#include <qcustomplot.h>
#include <QPainter>
#include <QPainterPath>
#include <QPointer>
#include <QSharedPointer>
#include <QStaticText>

namespace nibble {
namespace {

// Around a circle of 1.5 pixels.
constexpr QPointF haloSteps[] = {{1.5, 0}, {1.06, 1.06}, {0, 1.5}, {-1.06, 1.06}, {-1.5, 0}, {-1.06, -1.06}, {0, -1.5}, {1.06, -1.06}};

// QCustomPlot lets everything on a layer paint; an item without positions is the smallest such thing.
class PainterItem : public QCPAbstractItem {
 public:
  PainterItem(QCustomPlot* chart, bool clipped, AreaPainter paint) : QCPAbstractItem(chart), m_paint(std::move(paint)) {
    setClipToAxisRect(clipped);
    setClipAxisRect(chart->axisRect());
    setSelectable(false);
  }
  double selectTest(const QPointF& /*pos*/, bool /*onlySelectable*/, QVariant* /*details*/) const override { return -1; }

 protected:
  void draw(QCPPainter* painter) override {
    painter->save();
    m_paint(*painter, QRectF(parentPlot()->axisRect()->rect()));
    painter->restore();
  }

 private:
  AreaPainter m_paint;
};

}  // namespace

void setTicks(QCPAxis* axis, const std::vector<Tick>& ticks) {
  QSharedPointer<QCPAxisTickerText> ticker(new QCPAxisTickerText);
  ticker->setSubTickCount(0);
  for (const Tick& tick : ticks) ticker->addTick(tick.position, tick.text);
  axis->setTicker(ticker);
}

void addPainter(QCustomPlot* chart, const QString& layer, bool clipped, AreaPainter paint) {
  auto* item = new PainterItem(chart, clipped, std::move(paint));
  item->setLayer(layer);
}

void drawTickLabels(QPainter& painter, const QRectF& area, const QCPAxis* bottom, const QCPAxis* left, const Theme& theme) {
  painter.setFont(fonts::hint());
  painter.setPen(theme.text2);
  const double line = QFontMetricsF(painter.font()).height();
  const auto each = [](const QCPAxis* axis, auto draw) {
    const auto ticker = axis->ticker().dynamicCast<QCPAxisTickerText>();
    if (ticker == nullptr) return;
    const QMap<double, QString>& ticks = ticker->ticks();
    const double slack = axis->range().size() * 1e-9;
    for (auto tick = ticks.begin(); tick != ticks.end(); ++tick) {
      if (tick.key() >= axis->range().lower - slack && tick.key() <= axis->range().upper + slack)
        draw(axis->coordToPixel(tick.key()), tick.value());
    }
  };
  each(bottom, [&](double x, const QString& text) {
    painter.drawText(QRectF(x - 40, area.bottom() + 6, 80, line), Qt::AlignCenter, text);
  });
  each(left, [&](double y, const QString& text) {
    painter.drawText(QRectF(area.left() - 68, y - line / 2, 60, line), Qt::AlignRight | Qt::AlignVCenter, text);
  });
}

void drawLevels(QPainter& painter, std::span<const double> pixels, double top, double bottom, const QColor& colour) {
  constexpr double closest = 3;
  QColor soft = colour;
  soft.setAlphaF(0.22F);
  painter.save();
  painter.setRenderHint(QPainter::Antialiasing);
  const auto line = [&](double x) {
    painter.setPen(QPen(colour, 1.2, Qt::SolidLine, Qt::FlatCap));
    painter.drawLine(QPointF(x, top), QPointF(x, bottom));
  };
  for (std::size_t first = 0; first < pixels.size();) {
    std::size_t last = first;
    while (last + 1 < pixels.size() && pixels[last + 1] - pixels[last] < closest) ++last;
    if (last > first) painter.fillRect(QRectF(pixels[first], top, pixels[last] - pixels[first], bottom - top), soft);
    line(pixels[first]);
    if (last > first) line(pixels[last]);
    first = last + 1;
  }
  painter.restore();
}

void drawAxisTitles(QPainter& painter, const QRectF& area, const QString& bottom, const QString& left, const Theme& theme,
                    double bottomEdge) {
  painter.setFont(fonts::hint());
  painter.setPen(theme.text2);
  const double height = QFontMetricsF(painter.font()).height();
  if (!bottom.isEmpty()) {
    painter.drawText(QRectF(area.left() - 40, bottomEdge - height, area.width() + 80, height), Qt::AlignCenter, bottom);
  }
  if (!left.isEmpty()) {
    painter.save();
    painter.translate(height / 2, area.center().y());
    painter.rotate(-90);
    painter.drawText(QRectF(-area.height() / 2 - 20, -height / 2, area.height() + 40, height), Qt::AlignCenter, left);
    painter.restore();
  }
}

void drawHaloText(QPainter& painter, const QRectF& rect, int flags, const QString& text, const QColor& ink,
                  const QColor& ground) {
  const QFontMetricsF metrics(painter.font());
  const QRectF place = metrics.boundingRect(rect, flags, text);
  const QPointF baseline(place.left(), place.top() + metrics.ascent());
  // On a screen, stroking outlines is most of a plot's repaint: glyphs that are there already, around the place, look the same.
  if (painter.paintEngine()->type() == QPaintEngine::Raster) {
    QStaticText glyphs(text);
    glyphs.setTextFormat(Qt::PlainText);
    glyphs.prepare(QTransform(), painter.font());
    const QPointF corner(place.left(), place.top());
    painter.setPen(ground);
    for (const QPointF& step : haloSteps) painter.drawStaticText(corner + step, glyphs);
    painter.setPen(ink);
    painter.drawStaticText(corner, glyphs);
    return;
  }
  QPainterPath outline;
  outline.addText(baseline, painter.font(), text);
  painter.save();
  painter.setRenderHint(QPainter::Antialiasing);
  painter.setPen(QPen(ground, 3, Qt::SolidLine, Qt::RoundCap, Qt::RoundJoin));
  painter.setBrush(Qt::NoBrush);
  painter.drawPath(outline);
  painter.restore();
  painter.setPen(ink);
  painter.drawText(baseline, text);
}

}  // namespace nibble
