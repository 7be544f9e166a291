// SPDX-License-Identifier: GPL-3.0-or-later
// One group under the lens: its weights as ticks on a number line, each joined to the level it was rounded to, levels as lines
// with their code, and two handles that can be dragged: the scale (circle, at the last level) and the zero (diamond, on the
// line). The plot only reports the wish; the owner answers with new data. Double click on a handle asks for the scheme's own
// choice. Keys: Left and Right choose a weight; with Ctrl they move the zero, with Ctrl+Shift the scale, by 1/8 step; Escape
// resets.
#pragma once
#include "core/schemes/scheme.h"
#include "ui/plots/plot_widget.h"

#include <memory>
#include <vector>

namespace nibble {

struct MicroscopeData {
  std::vector<double> weights;  // in stored order
  std::vector<int> codes;       // of each weight
  std::vector<double> levels;   // by code: what each code decodes to in this group
  int selected = -1;            // index of the chosen weight
  double scale = 0;             // distance of neighbouring levels for affine schemes, else the factor on the table of levels
  double zero = 0;              // the value the zero handle stands for, in codes
  bool scaleDraggable = false, zeroDraggable = false;
  Family family = Family::Uniform;
};

class MicroscopePlot : public PlotWidget {
  Q_OBJECT
 public:
  explicit MicroscopePlot(QWidget* parent = nullptr, const QString& objectName = QStringLiteral("microscope"));
  ~MicroscopePlot() override;
  void setData(MicroscopeData data);  // while a drag is going on the axis stays where it is
  void clear();
  [[nodiscard]] QPointF scaleHandle() const;  // centre in pixels of this widget
  [[nodiscard]] QPointF zeroHandle() const;
  [[nodiscard]] double toPixel(double value) const;
  [[nodiscard]] DataTable dataTable() const override;
  [[nodiscard]] bool isEmpty() const override;

 signals:
  void scaleDragged(double scale);  // a new scale, same zero; always > 0
  void zeroDragged(double zero);    // a new zero in codes, same scale
  void dragFinished();
  void resetRequested();
  void weightClicked(int index);

 protected:
  void renderTo(QPaintDevice* device, QSize size) override;
  void recolour() override;
  bool moveCursor(int dx, int dy) override;
  void paintEvent(QPaintEvent* event) override;
  void keyPressEvent(QKeyEvent* event) override;
  void mousePressEvent(QMouseEvent* event) override;
  void mouseMoveEvent(QMouseEvent* event) override;
  void mouseReleaseEvent(QMouseEvent* event) override;
  void mouseDoubleClickEvent(QMouseEvent* event) override;

 private:
  struct State;
  std::unique_ptr<State> m_state;
};

}  // namespace nibble
