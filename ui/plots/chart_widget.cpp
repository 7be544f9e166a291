// SPDX-License-Identifier: GPL-3.0-or-later
#include "ui/plots/chart_widget.h"

#include "ui/plots/chart_tools.h"
#include "ui/theme/theme.h"

#include <qcustomplot.h>
#include <QPainter>
#include <cmath>
#include <limits>

namespace nibble {

namespace {
constexpr double noHair = std::numeric_limits<double>::quiet_NaN();
}

ChartWidget::ChartWidget(const QString& objectName, const QString& accessibleName, QWidget* parent)
    : PlotWidget(objectName, accessibleName, parent), m_chart(new QCustomPlot(this)), m_hair(noHair) {
  m_chart->hide();
  m_chart->setAttribute(Qt::WA_TransparentForMouseEvents);
  m_chart->setFocusPolicy(Qt::NoFocus);
  m_chart->axisRect()->setAutoMargins(QCP::msNone);
  m_chart->setNotAntialiasedElements(QCP::aeAxes | QCP::aeGrid | QCP::aeSubGrid | QCP::aeZeroLine);
  m_chart->addLayer(QStringLiteral("under"), m_chart->layer(QStringLiteral("background")), QCustomPlot::limAbove);
  for (QCPAxis* axis : {m_chart->xAxis, m_chart->yAxis}) {
    axis->setTickLengthIn(0);
    axis->setTickLengthOut(4);
    axis->setSubTicks(false);
    axis->setTickLabels(false);
    axis->setUpperEnding(QCPLineEnding::esNone);
    axis->grid()->setSubGridVisible(false);
  }
  setAxisMargins(46, 12, 36, 8);
}

ChartWidget::~ChartWidget() = default;

void ChartWidget::setAxisMargins(int left, int right, int bottom, int top) {
  m_chart->axisRect()->setMargins(QMargins(left, top, right, bottom));
  invalidate();
}

QRect ChartWidget::axisArea() const {
  ensureBuilt();
  return m_chart->axisRect()->rect();
}

QPointF ChartWidget::toData(QPointF pixel) const {
  ensureBuilt();
  return {m_chart->xAxis->pixelToCoord(pixel.x()), m_chart->yAxis->pixelToCoord(pixel.y())};
}

QPointF ChartWidget::toPixel(QPointF data) const {
  ensureBuilt();
  return {m_chart->xAxis->coordToPixel(data.x()), m_chart->yAxis->coordToPixel(data.y())};
}

void ChartWidget::setHairLine(double x, const QString& text) {
  m_hair = x;
  emit hoverText(text);
  update();
}

void ChartWidget::setTitles(const QString& bottom, const QString& left) {
  m_bottomTitle = bottom;
  m_leftTitle = left;
}

void ChartWidget::setGrid(bool vertical, bool horizontal) {
  m_chart->xAxis->grid()->setVisible(vertical);
  m_chart->yAxis->grid()->setVisible(horizontal);
}

void ChartWidget::applyAxisColours() {
  const Theme& theme = themeOf(this);
  m_chart->setBackground(theme.panel);
  for (QCPAxis* axis : {m_chart->xAxis, m_chart->yAxis}) {
    axis->setBasePen(QPen(theme.axis, 1));
    axis->setTickPen(QPen(theme.axis, 1));
    axis->grid()->setPen(QPen(theme.grid, 1));
    axis->grid()->setZeroLinePen(Qt::NoPen);
  }
}

void ChartWidget::layOut(QSize size) {
  m_chart->setViewport(QRect(QPoint(), size));
  QCPLayoutGrid* layout = m_chart->plotLayout();
  layout->update(QCPLayoutElement::upPreparation);
  layout->update(QCPLayoutElement::upMargins);
  layout->update(QCPLayoutElement::upLayout);
}

void ChartWidget::ensureBuilt() const {
  if (!m_dirty) return;
  auto* self = const_cast<ChartWidget*>(this);  // building is a cache of what the data says
  self->m_dirty = false;
  m_chart->clearPlottables();
  m_chart->clearItems();
  self->applyAxisColours();
  self->layOut(size());
  if (isEmpty()) return;
  self->rebuild();
  addPainter(m_chart, QStringLiteral("axes"), false, [self](QPainter& painter, const QRectF& area) {
    drawTickLabels(painter, area, self->m_chart->xAxis, self->m_chart->yAxis, themeOf(self));
    drawAxisTitles(painter, area, self->m_bottomTitle, self->m_leftTitle, themeOf(self),
                   self->m_chart->viewport().height() - 1);
  });
  addPainter(m_chart, QStringLiteral("overlay"), true, [self](QPainter& painter, const QRectF& area) {
    if (std::isnan(self->m_hair)) return;
    painter.setPen(QPen(themeOf(self).text3, 1));
    const double x = std::floor(self->m_chart->xAxis->coordToPixel(self->m_hair)) + 0.5;
    painter.drawLine(QPointF(x, area.top()), QPointF(x, area.bottom()));
  });
}

void ChartWidget::renderTo(QPaintDevice* device, QSize size) {
  ensureBuilt();
  QCPPainter painter(device);
  if (isEmpty()) return paintEmpty(painter, QRect(QPoint(), size));
  const bool onScreen = device == static_cast<QPaintDevice*>(this) || device->devType() == QInternal::Image;
  if (!onScreen) painter.setMode(QCPPainter::pmVectorized);
  m_chart->toPainter(&painter, size.width(), size.height());
}

void ChartWidget::recolour() {
  invalidate();
}

void ChartWidget::invalidate() {
  m_dirty = true;
  update();
}

void ChartWidget::resizeEvent(QResizeEvent* event) {
  PlotWidget::resizeEvent(event);
  invalidate();
}

void ChartWidget::paintEvent(QPaintEvent* /*event*/) {
  renderTo(this, size());
}

void ChartWidget::leaveEvent(QEvent* event) {
  m_hair = noHair;
  update();
  PlotWidget::leaveEvent(event);
}

}  // namespace nibble
