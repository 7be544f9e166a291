// SPDX-License-Identifier: GPL-3.0-or-later
// The numbers behind a plot as a plain table in a window of its own, for those who would rather read or hear them. GUI thread.
#pragma once
#include "ui/plots/plot_widget.h"

#include <QAbstractTableModel>
#include <QDialog>

namespace nibble {

class DataTableModel : public QAbstractTableModel {
  Q_OBJECT
 public:
  explicit DataTableModel(DataTable table, QObject* parent = nullptr);
  [[nodiscard]] int rowCount(const QModelIndex& parent = {}) const override;
  [[nodiscard]] int columnCount(const QModelIndex& parent = {}) const override;
  [[nodiscard]] QVariant data(const QModelIndex& index, int role) const override;
  [[nodiscard]] QVariant headerData(int section, Qt::Orientation orientation, int role) const override;

 private:
  DataTable m_table;
};

class TableWindow : public QDialog {
  Q_OBJECT
 public:
  TableWindow(const QString& title, DataTable table, QWidget* parent);
};

}  // namespace nibble
