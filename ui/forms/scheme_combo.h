// SPDX-License-Identifier: GPL-3.0-or-later
// Every scheme of the catalogue in one list, grouped by family, each with its summary; those that this matrix refuses whatever
// their settings are greyed with the reason in place of the summary, and skipped by the arrow keys. A packed layer adds "as
// stored" at the top. Typing the first letters finds a scheme.
#pragma once
#include "core/schemes/scheme.h"

#include <QComboBox>
#include <optional>

namespace nibble {

class SchemeCombo : public QComboBox {
  Q_OBJECT
 public:
  explicit SchemeCombo(QWidget* parent = nullptr);
  // What fits is asked of every scheme; `stored` is the description of the packed layer, empty where there is none.
  void setMatrix(std::optional<MatrixSize> size, const QString& stored);
  void showScheme(const Scheme& scheme);
  void showStored();

 signals:
  void schemeChosen(const nibble::Scheme* scheme);
  void storedChosen();

 private:
  void fill();
  std::optional<MatrixSize> m_size;
  QString m_stored;
};

}  // namespace nibble
