// SPDX-License-Identifier: GPL-3.0-or-later
// What is done to the weights before the scheme: one toggle for each transform, named transform_ID, in the order they are applied.
// Those that this scheme or matrix refuses are struck through with the reason. Shows a choice and asks for changes.
#pragma once
#include "core/run/choice.h"

#include <QWidget>
#include <optional>

class QToolButton;

namespace nibble {

class TransformBar : public QWidget {
  Q_OBJECT
 public:
  explicit TransformBar(QWidget* parent = nullptr);
  void show(const Choice& choice, std::optional<MatrixSize> size);
  // The choice with the transform before it: its defaults, or the first value it offers that the matrix takes.
  static Choice with(const Choice& choice, const Transform& transform, std::optional<MatrixSize> size);

 signals:
  void toggled(const nibble::Transform* transform, bool on);

 private:
  std::vector<std::pair<const Transform*, QToolButton*>> m_buttons;
};

}  // namespace nibble
