// SPDX-License-Identifier: GPL-3.0-or-later
#include "ui/plots/plot_widget.h"

#include "core/base/text.h"
#include "ui/plots/table_window.h"
#include "ui/theme/icons.h"
#include "ui/theme/theme.h"

#include <QApplication>
#include <QClipboard>
#include <QContextMenuEvent>
#include <QFileDialog>
#include <QKeyEvent>
#include <QMenu>
#include <QMimeData>
#include <QPainter>
#include <QPdfWriter>
#include <QSaveFile>
#include <QSvgGenerator>

namespace nibble {
namespace {

QString cell(const QVariant& value) {
  switch (value.typeId()) {
    case QMetaType::Double:
      return QString::fromStdString(text::number(value.toDouble()));
    case QMetaType::Float:
      return QString::fromStdString(text::number(value.toFloat()));
    default:
      return value.toString();
  }
}

QString csvQuoted(const QString& field) {
  if (!field.contains(QLatin1Char(',')) && !field.contains(QLatin1Char('"')) && !field.contains(QLatin1Char('\n')))
    return field;
  return QLatin1Char('"') + QString(field).replace(QLatin1Char('"'), QLatin1String("\"\"")) + QLatin1Char('"');
}

QString tsvPlain(QString field) {
  return field.replace(QLatin1Char('\t'), QLatin1Char(' ')).replace(QLatin1Char('\n'), QLatin1Char(' '));
}

template <class Field>
QString lines(const DataTable& table, QChar separator, Field field) {
  QString out;
  const auto line = [&](const auto& cells, auto text) {
    QStringList parts;
    for (const auto& c : cells) parts << field(text(c));
    out += parts.join(separator) + QLatin1Char('\n');
  };
  line(table.headers, [](const QString& header) { return header; });
  for (const QVariantList& row : table.rows) line(row, [](const QVariant& value) { return cell(value); });
  return out;
}

}  // namespace

QString DataTable::toTsv() const {
  return lines(*this, QLatin1Char('\t'), tsvPlain);
}
QString DataTable::toCsv() const {
  return lines(*this, QLatin1Char(','), csvQuoted);
}

PlotWidget::PlotWidget(const QString& objectName, const QString& accessibleName, QWidget* parent) : QWidget(parent) {
  setObjectName(objectName);
  setAccessibleName(accessibleName);
  setFocusPolicy(Qt::StrongFocus);
  setMouseTracking(true);
  setMinimumSize(60, 60);
  m_emptyText = tr("No tensor chosen");
}

PlotWidget::~PlotWidget() = default;

void PlotWidget::setEmptyText(const QString& text) {
  m_emptyText = text;
  update();
}

void PlotWidget::setSummary(const QString& summary) {
  setAccessibleDescription(summary);
  update();
}

QImage PlotWidget::image(double scale) {
  QImage picture(size() * scale, QImage::Format_ARGB32_Premultiplied);
  picture.setDevicePixelRatio(scale);
  picture.fill(themeOf(this).panel);
  renderTo(&picture, size());
  return picture;
}

Status PlotWidget::save(const QString& path) {
  QSaveFile file(path);
  const auto failed = [&] { return fail(path.toStdString() + ": " + file.errorString().toStdString()); };
  if (!file.open(QIODevice::WriteOnly)) return failed();
  const QString suffix = path.section(QLatin1Char('.'), -1).toLower();
  if (suffix == QLatin1String("png")) {
    if (!image().save(&file, "PNG")) return fail(path.toStdString() + ": the picture could not be written");
  } else if (suffix == QLatin1String("svg")) {
    QSvgGenerator generator;
    generator.setOutputDevice(&file);
    generator.setResolution(96);
    generator.setSize(size());
    generator.setViewBox(rect());
    generator.setTitle(accessibleName());
    generator.setDescription(accessibleDescription());
    renderTo(&generator, size());
  } else if (suffix == QLatin1String("pdf")) {
    QPdfWriter writer(&file);
    writer.setPageMargins({});
    writer.setResolution(96);
    writer.setPageSize(QPageSize(QSizeF(size()) * 0.75, QPageSize::Point));
    writer.setTitle(accessibleName());
    renderTo(&writer, size());
  } else if (suffix == QLatin1String("csv") || suffix == QLatin1String("tsv")) {
    file.write((suffix == QLatin1String("csv") ? dataTable().toCsv() : dataTable().toTsv()).toUtf8());
  } else {
    return fail(path.toStdString() + ": the name must end in .png, .svg, .pdf, .csv or .tsv");
  }
  if (!file.commit()) return failed();
  return {};
}

void PlotWidget::copyImage() {
  QApplication::clipboard()->setImage(image());
}

void PlotWidget::copyData() {
  QApplication::clipboard()->setText(dataTable().toTsv());
}

void PlotWidget::saveAs() {
  const QString path = QFileDialog::getSaveFileName(this, tr("Save plot"), objectName() + QStringLiteral(".png"),
                                                    tr("PNG (*.png);;SVG (*.svg);;PDF (*.pdf);;CSV (*.csv);;TSV (*.tsv)"));
  if (path.isEmpty()) return;
  if (const Status saved = save(path); !saved) emit saveFailed(QString::fromStdString(saved.error().message));
}

void PlotWidget::showData() {
  auto* window = new TableWindow(accessibleName(), dataTable(), this);
  window->setAttribute(Qt::WA_DeleteOnClose);
  window->show();
}

void PlotWidget::addActionsTo(QMenu* menu) {
  menu->addAction(icon("image"), tr("Copy image"), this, &PlotWidget::copyImage);
  menu->addAction(icon("copy"), tr("Copy data"), this, &PlotWidget::copyData);
  menu->addAction(tr("Show data"), this, &PlotWidget::showData);
  menu->addAction(icon("save"), tr("Save as…"), this, &PlotWidget::saveAs);
  const QStringList names{"copyImage", "copyData", "showData", "saveAs"};
  const QList<QAction*> actions = menu->actions();
  for (qsizetype i = 0; i < names.size(); ++i) {
    QAction* action = actions[actions.size() - names.size() + i];
    action->setObjectName(names[i]);
    action->setEnabled(!isEmpty());
  }
}

bool PlotWidget::moveCursor(int /*dx*/, int /*dy*/) {
  return false;
}

void PlotWidget::changeEvent(QEvent* event) {
  QWidget::changeEvent(event);
  switch (event->type()) {
    case QEvent::PaletteChange:
    case QEvent::ApplicationPaletteChange:
    case QEvent::FontChange:
    case QEvent::StyleChange:
      recolour();
      update();
      break;
    default:
      break;
  }
}

void PlotWidget::contextMenuEvent(QContextMenuEvent* event) {
  auto* menu = new QMenu(this);
  menu->setObjectName(objectName() + QStringLiteral("Menu"));
  menu->setAttribute(Qt::WA_DeleteOnClose);
  addActionsTo(menu);
  menu->popup(event->globalPos());
  event->accept();
}

void PlotWidget::keyPressEvent(QKeyEvent* event) {
  const bool control = event->modifiers().testFlag(Qt::ControlModifier);
  if (event->matches(QKeySequence::Copy)) return copyData();
  if (control || isEmpty()) return QWidget::keyPressEvent(event);
  int dx = 0, dy = 0;
  switch (event->key()) {
    case Qt::Key_Left:
      dx = -1;
      break;
    case Qt::Key_Right:
      dx = 1;
      break;
    case Qt::Key_Up:
      dy = -1;
      break;
    case Qt::Key_Down:
      dy = 1;
      break;
    case Qt::Key_Home:
      dx = -1000;
      break;
    case Qt::Key_End:
      dx = 1000;
      break;
    default:
      break;
  }
  if ((dx == 0 && dy == 0) || !moveCursor(dx, dy)) QWidget::keyPressEvent(event);
}

void PlotWidget::leaveEvent(QEvent* event) {
  QWidget::leaveEvent(event);
  emit hoverText({});
}

void PlotWidget::paintEmpty(QPainter& painter, const QRect& rect) const {
  const Theme& theme = themeOf(this);
  painter.fillRect(rect, theme.panel);
  painter.setPen(theme.text2);
  painter.setFont(fonts::body());
  painter.drawText(rect, Qt::AlignCenter | Qt::TextWordWrap, m_emptyText);
}

}  // namespace nibble
