// SPDX-License-Identifier: GPL-3.0-or-later
#include "ui/models/largest_model.h"

#include "core/base/text.h"
#include "ui/theme/number_text.h"
#include "ui/theme/theme.h"

#include <algorithm>
#include <array>
#include <cmath>

namespace nibble {

void LargestModel::setPairs(std::shared_ptr<const Reconstruction> pairs) {
  if (pairs == m_pairs) return;
  beginResetModel();
  m_pairs = std::move(pairs);
  const double largest = rowCount() > 0 ? std::fabs(static_cast<double>(at(0).error)) : 0;
  m_decimals = largest > 0 ? std::clamp(2 - static_cast<int>(std::floor(std::log10(largest))), 2, 9) : 4;
  endResetModel();
}

int LargestModel::rowOf(std::uint64_t row, std::uint64_t column) const {
  for (int i = 0; i < rowCount(); ++i)
    if (at(i).row == row && at(i).column == column) return i;
  return -1;
}

int LargestModel::rowCount(const QModelIndex& parent) const { return parent.isValid() || !m_pairs ? 0 : static_cast<int>(m_pairs->largest.size()); }
int LargestModel::columnCount(const QModelIndex& parent) const { return parent.isValid() ? 0 : ColumnCount; }

QVariant LargestModel::number(const LargeError& error, int column) {
  switch (column) {
    case Row: return static_cast<qulonglong>(error.row);
    case ColumnInRow: return static_cast<qulonglong>(error.column);
    case Weight: return error.weight;
    case Value: return error.value;
    case Error: return error.error;
    case Code: return static_cast<qlonglong>(error.code);
    default: return {};
  }
}

QVariant LargestModel::data(const QModelIndex& index, int role) const {
  if (!index.isValid()) return {};
  const int column = index.column();
  const QVariant raw = number(at(index.row()), column);
  switch (role) {
    case Qt::EditRole: return raw;
    case Qt::DisplayRole:
      return column == Weight || column == Value || column == Error ? formatFixed(raw.toDouble(), m_decimals) : raw.toString();
    case Qt::TextAlignmentRole: return QVariant(Qt::AlignVCenter | Qt::AlignRight);
    case Qt::FontRole: return fonts::hint();  // six columns stand in a narrow panel
    default: return {};
  }
}

QVariant LargestModel::headerData(int section, Qt::Orientation orientation, int role) const {
  if (orientation != Qt::Horizontal) return {};
  if (role == Qt::TextAlignmentRole) return QVariant(Qt::AlignVCenter | Qt::AlignRight);
  static const std::array<std::pair<const char*, const char*>, ColumnCount> texts{{
      {QT_TR_NOOP("Row"), QT_TR_NOOP("Output channel, from 0")},
      {QT_TR_NOOP("Col"), QT_TR_NOOP("Input channel, from 0")},
      {QT_TR_NOOP("w"), QT_TR_NOOP("The weight as it was")},
      {QT_TR_NOOP("ŵ"), QT_TR_NOOP("What comes back")},
      {QT_TR_NOOP("Error"), QT_TR_NOOP("w − ŵ")},
      {QT_TR_NOOP("Code"), QT_TR_NOOP("The code that is stored for the weight")},
  }};
  const auto& [name, help] = texts[static_cast<std::size_t>(section)];
  return role == Qt::DisplayRole ? QVariant(tr(name)) : role == Qt::ToolTipRole ? QVariant(tr(help)) : QVariant();
}

QString LargestModel::toSeparated(QChar separator) const {
  QString out = QStringList{"row", "column", "weight", "reconstructed", "error", "code"}.join(separator) + '\n';
  for (int row = 0; row < rowCount(); ++row) {
    QStringList cells;
    for (int column = 0; column < ColumnCount; ++column) {
      const QVariant raw = number(at(row), column);
      cells << (raw.typeId() == QMetaType::Float ? QString::fromStdString(text::number(raw.toFloat())) : raw.toString());
    }
    out += cells.join(separator) + '\n';
  }
  return out;
}

}  // namespace nibble
