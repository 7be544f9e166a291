// SPDX-License-Identifier: GPL-3.0-or-later
// The Compare table: one row per candidate with its figures on the current tensor, sorted by any column (first by bits per weight,
// largest first). Rows that are impossible come last with their reason; rows still being computed show dashes. MSE has one
// power of ten for the column, named in its header. Raw numbers stand under Qt::EditRole. GUI thread.
#pragma once
#include "core/report/error_report.h"
#include "core/quant/layout.h"
#include "core/schemes/scheme.h"

#include <QAbstractTableModel>
#include <optional>
#include <vector>

namespace nibble {

struct CandidateRow {
  QString text, shortText;   // canonical and short form of the choice
  Family family = Family::Uniform;
  bool ticked = false, baseline = false;
  bool known = false;        // figures are there
  QString problem;           // why it is impossible; empty: it is not
  double bitsPerWeight = 0, mse = 0, sqnrDb = 0, relativeFrobenius = 0, maxError = 0, cosine = 0, seconds = 0;
  double codeEntropy = 0;                     // bits per weight
  std::optional<double> decibelsFromBound;    // none: the bound is not known, or says nothing at this size
  StorageSize size;
  std::uint64_t weights = 0;
  bool operator==(const CandidateRow&) const;
};

class CandidateModel : public QAbstractTableModel {
  Q_OBJECT
 public:
  enum Column { Tick, SchemeText, Bpw, Kib, Mse, Ratio, Sqnr, RelativeF, MaxError, Cosine, Entropy, FromBound, Milliseconds, ColumnCount };
  explicit CandidateModel(QObject* parent = nullptr);

  void setRows(std::vector<CandidateRow> rows);
  void setBoundNote(const QString& note) { m_boundNote = note; }  // what the bound was made from, for the tooltips
  [[nodiscard]] const std::vector<CandidateRow>& rows() const { return m_rows; }  // in the owner's order
  [[nodiscard]] int sourceIndex(int row) const { return m_order[static_cast<std::size_t>(row)]; }
  [[nodiscard]] int rowOf(int sourceIndex) const;
  [[nodiscard]] bool impossible(int row) const { return !m_rows[static_cast<std::size_t>(sourceIndex(row))].problem.isEmpty(); }
  // Everything as text with raw numbers in the C locale, in the order shown.
  [[nodiscard]] QString toSeparated(QChar separator) const;
  [[nodiscard]] QByteArray toJson() const;

  [[nodiscard]] int rowCount(const QModelIndex& parent = {}) const override;
  [[nodiscard]] int columnCount(const QModelIndex& parent = {}) const override;
  [[nodiscard]] QVariant data(const QModelIndex& index, int role = Qt::DisplayRole) const override;
  [[nodiscard]] QVariant headerData(int section, Qt::Orientation orientation, int role = Qt::DisplayRole) const override;
  [[nodiscard]] Qt::ItemFlags flags(const QModelIndex& index) const override;
  bool setData(const QModelIndex& index, const QVariant& value, int role) override;
  void sort(int column, Qt::SortOrder order) override;

 signals:
  void tickRequested(int sourceIndex, bool ticked);  // the owner changes the row

 private:
  void reorder();
  [[nodiscard]] QVariant number(const CandidateRow& row, int column) const;
  [[nodiscard]] QString text(const CandidateRow& row, int column) const;
  [[nodiscard]] QString toolTip(const CandidateRow& row, int column) const;
  [[nodiscard]] const CandidateRow* baseline() const;

  std::vector<CandidateRow> m_rows;
  std::vector<int> m_order;
  int m_sortColumn = Bpw;
  Qt::SortOrder m_sortOrder = Qt::DescendingOrder;
  int m_msePower = 0;
  QString m_boundNote;
};

}  // namespace nibble
