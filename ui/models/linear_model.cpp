// SPDX-License-Identifier: GPL-3.0-or-later
#include "ui/models/linear_model.h"

#include "core/base/text.h"
#include "ui/models/table_roles.h"
#include "ui/theme/number_text.h"

#include <QJsonArray>
#include <QJsonDocument>
#include <QJsonObject>
#include <cmath>

namespace nibble {
namespace {

QString string(const std::string& text) { return QString::fromStdString(text); }

bool known(const std::optional<LinearFigures>& figures) { return figures && figures->problem.empty(); }

// "hqq 4", "uniform 8 token": what tells the rows apart; the whole text is the tooltip.
QString label(const std::optional<Choice>& choice, const QString& none) {
  if (!choice) return none;
  QString label = QString::fromUtf8(choice->scheme().info().id.data(), static_cast<qsizetype>(choice->scheme().info().id.size()));
  for (const char* key : {"bits", "element", "granularity"})
    if (choice->has(key)) label += " " + string(toText(choice->value(key)));
  return label;
}

// Why a row has no figures; empty: it has, or will have.
QString problemOf(const LinearRow& row) {
  if (row.plain && !row.plain->problem.empty()) return string(row.plain->problem);
  return {};
}

constexpr const char* keys[] = {"weights", "inputs", "sqnrDb", "smoothedSqnrDb", "gainDb", "mse", "smoothedMse", "maxError", "cosine", "arithmetic"};

}  // namespace

void LinearModel::setRows(std::vector<LinearRow> rows) {
  std::vector<double> errors;
  for (const LinearRow& row : rows)
    if (known(row.plain)) errors.push_back(row.plain->mse);
  const bool sameCount = rows.size() == m_rows.size();
  if (!sameCount) beginResetModel();
  m_rows = std::move(rows);
  m_power = errors.empty() ? 0 : commonPower(errors);
  if (!sameCount) return endResetModel();
  if (m_rows.empty()) return;
  emit dataChanged(index(0, 0), index(rowCount() - 1, ColumnCount - 1));
  emit headerDataChanged(Qt::Horizontal, 0, ColumnCount - 1);
}

int LinearModel::rowCount(const QModelIndex& parent) const { return parent.isValid() ? 0 : static_cast<int>(m_rows.size()); }
int LinearModel::columnCount(const QModelIndex& parent) const { return parent.isValid() ? 0 : ColumnCount; }

QVariant LinearModel::number(const LinearRow& row, int column) const {
  const auto of = [](const std::optional<LinearFigures>& figures, double LinearFigures::*member) { return known(figures) ? QVariant((*figures).*member) : QVariant(); };
  switch (column) {
    case Weights: return row.weights ? string(row.weights->text()) : tr("as stored");
    case Inputs: return row.activations ? string(row.activations->text()) : tr("not quantized");
    case Sqnr: return of(row.plain, &LinearFigures::sqnrDb);
    case SmoothedSqnr: return of(row.smoothed, &LinearFigures::sqnrDb);
    case Gain: return known(row.plain) && known(row.smoothed) ? QVariant(row.smoothed->sqnrDb - row.plain->sqnrDb) : QVariant();
    case Mse: return of(row.plain, &LinearFigures::mse);
    case SmoothedMse: return of(row.smoothed, &LinearFigures::mse);
    case MaxError: return of(row.plain, &LinearFigures::maxError);
    case Cosine: return of(row.plain, &LinearFigures::cosine);
    case Arithmetic: return !known(row.plain) ? QVariant() : row.plain->integer ? QVariant(tr("8-bit integers")) : QVariant(tr("simulated"));
    default: return {};
  }
}

QString LinearModel::text(const LinearRow& row, int column) const {
  if (column == Weights) return label(row.weights, tr("as stored"));
  if (column == Inputs) return label(row.activations, tr("not quantized"));
  if (column == Sqnr && !problemOf(row).isEmpty()) return problemOf(row);
  const QVariant raw = number(row, column);
  if (!raw.isValid()) return problemOf(row).isEmpty() ? unknownText() : QString();
  switch (column) {
    case Sqnr:
    case SmoothedSqnr: return formatSqnr(raw.toDouble());
    case Gain: return formatSigned(raw.toDouble(), 2);
    case Mse:
    case SmoothedMse: return formatScaled(raw.toDouble(), m_power);
    case MaxError: return formatMaxError(raw.toDouble());
    case Cosine: return formatCosine(raw.toDouble());
    default: return raw.toString();
  }
}

QVariant LinearModel::data(const QModelIndex& index, int role) const {
  if (!index.isValid()) return {};
  const LinearRow& row = m_rows[static_cast<std::size_t>(index.row())];
  const int column = index.column();
  const bool leading = column <= Inputs || column == Arithmetic;
  switch (role) {
    case Qt::DisplayRole: return text(row, column);
    case Qt::EditRole: return number(row, column);
    case Qt::TextAlignmentRole: return QVariant(Qt::AlignVCenter | (leading ? Qt::AlignLeft : Qt::AlignRight));
    case FamilyRole: return column == Weights && row.weights ? QVariant(static_cast<int>(row.weights->scheme().info().family)) : QVariant();
    case FixedRole: return column <= Inputs;
    case BoldRole: return column == Sqnr || column == SmoothedSqnr;
    case Qt::ToolTipRole:
      if (!problemOf(row).isEmpty()) return problemOf(row);
      if (column == Arithmetic && known(row.plain) && !row.plain->integer) return tr("Simulated: %1").arg(string(row.plain->reason));
      if (row.smoothed && !row.smoothed->problem.empty() && column >= SmoothedSqnr) return string(row.smoothed->problem);
      return column <= Inputs ? number(row, column) : QVariant();
    case ToneRole: {
      if (!problemOf(row).isEmpty() || column == Arithmetic) return static_cast<int>(Tone::Quiet);
      const QVariant gain = column == Gain ? number(row, Gain) : QVariant();
      return static_cast<int>(gain.isValid() && gain.toDouble() > 0 ? Tone::Good : Tone::Normal);
    }
    default: return {};
  }
}

QVariant LinearModel::headerData(int section, Qt::Orientation orientation, int role) const {
  if (orientation != Qt::Horizontal) return {};
  if (role == Qt::TextAlignmentRole)
    return QVariant(Qt::AlignVCenter | (section <= Inputs || section == Arithmetic ? Qt::AlignLeft : Qt::AlignRight));
  const QString scale = m_power == 0 ? QString() : " ·" + formatPower(m_power);
  if (role == Qt::ToolTipRole) {
    if (section == Gain) return tr("Decibels that smoothing brings: its SQNR less the plain one");
    if (section == Arithmetic) return tr("Whether 8-bit integers with 32-bit sums made the outputs, or numbers that stand for them");
    if (section >= Sqnr) return tr("Of the layer's outputs, against those of float weights and inputs");
    return {};
  }
  if (role != Qt::DisplayRole) return {};
  switch (section) {
    case Weights: return tr("Weights");
    case Inputs: return tr("Inputs");
    case Sqnr: return tr("SQNR dB");
    case SmoothedSqnr: return tr("smoothed");
    case Gain: return tr("gain");
    case Mse: return tr("MSE%1").arg(scale);
    case SmoothedMse: return tr("smoothed");
    case MaxError: return tr("Max |e|");
    case Cosine: return tr("Cosine");
    default: return tr("Arithmetic");
  }
}

QString LinearModel::toSeparated(QChar separator) const {
  QString out;
  QStringList cells;
  for (const char* key : keys) cells << key;
  out += cells.join(separator) + '\n';
  for (const LinearRow& row : m_rows) {
    cells.clear();
    for (int column = 0; column < ColumnCount; ++column) {
      const QVariant raw = number(row, column);
      const QString cell = raw.typeId() == QMetaType::Double ? string(text::number(raw.toDouble())) : raw.toString();
      cells << (cell.contains(separator) ? '"' + cell + '"' : cell);
    }
    out += cells.join(separator) + '\n';
  }
  return out;
}

QByteArray LinearModel::toJson() const {
  QJsonArray list;
  for (const LinearRow& row : m_rows) {
    QJsonObject object;
    for (int column = 0; column < ColumnCount; ++column) object[keys[column]] = QJsonValue::fromVariant(number(row, column));
    if (!problemOf(row).isEmpty()) object["problem"] = problemOf(row);
    list.append(object);
  }
  return QJsonDocument(list).toJson();
}

}  // namespace nibble
