// SPDX-License-Identifier: GPL-3.0-or-later
// A line of text that gives way: where there is no room it ends (or begins) with an ellipsis and the whole stands in the tooltip;
// where there is hardly any it shows nothing.
#pragma once
#include <QLabel>

namespace nibble {

class ElidedLabel : public QLabel {
  Q_OBJECT
 public:
  explicit ElidedLabel(const QString& objectName, QWidget* parent = nullptr, Qt::TextElideMode mode = Qt::ElideRight);
  void setFullText(const QString& text);
  [[nodiscard]] const QString& fullText() const { return m_full; }
  [[nodiscard]] QSize minimumSizeHint() const override;
  [[nodiscard]] QSize sizeHint() const override;

 protected:
  void resizeEvent(QResizeEvent* event) override;

 private:
  void elide();
  Qt::TextElideMode m_mode;
  QString m_full;
};

}  // namespace nibble
