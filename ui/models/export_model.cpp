// SPDX-License-Identifier: GPL-3.0-or-later
#include "ui/models/export_model.h"

#include "ui/models/table_roles.h"
#include "ui/theme/number_text.h"

#include <cmath>

namespace nibble {

ExportModel::ExportModel(QObject* parent) : QAbstractTableModel(parent) {}

void ExportModel::setRows(QString prefix, std::vector<ExportRow> rows) {
  if (rows.size() != m_rows.size() || prefix != m_prefix) {
    beginResetModel();
    m_prefix = std::move(prefix);
    m_rows = std::move(rows);
    endResetModel();
    return;
  }
  m_rows = std::move(rows);
  if (!m_rows.empty()) emit dataChanged(index(0, 0), index(rowCount() - 1, ColumnCount - 1));
}

int ExportModel::rowCount(const QModelIndex& parent) const { return parent.isValid() ? 0 : static_cast<int>(m_rows.size()); }
int ExportModel::columnCount(const QModelIndex& parent) const { return parent.isValid() ? 0 : ColumnCount; }

QString ExportModel::text(const ExportRow& row, int column) const {
  switch (column) {
    case Layer: return row.name.mid(m_prefix.size());
    case ShapeColumn: return formatShape(row.shape);
    case Kib: return row.done ? formatSizeNumber(row.sizeBytes, SizeUnit::KiB) : QString();
    case Smaller:
      return row.done && row.sizeBytes > 0 ? formatRatio(static_cast<double>(row.sourceBytes) / static_cast<double>(row.sizeBytes)) : QString();
    case Sqnr: return row.done ? formatSqnr(row.sqnrDb) : QString();
    case Difference:
      if (!row.done) return row.status;
      return std::isnan(row.maxDifference) ? unknownText() : QLocale().toString(row.maxDifference, 'g', 3);
    default: return {};
  }
}

QVariant ExportModel::data(const QModelIndex& index, int role) const {
  if (!index.isValid()) return {};
  const auto& row = m_rows[static_cast<std::size_t>(index.row())];
  switch (role) {
    case Qt::DisplayRole: return text(row, index.column());
    case Qt::ToolTipRole:
      if (index.column() == Difference && row.done && std::isnan(row.maxDifference)) return tr("not read back");
      return row.name;
    case Qt::TextAlignmentRole:
      return QVariant(Qt::AlignVCenter | (index.column() == Layer ? Qt::AlignLeft : Qt::AlignRight));
    case BoldRole: return index.column() == Difference && row.done;
    case ToneRole:
      if (index.column() == Difference && row.done && !std::isnan(row.maxDifference))
        return static_cast<int>(row.maxDifference == 0 ? Tone::Good : Tone::Bad);
      return static_cast<int>(row.done && index.column() != Smaller && index.column() != ShapeColumn ? Tone::Normal : Tone::Quiet);
    default: return {};
  }
}

QVariant ExportModel::headerData(int section, Qt::Orientation orientation, int role) const {
  if (orientation != Qt::Horizontal) return {};
  if (role == Qt::TextAlignmentRole) return QVariant(Qt::AlignVCenter | (section == Layer ? Qt::AlignLeft : Qt::AlignRight));
  if (role != Qt::DisplayRole) return {};
  switch (section) {
    case Layer: return m_prefix.isEmpty() ? tr("Layer") : m_prefix;
    case ShapeColumn: return tr("Shape");
    case Kib: return tr("KiB");
    case Smaller: return tr("Smaller");
    case Sqnr: return tr("SQNR dB");
    case Difference: return tr("Max |diff.|");
    default: return {};
  }
}

}  // namespace nibble
