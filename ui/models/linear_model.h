// SPDX-License-Identifier: GPL-3.0-or-later
// The table of the activations view: output error of one layer for each pair of weights and inputs, plain and smoothed. Raw numbers
// stand under Qt::EditRole. GUI thread.
#pragma once
#include "ui/session/activations.h"

#include <QAbstractTableModel>

namespace nibble {

class LinearModel : public QAbstractTableModel {
  Q_OBJECT
 public:
  enum Column { Weights, Inputs, Sqnr, SmoothedSqnr, Gain, Mse, SmoothedMse, MaxError, Cosine, Arithmetic, ColumnCount };
  using QAbstractTableModel::QAbstractTableModel;
  void setRows(std::vector<LinearRow> rows);
  [[nodiscard]] QString toSeparated(QChar separator) const;  // raw numbers, C locale
  [[nodiscard]] QByteArray toJson() const;

  [[nodiscard]] int rowCount(const QModelIndex& parent = {}) const override;
  [[nodiscard]] int columnCount(const QModelIndex& parent = {}) const override;
  [[nodiscard]] QVariant data(const QModelIndex& index, int role = Qt::DisplayRole) const override;
  [[nodiscard]] QVariant headerData(int section, Qt::Orientation orientation, int role = Qt::DisplayRole) const override;

 private:
  [[nodiscard]] QVariant number(const LinearRow& row, int column) const;
  [[nodiscard]] QString text(const LinearRow& row, int column) const;
  std::vector<LinearRow> m_rows;
  int m_power = 0;  // of ten, of the MSE columns
};

}  // namespace nibble
