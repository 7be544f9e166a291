// SPDX-License-Identifier: GPL-3.0-or-later
#include "ui/models/diff_model.h"

#include "core/base/text.h"
#include "ui/models/table_roles.h"
#include "ui/theme/number_text.h"

#include <QJsonArray>
#include <QJsonDocument>
#include <QJsonObject>
#include <algorithm>
#include <cmath>
#include <numeric>

namespace nibble {
namespace {

QString string(const std::string& text) { return QString::fromStdString(text); }

QString storedText(const DiffSide& side) {
  return string(side.storedAs) + (side.reading.empty() ? QString() : QObject::tr(" read as %1").arg(string(side.reading)));
}

std::optional<double> number(const DiffedTensor& row, int column) {
  switch (column) {
    case DiffModel::BpwA: return row.a.bitsPerWeight;
    case DiffModel::BpwB: return row.b.bitsPerWeight;
    case DiffModel::Mse: return row.difference.mse();
    case DiffModel::Sqnr: return row.difference.sqnrDb();
    case DiffModel::RelativeF: return row.difference.relativeFrobenius();
    case DiffModel::MaxError: return row.difference.maxError();
    case DiffModel::ReferenceA: return row.aFromReference ? std::optional(row.aFromReference->sqnrDb()) : std::nullopt;
    case DiffModel::ReferenceB: return row.bFromReference ? std::optional(row.bFromReference->sqnrDb()) : std::nullopt;
    default: return std::nullopt;
  }
}

bool nearer(const DiffedTensor& row, int column) {
  if (!row.aFromReference || !row.bFromReference) return false;
  const double a = row.aFromReference->mse(), b = row.bFromReference->mse();
  return column == DiffModel::ReferenceA ? a < b : column == DiffModel::ReferenceB && b < a;
}

QJsonObject figuresOf(const ErrorReport& report) {
  QJsonObject json{{"mse", report.mse()}, {"relativeFrobenius", report.relativeFrobenius()}, {"maxError", report.maxError()}};
  if (std::isfinite(report.sqnrDb())) json["sqnrDb"] = report.sqnrDb();
  return json;
}

}  // namespace

DiffModel::DiffModel(QObject* parent) : QAbstractTableModel(parent) {}

void DiffModel::setRows(std::vector<DiffedTensor> rows) {
  beginResetModel();
  m_rows = std::move(rows);
  std::vector<double> errors;
  for (const auto& row : m_rows)
    if (row.difference.mse() > 0) errors.push_back(row.difference.mse());
  m_msePower = errors.empty() ? 0 : commonPower(errors);
  m_order.resize(m_rows.size());
  reorder();
  endResetModel();
}

bool DiffModel::hasReference() const {
  return std::any_of(m_rows.begin(), m_rows.end(), [](const auto& row) { return row.aFromReference.has_value(); });
}

void DiffModel::reorder() {
  std::iota(m_order.begin(), m_order.end(), 0);
  const bool ascending = m_sortOrder == Qt::AscendingOrder;
  std::stable_sort(m_order.begin(), m_order.end(), [&](int i, int j) {
    const auto &x = m_rows[static_cast<std::size_t>(ascending ? i : j)], &y = m_rows[static_cast<std::size_t>(ascending ? j : i)];
    if (m_sortColumn == Name) return x.a.name < y.a.name;
    if (m_sortColumn == StoredA || m_sortColumn == StoredB)
      return m_sortColumn == StoredA ? x.a.storedAs < y.a.storedAs : x.b.storedAs < y.b.storedAs;
    const auto one = number(x, m_sortColumn), other = number(y, m_sortColumn);
    if (one.has_value() != other.has_value()) return ascending ? one.has_value() : other.has_value();
    return one && *one < *other;
  });
}

void DiffModel::sort(int column, Qt::SortOrder order) {
  emit layoutAboutToBeChanged();
  const auto before = persistentIndexList();
  std::vector<int> sources;
  for (const auto& old : before) sources.push_back(m_order[static_cast<std::size_t>(old.row())]);
  m_sortColumn = column;
  m_sortOrder = order;
  reorder();
  QModelIndexList after;
  for (int i = 0; i < before.size(); ++i) {
    const auto place = std::find(m_order.begin(), m_order.end(), sources[static_cast<std::size_t>(i)]);
    after << index(static_cast<int>(place - m_order.begin()), before[i].column());
  }
  changePersistentIndexList(before, after);
  emit layoutChanged();
}

QString DiffModel::text(const DiffedTensor& row, int column) const {
  const auto value = number(row, column);
  switch (column) {
    case Name: return string(row.a.name);
    case StoredA: return storedText(row.a);
    case StoredB: return storedText(row.b);
    case BpwA:
    case BpwB: return formatBpw(*value);
    case Mse: return *value == 0 ? QStringLiteral("0") : *value * std::pow(10.0, -m_msePower) < 5e-4 ? formatMse(*value) : formatScaled(*value, m_msePower);
    case RelativeF: return formatFixed(*value * 100, 2);
    case MaxError: return formatMaxError(*value);
    default: return value ? formatSqnr(*value) : unknownText();
  }
}

QVariant DiffModel::data(const QModelIndex& index, int role) const {
  if (!index.isValid()) return {};
  const auto& row = at(index.row());
  const int column = index.column();
  switch (role) {
    case Qt::DisplayRole: return text(row, column);
    case Qt::EditRole: {
      const auto value = number(row, column);
      return column <= StoredB ? QVariant(text(row, column)) : value ? QVariant(*value) : QVariant();
    }
    case Qt::ToolTipRole:
      if (column == Name && row.b.name != row.a.name) return tr("%1\nin B: %2").arg(string(row.a.name), string(row.b.name));
      return column <= StoredB ? QVariant(text(row, column)) : QVariant();
    case Qt::TextAlignmentRole: return QVariant(Qt::AlignVCenter | (column >= BpwA ? Qt::AlignRight : Qt::AlignLeft));
    case FixedRole: return column == Name;
    case BoldRole: return column == Mse || nearer(row, column);
    case ToneRole: return static_cast<int>(nearer(row, column) ? Tone::Good : column == BpwA || column == BpwB ? Tone::Quiet : Tone::Normal);
    default: return {};
  }
}

QVariant DiffModel::headerData(int section, Qt::Orientation orientation, int role) const {
  if (orientation != Qt::Horizontal) return {};
  if (role == Qt::TextAlignmentRole) return QVariant(Qt::AlignVCenter | (section >= BpwA ? Qt::AlignRight : Qt::AlignLeft));
  if (role == Qt::ToolTipRole) {
    switch (section) {
      case Mse: return tr("Mean squared difference of the weights of A and B");
      case Sqnr: return tr("10 log10 of the energy of A's weights over that of the difference");
      case RelativeF: return tr("Norm of the difference over the norm of A's weights");
      case MaxError: return tr("Largest difference of two weights");
      case ReferenceA: return tr("SQNR of A against the reference; the nearer of the two is marked");
      case ReferenceB: return tr("SQNR of B against the reference; the nearer of the two is marked");
      default: return {};
    }
  }
  if (role != Qt::DisplayRole) return {};
  const QString titles[] = {tr("Tensor"), tr("A"), tr("B"), tr("A bpw"), tr("B bpw"), m_msePower == 0 ? tr("MSE") : tr("MSE ·%1").arg(formatPower(m_msePower)),
                            tr("SQNR dB"), tr("Rel. F %"), tr("Max |d|"), tr("A dB to ref."), tr("B dB to ref.")};
  return titles[section];
}

int DiffModel::rowCount(const QModelIndex& parent) const { return parent.isValid() ? 0 : static_cast<int>(m_rows.size()); }
int DiffModel::columnCount(const QModelIndex& parent) const { return parent.isValid() ? 0 : ColumnCount; }

QString DiffModel::toSeparated(QChar separator) const {
  QStringList lines = {QStringList{"tensor", "a", "b", "bitsPerWeightA", "bitsPerWeightB", "mse", "sqnrDb", "relativeFrobenius", "maxError",
                                   "sqnrDbAFromReference", "sqnrDbBFromReference"}.join(separator)};
  for (int row = 0; row < rowCount(); ++row) {
    QStringList cells;
    for (int column = 0; column < ColumnCount; ++column) {
      const auto value = number(at(row), column);
      QString cell = column <= StoredB ? text(at(row), column) : value ? string(text::digits(*value, 17)) : QString();
      if (separator == ',' && column <= StoredB) cell = '"' + cell.replace('"', "\"\"") + '"';
      cells << cell;
    }
    lines << cells.join(separator);
  }
  return lines.join('\n') + '\n';
}

QByteArray DiffModel::toJson() const {
  QJsonArray array;
  for (int i = 0; i < rowCount(); ++i) {
    const auto& row = at(i);
    QJsonObject object = figuresOf(row.difference);
    object["tensor"] = string(row.a.name);
    if (row.b.name != row.a.name) object["tensorInB"] = string(row.b.name);
    object["a"] = storedText(row.a);
    object["b"] = storedText(row.b);
    object["bitsPerWeight"] = QJsonObject{{"a", row.a.bitsPerWeight}, {"b", row.b.bitsPerWeight}};
    if (row.aFromReference && row.bFromReference)
      object["reference"] = QJsonObject{{"a", figuresOf(*row.aFromReference)}, {"b", figuresOf(*row.bFromReference)}};
    array.append(object);
  }
  return QJsonDocument(array).toJson();
}

}  // namespace nibble
