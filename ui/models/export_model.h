// SPDX-License-Identifier: GPL-3.0-or-later
// What an export wrote, layer by layer: shape, size, how much smaller, SQNR, and the largest difference between the values shown and
// those a second decoder read back. Rows that are not written yet say what is happening. GUI thread.
#pragma once
#include <QAbstractTableModel>
#include <vector>

namespace nibble {

struct ExportRow {
  QString name;
  std::vector<std::uint64_t> shape;
  std::uint64_t sourceBytes = 0;
  std::uint64_t sizeBytes = 0;   // 0: not written yet
  double sqnrDb = 0;
  double maxDifference = 0;      // NaN: not compared
  bool done = false;
  QString status;                // while it is not done
};

class ExportModel : public QAbstractTableModel {
  Q_OBJECT
 public:
  enum Column { Layer, ShapeColumn, Kib, Smaller, Sqnr, Difference, ColumnCount };
  explicit ExportModel(QObject* parent = nullptr);
  void setRows(QString prefix, std::vector<ExportRow> rows);  // the prefix all names share stands in the header

  [[nodiscard]] int rowCount(const QModelIndex& parent = {}) const override;
  [[nodiscard]] int columnCount(const QModelIndex& parent = {}) const override;
  [[nodiscard]] QVariant data(const QModelIndex& index, int role = Qt::DisplayRole) const override;
  [[nodiscard]] QVariant headerData(int section, Qt::Orientation orientation, int role = Qt::DisplayRole) const override;

 private:
  [[nodiscard]] QString text(const ExportRow& row, int column) const;
  QString m_prefix;
  std::vector<ExportRow> m_rows;
};

}  // namespace nibble
