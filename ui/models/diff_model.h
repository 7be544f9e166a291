// SPDX-License-Identifier: GPL-3.0-or-later
// Two files tensor by tensor: how each side stores it, how far the two are apart, and how far each is from the reference where
// there is one; the nearer side is marked. Sorted by any column, first by MSE, the farthest apart first. Rows without a reference
// of their own show dashes and come last in its columns. Raw numbers stand under Qt::EditRole. GUI thread.
#pragma once
#include "core/run/diff.h"

#include <QAbstractTableModel>
#include <optional>
#include <vector>

namespace nibble {

class DiffModel : public QAbstractTableModel {
  Q_OBJECT
 public:
  enum Column { Name, StoredA, StoredB, BpwA, BpwB, Mse, Sqnr, RelativeF, MaxError, ReferenceA, ReferenceB, ColumnCount };
  explicit DiffModel(QObject* parent = nullptr);

  void setRows(std::vector<DiffedTensor> rows);
  [[nodiscard]] const DiffedTensor& at(int row) const { return m_rows[static_cast<std::size_t>(m_order[static_cast<std::size_t>(row)])]; }
  [[nodiscard]] bool hasReference() const;
  // Everything as text with raw numbers in the C locale, in the order shown.
  [[nodiscard]] QString toSeparated(QChar separator) const;
  [[nodiscard]] QByteArray toJson() const;

  [[nodiscard]] int rowCount(const QModelIndex& parent = {}) const override;
  [[nodiscard]] int columnCount(const QModelIndex& parent = {}) const override;
  [[nodiscard]] QVariant data(const QModelIndex& index, int role = Qt::DisplayRole) const override;
  [[nodiscard]] QVariant headerData(int section, Qt::Orientation orientation, int role = Qt::DisplayRole) const override;
  void sort(int column, Qt::SortOrder order) override;

 private:
  void reorder();
  [[nodiscard]] QString text(const DiffedTensor& row, int column) const;

  std::vector<DiffedTensor> m_rows;
  std::vector<int> m_order;
  int m_sortColumn = Mse;
  Qt::SortOrder m_sortOrder = Qt::DescendingOrder;
  int m_msePower = 0;
};

}  // namespace nibble
