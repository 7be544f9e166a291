// SPDX-License-Identifier: GPL-3.0-or-later
// Where the bits go: one stacked bar of codes, scales, zeros and the rest, in bits per weight, in lighter and lighter shades of
// the scheme's colour. The owner writes the sum and the legend line; legendText() gives it ("codes 4.00 + scales 0.25 + zeros
// 0.25").
#pragma once
#include "core/schemes/scheme.h"
#include "ui/plots/plot_widget.h"

#include <vector>

namespace nibble {

struct SizePart {
  QString label;             // "codes"
  double bitsPerWeight = 0;  // parts of 0 are left out
};

class SizeBar : public PlotWidget {
  Q_OBJECT
 public:
  explicit SizeBar(QWidget* parent = nullptr, const QString& objectName = QStringLiteral("sizeBar"));
  void setData(std::vector<SizePart> parts, Family family);
  void clear();
  [[nodiscard]] QString legendText() const;
  [[nodiscard]] QSize sizeHint() const override { return {200, 9}; }
  [[nodiscard]] QSize minimumSizeHint() const override { return {60, 9}; }
  [[nodiscard]] DataTable dataTable() const override;
  [[nodiscard]] bool isEmpty() const override { return m_parts.empty(); }

 protected:
  void renderTo(QPaintDevice* device, QSize size) override;
  void recolour() override { update(); }
  void paintEvent(QPaintEvent* event) override;
  void mouseMoveEvent(QMouseEvent* event) override;

 private:
  std::vector<SizePart> m_parts;
  Family m_family = Family::Uniform;
};

}  // namespace nibble
