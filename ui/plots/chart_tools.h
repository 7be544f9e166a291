// SPDX-License-Identifier: GPL-3.0-or-later
// Small things the plots share: where ticks stand and what they say, how levels and labels are drawn. Ticks are data: at most a
// given number, at round values, text by locale. Pure functions; the two that take QCustomPlot classes belong to GUI code.
// Internal to plots.
#pragma once
#include <QColor>
#include <QRectF>
#include <QString>
#include <functional>
#include <span>
#include <utility>
#include <vector>

class QCPAxis;
class QCustomPlot;
class QFont;
class QPainter;

namespace nibble {

struct Theme;

struct Tick {
  double position = 0;
  QString text;
};

// Smallest of 1, 2, 2.5, 4, 5 x 10^n that cuts `span` into at most `most` steps. span > 0.
double niceStep(double span, int most);
// Ticks at multiples of a nice step inside [low, high]; `most` ticks at most. compact: "0", "0.5", "1"; else equal decimals.
std::vector<Tick> niceTicks(double low, double high, int most, bool compact = false);
std::vector<Tick> stepTicks(double low, double high, double step, bool compact);
// Decimals that tell neighbouring bins of this width apart, with one to spare.
int decimalsFor(double width);
// Powers of ten inside [low, high], every k-th so that at most `most` remain, through 10^0. kilo: "1", "100", "10k"; else "1",
// "10⁻²".
std::vector<Tick> powerTicks(double low, double high, int most, bool kilo);
// Rows or columns of a matrix: multiples of a power of two or three times one.
std::vector<Tick> cellTicks(double begin, double end, int most);
// m = smallest multiple of a nice step that reaches `extent`, with at most 5 ticks in -m .. m; and that step.
std::pair<double, double> niceSymmetric(double extent);

void setTicks(QCPAxis* axis, const std::vector<Tick>& ticks);
// A layer of one's own painting, under or over the data; `area` is the axis rectangle. Clipped to it on demand.
using AreaPainter = std::function<void(QPainter& painter, const QRectF& area)>;
void addPainter(QCustomPlot* chart, const QString& layer, bool clipped, AreaPainter paint);

// The texts of both axes. QCustomPlot leaves out a label that would touch the widget's edge; here the end of an axis keeps its
// number.
void drawTickLabels(QPainter& painter, const QRectF& area, const QCPAxis* bottom, const QCPAxis* left, const Theme& theme);

// Levels at ascending pixels: lines of 1.2 px; runs closer than 3 px become one band of 22 % with edges.
void drawLevels(QPainter& painter, std::span<const double> pixels, double top, double bottom, const QColor& colour);
// Title of an axis: bottom centred under the area, left rotated at the widget's edge.
void drawAxisTitles(QPainter& painter, const QRectF& area, const QString& bottom, const QString& left, const Theme& theme,
                    double bottomEdge);
// Text with a rim of the ground so that it stays legible over lines.
void drawHaloText(QPainter& painter, const QRectF& rect, int flags, const QString& text, const QColor& ink,
                  const QColor& ground);

}  // namespace nibble
