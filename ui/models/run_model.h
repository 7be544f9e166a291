// SPDX-License-Identifier: GPL-3.0-or-later
// The table of the Train page: one row per run, side by side at the same step. Losses have as many decimals as the largest of
// them needs for four digits. Raw numbers stand under Qt::EditRole. GUI thread.
#pragma once
#include "core/train/parameter.h"

#include <QAbstractTableModel>
#include <QColor>
#include <optional>
#include <vector>

namespace nibble {

struct RunRow {
  QString name, base, problem;  // problem: why it does not go on
  QColor colour;
  bool dashed = false, chosen = false, stepped = false;
  std::uint64_t trainable = 0, moved = 0;
  std::optional<train::Moved> magnitude;
  double firstLoss = 0, lastLoss = 0, deltaM = 0, deltaD = 0;  // NaN: unknown
};

class RunModel : public QAbstractTableModel {
  Q_OBJECT
 public:
  enum Column { Name, Base, Trainable, FirstLoss, LastLoss, Moved, MagnitudeMoved, DeltaM, DeltaD, ColumnCount };
  using QAbstractTableModel::QAbstractTableModel;
  void setRows(std::vector<RunRow> rows);
  [[nodiscard]] QString toSeparated(QChar separator) const;  // raw numbers, C locale

  [[nodiscard]] int rowCount(const QModelIndex& parent = {}) const override;
  [[nodiscard]] int columnCount(const QModelIndex& parent = {}) const override;
  [[nodiscard]] QVariant data(const QModelIndex& index, int role = Qt::DisplayRole) const override;
  [[nodiscard]] QVariant headerData(int section, Qt::Orientation orientation, int role = Qt::DisplayRole) const override;

 private:
  [[nodiscard]] QVariant number(const RunRow& row, int column) const;
  [[nodiscard]] QString text(const RunRow& row, int column) const;
  std::vector<RunRow> m_rows;
  int m_lossDecimals = 4;
};

}  // namespace nibble
