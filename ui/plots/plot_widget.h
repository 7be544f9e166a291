// SPDX-License-Identifier: GPL-3.0-or-later
// What every plot of the window shares: one widget that takes the keyboard, says what is under the pointer (hoverText, shown in
// the panel's header), has its numbers as a table (read aloud, copied, saved), and can be copied or saved as a picture. A plot
// without data shows one centred line. Colours come from the palette and follow its change. All work is plain painting: no
// timers but the queued repaint, so changing data a hundred times between two frames costs one repaint. GUI thread only.
#pragma once
#include "core/base/result.h"

#include <QImage>
#include <QStringList>
#include <QVariantList>
#include <QWidget>
#include <vector>

class QMenu;
class QPaintDevice;

namespace nibble {

// The data behind a plot. Numbers stay numbers; toTsv and toCsv write them in the C locale.
struct DataTable {
  QStringList headers;
  std::vector<QVariantList> rows;
  [[nodiscard]] QString toTsv() const;
  [[nodiscard]] QString toCsv() const;
};

class PlotWidget : public QWidget {
  Q_OBJECT
 public:
  ~PlotWidget() override;

  [[nodiscard]] virtual DataTable dataTable() const = 0;
  [[nodiscard]] virtual bool isEmpty() const = 0;
  void setEmptyText(const QString& text);

  // Suffix .png, .svg or .pdf decides; .csv and .tsv write the table. The file appears whole or not at all.
  [[nodiscard]] Status save(const QString& path);
  [[nodiscard]] QImage image(double scale = 2);
  // Adds "Copy image", "Copy data", "Show data", "Save as..." to the owner's own menu.
  void addActionsTo(QMenu* menu);

 public slots:
  void copyImage();
  void copyData();
  void saveAs();    // asks for the name
  void showData();  // the table, in a window of its own

 signals:
  void hoverText(const QString& text);  // empty: the pointer left
  void saveFailed(const QString& message);

 protected:
  PlotWidget(const QString& objectName, const QString& accessibleName, QWidget* parent);
  // Paints the whole plot, ground included, into `size` logical pixels of any device.
  virtual void renderTo(QPaintDevice* device, QSize size) = 0;
  // One line for the screen reader after data changed: "147 456 weights in 128 bins, 16 levels".
  void setSummary(const QString& summary);
  // Colours changed: take them anew. Called before the next repaint.
  virtual void recolour() = 0;
  // Arrow keys (dx, dy in -1..1), Home and End (dx = -1000, 1000). True: it did something.
  virtual bool moveCursor(int dx, int dy);

  void changeEvent(QEvent* event) override;
  void contextMenuEvent(QContextMenuEvent* event) override;
  void keyPressEvent(QKeyEvent* event) override;
  void leaveEvent(QEvent* event) override;
  void paintEmpty(QPainter& painter, const QRect& rect) const;
  QString m_emptyText;
};

}  // namespace nibble
