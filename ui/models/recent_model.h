// SPDX-License-Identifier: GPL-3.0-or-later
// Recently opened files as a table: name, folder, format, tensors, size. GUI thread.
#pragma once
#include "ui/session/recent_files.h"

#include <QAbstractTableModel>

namespace nibble {

class RecentModel : public QAbstractTableModel {
  Q_OBJECT
 public:
  enum Column { Name, Folder, Format, Tensors, Size, ColumnCount };
  explicit RecentModel(QObject* parent = nullptr) : QAbstractTableModel(parent) {}
  void setFiles(std::vector<RecentFile> files);
  [[nodiscard]] QString path(int row) const { return m_files[static_cast<std::size_t>(row)].path; }

  [[nodiscard]] int rowCount(const QModelIndex& parent = {}) const override;
  [[nodiscard]] int columnCount(const QModelIndex& parent = {}) const override;
  [[nodiscard]] QVariant data(const QModelIndex& index, int role = Qt::DisplayRole) const override;
  [[nodiscard]] QVariant headerData(int section, Qt::Orientation orientation, int role = Qt::DisplayRole) const override;

 private:
  std::vector<RecentFile> m_files;
};

}  // namespace nibble
