// SPDX-License-Identifier: GPL-3.0-or-later
// The largest errors of a tensor with their places, the largest first. All values have as many decimals as the largest error
// needs for four digits. Raw numbers stand under Qt::EditRole. GUI thread.
#pragma once
#include "core/report/reconstruction.h"

#include <QAbstractTableModel>
#include <memory>

namespace nibble {

class LargestModel : public QAbstractTableModel {
  Q_OBJECT
 public:
  enum Column { Row, ColumnInRow, Weight, Value, Error, Code, ColumnCount };
  using QAbstractTableModel::QAbstractTableModel;
  void setPairs(std::shared_ptr<const Reconstruction> pairs);  // null: none
  [[nodiscard]] const LargeError& at(int row) const { return m_pairs->largest[static_cast<std::size_t>(row)]; }
  [[nodiscard]] int rowOf(std::uint64_t row, std::uint64_t column) const;  // -1: not among the largest
  [[nodiscard]] QString toSeparated(QChar separator) const;                // raw numbers, C locale

  [[nodiscard]] int rowCount(const QModelIndex& parent = {}) const override;
  [[nodiscard]] int columnCount(const QModelIndex& parent = {}) const override;
  [[nodiscard]] QVariant data(const QModelIndex& index, int role = Qt::DisplayRole) const override;
  [[nodiscard]] QVariant headerData(int section, Qt::Orientation orientation, int role = Qt::DisplayRole) const override;

 private:
  [[nodiscard]] static QVariant number(const LargeError& error, int column);
  std::shared_ptr<const Reconstruction> m_pairs;
  int m_decimals = 4;
};

}  // namespace nibble
