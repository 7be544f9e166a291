// SPDX-License-Identifier: GPL-3.0-or-later
#include "ui/plots/overlay_histogram_plot.h"

#include "ui/plots/chart_tools.h"
#include "ui/theme/number_text.h"
#include "ui/theme/theme.h"

#include <qcustomplot.h>
#include <QMouseEvent>
#include <QPainter>
#include <algorithm>
#include <cmath>

namespace nibble {
namespace {

constexpr double sigmasShown = 5.1, decadesShown = 4, leastBinPixels = 3.5, keyLine = 16, keyMark = 16, keyGap = 4;

double largestSigma(const std::vector<OverlaySeries>& series) {
  double sigma = 0;
  for (const OverlaySeries& s : series) sigma = std::max(sigma, s.sigma);
  return sigma;
}

// Neighbouring bins joined `together` at a time; the last may be short.
Histogram coarser(const Histogram& h, std::size_t together) {
  Histogram joined;
  joined.low = h.low;
  for (std::size_t i = 0; i < h.counts.size(); i += together) {
    std::uint64_t count = 0;
    for (std::size_t j = i; j < std::min(i + together, h.counts.size()); ++j) count += h.counts[j];
    joined.counts.push_back(count);
  }
  joined.high = h.low + static_cast<double>(joined.counts.size() * together) * h.binWidth();
  return joined;
}

// The largest density of what ends beyond `from`.
double largestDensity(const Histogram& h, double from) {
  const double whole = static_cast<double>(std::max<std::uint64_t>(h.total(), 1)) * h.binWidth();
  double most = 0;
  for (std::size_t i = 0; i < h.counts.size(); ++i)
    if (h.low + static_cast<double>(i + 1) * h.binWidth() > from) most = std::max(most, static_cast<double>(h.counts[i]) / whole);
  return most;
}

double densityAt(const Histogram& h, double error) {
  const double bin = h.binWidth() > 0 ? std::floor((error - h.low) / h.binWidth()) : -1;
  if (bin < 0 || bin >= static_cast<double>(h.counts.size()) || h.total() == 0) return 0;
  return static_cast<double>(h.counts[static_cast<std::size_t>(bin)]) / (static_cast<double>(h.total()) * h.binWidth());
}

}  // namespace

OverlayHistogramPlot::OverlayHistogramPlot(QWidget* parent, const QString& objectName)
    : ChartWidget(objectName, tr("Error densities of the ticked candidates"), parent) {
  m_emptyText = tr("Tick rows of the table to overlay their errors");
}

void OverlayHistogramPlot::setData(std::vector<OverlaySeries> series) {
  if (series.size() > overlaySeriesMost) series.resize(overlaySeriesMost);
  std::erase_if(series, [](const OverlaySeries& s) { return s.errors.counts.empty(); });
  std::stable_sort(series.begin(), series.end(),
                   [](const OverlaySeries& a, const OverlaySeries& b) { return a.sigma > b.sigma; });
  m_series = std::move(series);
  m_cursor = std::nan("");
  QStringList names;
  for (const OverlaySeries& s : m_series) names << s.label;
  setSummary(names.join(QStringLiteral(", ")));
  invalidate();
}

void OverlayHistogramPlot::clear() {
  setData({});
}

void OverlayHistogramPlot::setLogarithmic(bool on) {
  m_logarithmic = on;
  invalidate();
}

DataTable OverlayHistogramPlot::dataTable() const {
  DataTable table{{tr("scheme"), tr("low"), tr("high"), tr("count"), tr("density")}, {}};
  for (const OverlaySeries& s : m_series) {
    for (std::size_t i = 0; i < s.errors.counts.size(); ++i) {
      const double low = s.errors.low + static_cast<double>(i) * s.errors.binWidth();
      table.rows.push_back({s.label, low, low + s.errors.binWidth(), static_cast<qulonglong>(s.errors.counts[i]),
                            densityAt(s.errors, low + s.errors.binWidth() / 2)});
    }
  }
  return table;
}

void OverlayHistogramPlot::rebuild() {
  const double sigma = largestSigma(m_series);
  const auto [half, step] = niceSymmetric(sigma > 0 ? sigma * sigmasShown : 1);
  m_power = sigma > 0 ? static_cast<int>(std::floor(std::log10(half) / 3)) * 3 : 0;
  const double unit = std::pow(10.0, m_power);
  QCPAxis *x = chart()->xAxis, *y = chart()->yAxis;
  x->setRange(-half / unit, half / unit);
  setTicks(x, stepTicks(-half / unit, half / unit, step / unit, true));

  std::vector<Histogram> shown;
  const QRectF key = keyArea(axisArea());
  const double pixelsPerUnit = axisArea().width() / (2 * half), keyFrom = (key.left() - keyGap - axisArea().center().x()) / pixelsPerUnit;
  double most = 0, underKey = 0;
  for (const OverlaySeries& s : m_series) {
    const double binPixels = s.errors.binWidth() * pixelsPerUnit;
    shown.push_back(
        coarser(s.errors, binPixels > 0 ? static_cast<std::size_t>(std::max(1.0, std::ceil(leastBinPixels / binPixels))) : 1));
    most = std::max(most, largestDensity(shown.back(), -1e300) * unit);
    underKey = std::max(underKey, largestDensity(shown.back(), keyFrom) * unit);
  }
  // Room above the data for the corner the key stands in; in a plot hardly higher than its key there is none.
  const double taken = std::min((key.height() + 2 * keyGap) / std::max(axisArea().height(), 1), 0.8);
  const double least = std::max({most, underKey * std::pow(10.0, decadesShown * taken), 1e-300});
  const double top = std::pow(10.0, std::ceil(std::log10(least) - 1e-9)), floor = top * std::pow(10.0, -decadesShown);
  const double linearTop = std::max(most * 1.15, underKey / (1 - taken));
  y->setScaleType(m_logarithmic ? QCPAxis::stLogarithmic : QCPAxis::stLinear);
  y->setRange(m_logarithmic ? floor : 0, m_logarithmic ? top : linearTop);
  setTicks(y, m_logarithmic ? powerTicks(floor, top, 5, false) : niceTicks(0, linearTop, 6, true));
  setGrid(true, true);
  setTitles(m_power == 0 ? tr("error") : tr("error ·%1").arg(formatPower(m_power)),
            m_power == 0 ? tr("density") : tr("density, %1").arg(formatPower(-m_power)));
  setToolTip(m_logarithmic ? tr("Share of errors per unit; the log axis starts at %1").arg(formatSignificant(floor, 1))
                           : tr("Share of errors per unit"));
  for (std::size_t pass = 0; pass < 2; ++pass) {
    for (std::size_t i = 0; i < m_series.size(); ++i) {
      if (m_series[i].baseline == (pass == 1)) addSteps(m_series[i], shown[i], unit, m_logarithmic ? floor : 0);
    }
  }
  addPainter(chart(), QStringLiteral("overlay"), false,
             [this](QPainter& painter, const QRectF& area) { paintKey(painter, area); });
}

void OverlayHistogramPlot::addSteps(const OverlaySeries& series, const Histogram& h, double unit, double floor) {
  auto* graph = new QCPGraph(chart()->xAxis, chart()->yAxis);
  graph->setPen(
      QPen(familyColour(themeOf(this), series.family), series.baseline ? 2.2 : 1.5, Qt::SolidLine, Qt::FlatCap, Qt::MiterJoin));
  graph->setLineStyle(QCPGraph::lsStepLeft);
  graph->setAntialiased(false);
  graph->setAdaptiveSampling(false);
  const double whole = static_cast<double>(std::max<std::uint64_t>(h.total(), 1)) * h.binWidth();
  QVector<double> keys, values;
  const auto add = [&](double key, double value) { keys << key / unit, values << std::max(value * unit, floor); };
  add(h.low - 1e3 * std::abs(h.low), 0);
  for (std::size_t i = 0; i < h.counts.size(); ++i) {
    add(h.low + static_cast<double>(i) * h.binWidth(), static_cast<double>(h.counts[i]) / whole);
  }
  add(h.high, 0);
  add(h.high + 1e3 * std::abs(h.high), 0);
  graph->setData(keys, values, true);
}

QString OverlayHistogramPlot::sigmaText(const OverlaySeries& series) const {
  return QStringLiteral("σ ") + formatFixed(series.sigma / std::pow(10.0, m_power), 1);
}

QRectF OverlayHistogramPlot::keyArea(const QRectF& area) const {
  double labels = 0, sigmas = 0;
  const QFontMetricsF bold(fonts::boldHint()), plain(fonts::hint());
  for (const OverlaySeries& s : m_series) {
    labels = std::max(labels, bold.horizontalAdvance(s.label));
    sigmas = std::max(sigmas, plain.horizontalAdvance(sigmaText(s)));
  }
  const double width = keyMark + labels + 18 + sigmas;
  return {area.right() - 3 - width, area.top() + keyGap, width, keyLine * static_cast<double>(m_series.size())};
}

void OverlayHistogramPlot::paintKey(QPainter& painter, const QRectF& area) const {
  const Theme& theme = themeOf(this);
  const QRectF key = keyArea(area);
  painter.fillRect(key.adjusted(-4, 0, 2, 0), theme.panel);
  QRectF line(key.left(), key.top(), key.width(), keyLine);
  for (const OverlaySeries& s : m_series) {
    drawMark(painter, {line.left() + 5, line.center().y()}, markOf(s.family), familyColour(theme, s.family), 9);
    painter.setFont(s.baseline ? fonts::boldHint() : fonts::hint());
    painter.setPen(theme.text);
    painter.drawText(line.adjusted(keyMark, 0, 0, 0), Qt::AlignLeft | Qt::AlignVCenter, s.label);
    painter.setFont(fonts::hint());
    painter.setPen(theme.text2);
    painter.drawText(line, Qt::AlignRight | Qt::AlignVCenter, sigmaText(s));
    line.translate(0, keyLine);
  }
}

void OverlayHistogramPlot::showAt(double error) {
  m_cursor = error;
  if (std::isnan(error)) return setHairLine(error, {});
  const double unit = std::pow(10.0, m_power);
  QStringList parts;
  for (const OverlaySeries& s : m_series)
    parts << s.label + QLatin1Char(' ') + formatSignificant(densityAt(s.errors, error) * unit, 2);
  setHairLine(error / unit, tr("%1: %2").arg(formatFixed(error / unit, 1), parts.join(QStringLiteral(", "))));
}

bool OverlayHistogramPlot::moveCursor(int dx, int /*dy*/) {
  if (dx == 0) return false;
  const double unit = std::pow(10.0, m_power), half = toData(QPointF(axisArea().right(), 0)).x() * unit;
  const double from = std::isnan(m_cursor) ? 0 : m_cursor + dx * half / 100;
  showAt(std::clamp(from, -half, half));
  return true;
}

void OverlayHistogramPlot::mouseMoveEvent(QMouseEvent* event) {
  if (isEmpty() || !axisArea().contains(event->position().toPoint())) return showAt(std::nan(""));
  showAt(toData(event->position()).x() * std::pow(10.0, m_power));
}

}  // namespace nibble
