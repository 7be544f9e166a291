// SPDX-License-Identifier: GPL-3.0-or-later
#include "ui/models/run_model.h"

#include "core/base/text.h"
#include "ui/models/table_roles.h"
#include "ui/theme/number_text.h"

#include <QPainter>
#include <QPixmap>
#include <algorithm>
#include <cmath>

namespace nibble {
namespace {

QPixmap lineMark(const RunRow& row) {
  QPixmap pixmap(22, 12);
  pixmap.fill(Qt::transparent);
  QPainter painter(&pixmap);
  painter.setPen(QPen(row.colour, row.chosen ? 2.2 : 1.5, row.dashed ? Qt::DotLine : Qt::SolidLine));
  painter.drawLine(0, 6, 20, 6);
  return pixmap;
}

bool isLost(const RunRow& row) { return row.magnitude && row.magnitude->moved == 0 && row.magnitude->vanished > 0; }

}  // namespace

void RunModel::setRows(std::vector<RunRow> rows) {
  double largest = 0;
  for (const RunRow& row : rows)
    for (const double loss : {row.firstLoss, row.lastLoss})
      if (std::isfinite(loss)) largest = std::max(largest, loss);
  m_lossDecimals = largest > 0 ? std::clamp(3 - static_cast<int>(std::floor(std::log10(largest))), 0, 12) : 4;
  const bool sameCount = rows.size() == m_rows.size();
  if (!sameCount) beginResetModel();
  m_rows = std::move(rows);
  if (!sameCount) return endResetModel();
  if (!m_rows.empty()) emit dataChanged(index(0, 0), index(rowCount() - 1, ColumnCount - 1));
}

int RunModel::rowCount(const QModelIndex& parent) const { return parent.isValid() ? 0 : static_cast<int>(m_rows.size()); }
int RunModel::columnCount(const QModelIndex& parent) const { return parent.isValid() ? 0 : ColumnCount; }

QVariant RunModel::number(const RunRow& row, int column) const {
  const auto finite = [](double value) { return std::isfinite(value) ? QVariant(value) : QVariant(); };
  switch (column) {
    case Name: return row.name;
    case Base: return row.base;
    case Trainable: return static_cast<qulonglong>(row.trainable);
    case FirstLoss: return finite(row.firstLoss);
    case LastLoss: return finite(row.lastLoss);
    case Moved: return row.stepped ? QVariant(static_cast<qulonglong>(row.moved)) : QVariant();
    case MagnitudeMoved: return row.magnitude ? QVariant(static_cast<qulonglong>(row.magnitude->moved)) : QVariant();
    case DeltaM: return row.stepped ? finite(row.deltaM) : QVariant();
    case DeltaD: return row.stepped ? finite(row.deltaD) : QVariant();
    default: return {};
  }
}

QString RunModel::text(const RunRow& row, int column) const {
  if (column == Base && !row.problem.isEmpty()) return row.problem;
  const QVariant raw = number(row, column);
  if (!raw.isValid()) return unknownText();
  switch (column) {
    case Trainable:
    case Moved: return formatCount(raw.toULongLong());
    case FirstLoss:
    case LastLoss: {
      const double loss = raw.toDouble();
      const bool vanishes = loss > 0 && loss < std::pow(10.0, -m_lossDecimals);  // beside the largest; but it is not 0
      return vanishes ? formatMse(loss, 2) : formatFixed(loss, m_lossDecimals);
    }
    case MagnitudeMoved: return tr("%1 of %2").arg(formatCount(row.magnitude->moved), formatCount(row.magnitude->total));
    case DeltaM:
    case DeltaD: return formatFixed(raw.toDouble(), 4);
    default: return raw.toString();
  }
}

QVariant RunModel::data(const QModelIndex& index, int role) const {
  if (!index.isValid()) return {};
  const RunRow& row = m_rows[static_cast<std::size_t>(index.row())];
  const int column = index.column();
  switch (role) {
    case Qt::DisplayRole: return text(row, column);
    case Qt::EditRole: return number(row, column);
    case Qt::DecorationRole: return column == Name ? QVariant(lineMark(row)) : QVariant();
    case Qt::ToolTipRole: return row.problem.isEmpty() ? QVariant() : QVariant(row.problem);
    case Qt::TextAlignmentRole: return QVariant(Qt::AlignVCenter | (column >= Trainable ? Qt::AlignRight : Qt::AlignLeft));
    case BoldRole: return column == LastLoss || (column == MagnitudeMoved && isLost(row)) || (column == Name && row.chosen);
    case HighlightRole: return row.chosen;
    case ToneRole:
      if (column == MagnitudeMoved && isLost(row)) return static_cast<int>(Tone::Warn);
      if (column == Base) return static_cast<int>(row.problem.isEmpty() ? Tone::Quiet : Tone::Bad);
      return static_cast<int>(Tone::Normal);
    default: return {};
  }
}

QVariant RunModel::headerData(int section, Qt::Orientation orientation, int role) const {
  if (orientation != Qt::Horizontal) return {};
  if (role == Qt::TextAlignmentRole) return QVariant(Qt::AlignVCenter | (section >= Trainable ? Qt::AlignRight : Qt::AlignLeft));
  static const std::array<std::pair<const char*, const char*>, ColumnCount> texts{{
      {QT_TR_NOOP("Run"), QT_TR_NOOP("What is trained, all on the same data")},
      {QT_TR_NOOP("Base"), QT_TR_NOOP("The frozen weights under the adapter")},
      {QT_TR_NOOP("Trainable"), QT_TR_NOOP("Trained numbers")},
      {QT_TR_NOOP("Loss at 0"), QT_TR_NOOP("Mean square of output minus target before the first step")},
      {QT_TR_NOOP("Loss now"), QT_TR_NOOP("Mean square of output minus target, of the parameters as they are")},
      {QT_TR_NOOP("Moved"), QT_TR_NOOP("Trained numbers that the last step changed; others had no update or one that rounded to nothing")},
      {QT_TR_NOOP("m moved"), QT_TR_NOOP("The same for the magnitude")},
      {QT_TR_NOOP("ΔM"), QT_TR_NOOP("Mean change of the rows' magnitudes since the start")},
      {QT_TR_NOOP("ΔD"), QT_TR_NOOP("Mean of 1 - cosine between the rows' directions now and at the start")},
  }};
  const auto& [name, help] = texts[static_cast<std::size_t>(section)];
  return role == Qt::DisplayRole ? QVariant(tr(name)) : role == Qt::ToolTipRole ? QVariant(tr(help)) : QVariant();
}

QString RunModel::toSeparated(QChar separator) const {
  QString out;
  QStringList cells;
  for (int column = 0; column < ColumnCount; ++column) cells << headerData(column, Qt::Horizontal).toString();
  out += cells.join(separator) + '\n';
  for (const RunRow& row : m_rows) {
    cells.clear();
    for (int column = 0; column < ColumnCount; ++column) {
      const QVariant raw = number(row, column);
      QString cell = raw.typeId() == QMetaType::Double ? QString::fromStdString(text::number(raw.toDouble())) : raw.toString();
      cells << (cell.contains(separator) ? '"' + cell + '"' : cell);
    }
    out += cells.join(separator) + '\n';
  }
  return out;
}

}  // namespace nibble
