// SPDX-License-Identifier: GPL-3.0-or-later
#include "ui/pages/group_frame.h"

#include "ui/theme/number_text.h"

#include <QObject>
#include <algorithm>

namespace nibble {

std::optional<MatrixRegion> groupFrame(const QuantizedTensor& quantized, const MatrixSource& place, const Cell& cell) {
  if (!quantized.scale || !quantized.order.empty()) return std::nullopt;
  const auto& grouping = quantized.scale->grouping;
  const std::uint64_t flat = place.storedIndex(cell.row, cell.column);
  const std::uint64_t columns = quantized.columns;
  if (grouping.kind() == Grouping::Kind::Blocks) {
    const std::uint64_t tileRows = grouping.tileRows() == 0 ? quantized.rows : grouping.tileRows();
    const std::uint64_t tileColumns = grouping.tileColumns() == 0 ? columns : grouping.tileColumns();
    const std::uint64_t row = cell.row / tileRows * tileRows, column = cell.column / tileColumns * tileColumns;
    return MatrixRegion{row, std::min(quantized.rows, row + tileRows), column, std::min(columns, column + tileColumns)};
  }
  if (grouping.kind() == Grouping::Kind::Flat) {
    const std::uint64_t begin = flat / grouping.length() * grouping.length();
    const std::uint64_t end = std::min(quantized.weightCount(), begin + grouping.length());
    if (begin / columns == (end - 1) / columns) return MatrixRegion{cell.row, cell.row + 1, begin % columns, (end - 1) % columns + 1};
    if (begin % columns == 0 && end % columns == 0) return MatrixRegion{begin / columns, end / columns, 0, columns};
  }
  return std::nullopt;
}

QString describeGroup(const QuantizedTensor& quantized, const MatrixSource& place, const Cell& cell) {
  if (!quantized.scale) return QObject::tr("the whole tensor");
  const auto& grouping = quantized.scale->grouping;
  if (grouping.groupCount() == 1) return QObject::tr("the whole tensor");
  const auto frame = groupFrame(quantized, place, cell);
  if (!frame) return QObject::tr("group %1").arg(formatCount(grouping.groupOf(place.storedIndex(cell.row, cell.column))));
  const bool wholeRow = frame->columns() == quantized.columns, oneRow = frame->rows() == 1;
  if (oneRow && wholeRow) return QObject::tr("row %1").arg(formatCount(cell.row));
  if (frame->columns() == 1 && frame->rows() == quantized.rows) return QObject::tr("column %1").arg(formatCount(cell.column));
  const QString rows = oneRow ? formatCount(cell.row) : formatRange(frame->rowBegin, frame->rowEnd - 1);
  return QObject::tr("group [%1, %2]").arg(rows, formatRange(frame->columnBegin, frame->columnEnd - 1));
}

}  // namespace nibble
