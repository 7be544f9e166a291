// SPDX-License-Identifier: GPL-3.0-or-later
// Heat map of one number per weight (value, |error|, scale, code ...; the owner chooses), rows down, columns across, pooled to
// the view's pixels and zoomable to single weights, whose numbers are then printed in the cells. Wheel zooms at the pointer,
// dragging with the left button marks a rectangle to zoom to, dragging with the middle button (or Shift + left) pans, a click
// selects, double click and Escape show all. Arrow keys move the cursor cell, + and - zoom, Enter selects. The plot does not
// read the matrix by itself: it asks `pooled` for the visible region, which may answer at once or the owner sets the picture
// later with setPicture().
#pragma once
#include "ui/plots/plot_widget.h"
#include "ui/plots/pooling.h"
#include "ui/theme/colour_map.h"

#include <functional>
#include <memory>
#include <optional>

namespace nibble {

struct MatrixPlotData {
  std::uint64_t rows = 0, columns = 0;
  ColourScale scale = ColourScale::Diverging;
  double low = 0, high = 0;  // of the colour scale; diverging: -high .. high; equal: taken from the picture
  int decimals = 2;          // of the colour scale's ticks
  // The visible region pooled to at most width x height entries. An empty answer: the picture comes later through setPicture.
  std::function<PooledMatrix(const MatrixRegion& region, int width, int height)> pooled;
  // Text for the header when the pointer is over a cell: "row 142, column 110: 0.1143 -> 0.0894".
  std::function<QString(std::uint64_t row, std::uint64_t column)> cellText;
};

// Convenience: data whose picture comes from a contiguous matrix that outlives the plot's use of it.
MatrixPlotData matrixOf(std::shared_ptr<const std::vector<float>> values, std::uint64_t columns, ColourScale scale,
                        Pooling mode);

enum class MatrixLook : std::uint8_t { Full, WithScale, Bare };  // axes and colour scale, the latter only, neither

class MatrixPlot : public PlotWidget {
  Q_OBJECT
 public:
  explicit MatrixPlot(QWidget* parent = nullptr, const QString& objectName = QStringLiteral("matrix"));
  ~MatrixPlot() override;
  void setLook(MatrixLook look);
  void setData(MatrixPlotData data);  // keeps zoom and selection when the shape stays
  void clear();
  void setPicture(PooledMatrix picture);
  [[nodiscard]] const PooledMatrix& picture() const;
  [[nodiscard]] QSize pictureSize() const;    // pixels of the map now: what `pooled` is asked for
  [[nodiscard]] MatrixRegion region() const;  // visible cells
  [[nodiscard]] double rowsPerPixel() const;  // for "1.8 rows a pixel"
  [[nodiscard]] QRect mapArea() const;
  [[nodiscard]] QRectF cellRect(std::uint64_t row, std::uint64_t column) const;
  // The framed cells (the group); nothing: no frame. `cell` is the chosen weight in it, drawn when cells are large.
  void setSelection(std::optional<MatrixRegion> group, std::optional<std::pair<std::uint64_t, std::uint64_t>> cell = {});
  [[nodiscard]] DataTable dataTable() const override;
  [[nodiscard]] bool isEmpty() const override;

 public slots:
  void setRegion(const nibble::MatrixRegion& region);
  void setRowRange(quint64 begin, quint64 end);
  void showAll();

 signals:
  void cellClicked(quint64 row, quint64 column);
  void rowRangeChanged(quint64 begin, quint64 end);
  void regionChanged(const nibble::MatrixRegion& region);

 protected:
  void renderTo(QPaintDevice* device, QSize size) override;
  void recolour() override;
  bool moveCursor(int dx, int dy) override;
  void paintEvent(QPaintEvent* event) override;
  void resizeEvent(QResizeEvent* event) override;
  void wheelEvent(QWheelEvent* event) override;
  void mousePressEvent(QMouseEvent* event) override;
  void mouseMoveEvent(QMouseEvent* event) override;
  void mouseReleaseEvent(QMouseEvent* event) override;
  void mouseDoubleClickEvent(QMouseEvent* event) override;
  void keyPressEvent(QKeyEvent* event) override;

 private:
  struct State;
  std::unique_ptr<State> m_state;
};

}  // namespace nibble

Q_DECLARE_METATYPE(nibble::MatrixRegion)
