// SPDX-License-Identifier: GPL-3.0-or-later
// The way of each weight into the file: weight, code, the bits of the code, and the bytes (or words) of the export layout in
// hex with the digits that hold this code filled. One column per weight; a click or the arrow keys choose one, and the strip
// scrolls to it. Bits are listed from the code's highest; `set` fills the cell.
#pragma once
#include "core/schemes/scheme.h"
#include "ui/plots/plot_widget.h"

#include <cstdint>
#include <vector>

namespace nibble {

struct HexDigit {
  char digit = '0';
  bool ours = false;  // holds bits of this column's code
};

struct BitColumn {
  double weight = 0;
  int code = 0;
  std::vector<bool> bits;     // of the code, highest first
  std::vector<HexDigit> hex;  // of the byte or word that holds it, as printed
};

struct BitStripData {
  std::vector<BitColumn> columns;
  int selected = -1;
  QString place;     // of the selected column: "W_q[853]"
  QString bitRange;  // "bits 7–4"
  QString unit;      // "byte" or "word"
  QString where;     // all of it in words, for the tooltip
  Family family = Family::Uniform;
};

class BitStrip : public PlotWidget {
  Q_OBJECT
 public:
  explicit BitStrip(QWidget* parent = nullptr, const QString& objectName = QStringLiteral("bitStrip"));
  void setData(BitStripData data);
  void clear();
  [[nodiscard]] QRect columnRect(int index) const;  // empty when scrolled out of view
  [[nodiscard]] int firstVisible() const { return m_first; }
  [[nodiscard]] int visibleColumns() const;
  [[nodiscard]] QSize sizeHint() const override;
  [[nodiscard]] QSize minimumSizeHint() const override;
  [[nodiscard]] DataTable dataTable() const override;
  [[nodiscard]] bool isEmpty() const override { return m_data.columns.empty(); }

 signals:
  void columnClicked(int index);

 protected:
  void renderTo(QPaintDevice* device, QSize size) override;
  void recolour() override { update(); }
  bool moveCursor(int dx, int dy) override;
  void paintEvent(QPaintEvent* event) override;
  void mousePressEvent(QMouseEvent* event) override;
  void mouseMoveEvent(QMouseEvent* event) override;
  void wheelEvent(QWheelEvent* event) override;
  void resizeEvent(QResizeEvent* event) override;

 private:
  [[nodiscard]] int columnAt(QPoint pixel) const;
  void scrollTo(int index);
  BitStripData m_data;
  int m_first = 0, m_columnWidth = 54;
};

}  // namespace nibble
