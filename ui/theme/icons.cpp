// SPDX-License-Identifier: GPL-3.0-or-later
#include "ui/theme/icons.h"

#include <QDir>
#include <QFile>
#include <QGuiApplication>
#include <QIconEngine>
#include <QPainter>
#include <QPixmapCache>
#include <QSvgRenderer>

// A static library's resource is linked in only when something names it; the macro must stand outside any namespace.
static void linkResources() {
  Q_INIT_RESOURCE(resources);
}

namespace nibble {
namespace {

QByteArray drawing(const QString& name, const QColor& colour) {
  linkResources();
  QFile file(QStringLiteral(":/icons/%1.svg").arg(name));
  if (!file.open(QIODevice::ReadOnly)) return {};
  return file.readAll().replace("currentColor", colour.name().toLatin1());
}

class ThemeIconEngine : public QIconEngine {
 public:
  ThemeIconEngine(QString name, QColor Theme::*token) : m_name(std::move(name)), m_token(token) {}

  void paint(QPainter* painter, const QRect& rect, QIcon::Mode mode, QIcon::State /*state*/) override {
    drawIcon(*painter, rect, m_name, colour(mode));
  }
  QPixmap pixmap(const QSize& size, QIcon::Mode mode, QIcon::State state) override {
    const QString key =
        QStringLiteral("nibble/%1/%2/%3x%4").arg(m_name, colour(mode).name()).arg(size.width()).arg(size.height());
    QPixmap pixmap;
    if (QPixmapCache::find(key, &pixmap)) return pixmap;
    pixmap = QPixmap(size);
    pixmap.fill(Qt::transparent);
    QPainter painter(&pixmap);
    paint(&painter, QRect(QPoint(), size), mode, state);
    painter.end();
    QPixmapCache::insert(key, pixmap);
    return pixmap;
  }
  [[nodiscard]] QIconEngine* clone() const override { return new ThemeIconEngine(m_name, m_token); }
  QString iconName() override { return m_name; }

 private:
  [[nodiscard]] QColor colour(QIcon::Mode mode) const {
    const Theme& theme = themeOf(QGuiApplication::palette());
    return mode == QIcon::Disabled ? theme.text3 : theme.*m_token;
  }
  QString m_name;
  QColor Theme::*m_token;
};

}  // namespace

QIcon icon(const QString& name, QColor Theme::*token) {
  return QIcon(new ThemeIconEngine(name, token));
}

void drawIcon(QPainter& painter, const QRect& rect, const QString& name, const QColor& colour) {
  QSvgRenderer renderer(drawing(name, colour));
  const int side = std::min(rect.width(), rect.height());
  QRectF square(0, 0, side, side);
  square.moveCenter(QRectF(rect).center());
  painter.save();
  painter.setRenderHint(QPainter::Antialiasing);
  renderer.render(&painter, square);
  painter.restore();
}

QStringList iconNames() {
  linkResources();
  QStringList names;
  for (const QString& file : QDir(QStringLiteral(":/icons")).entryList({QStringLiteral("*.svg")}, QDir::Files)) {
    names << file.chopped(4);
  }
  return names;
}

}  // namespace nibble
