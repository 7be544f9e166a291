// SPDX-License-Identifier: GPL-3.0-or-later
#include "ui/models/candidate_model.h"

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

bool CandidateRow::operator==(const CandidateRow& o) const {
  return text == o.text && ticked == o.ticked && baseline == o.baseline && known == o.known && problem == o.problem &&
         bitsPerWeight == o.bitsPerWeight && mse == o.mse && seconds == o.seconds && weights == o.weights &&
         decibelsFromBound == o.decibelsFromBound;
}

CandidateModel::CandidateModel(QObject* parent) : QAbstractTableModel(parent) {}

void CandidateModel::setRows(std::vector<CandidateRow> rows) {
  if (rows == m_rows) return;
  std::vector<double> errors;
  for (const auto& row : rows)
    if (row.known) errors.push_back(row.mse);
  const bool sameList = std::equal(rows.begin(), rows.end(), m_rows.begin(), m_rows.end(),
                                   [](const auto& one, const auto& other) { return one.text == other.text; });
  if (!sameList) beginResetModel();
  m_rows = std::move(rows);
  m_msePower = errors.empty() ? 0 : commonPower(errors);
  if (!sameList) {
    m_order.resize(m_rows.size());
    std::iota(m_order.begin(), m_order.end(), 0);
    reorder();
    endResetModel();
    return;
  }
  sort(m_sortColumn, m_sortOrder);
  if (!m_rows.empty()) emit dataChanged(index(0, 0), index(rowCount() - 1, ColumnCount - 1));
  emit headerDataChanged(Qt::Horizontal, 0, ColumnCount - 1);
}

int CandidateModel::rowOf(int sourceIndex) const {
  const auto found = std::find(m_order.begin(), m_order.end(), sourceIndex);
  return found == m_order.end() ? -1 : static_cast<int>(found - m_order.begin());
}

void CandidateModel::sort(int column, Qt::SortOrder order) {
  emit layoutAboutToBeChanged();
  const auto before = persistentIndexList();
  std::vector<int> sources;
  for (const auto& old : before) sources.push_back(sourceIndex(old.row()));
  m_sortColumn = column;
  m_sortOrder = order;
  reorder();
  QModelIndexList after;
  for (int i = 0; i < before.size(); ++i) after << index(rowOf(sources[static_cast<std::size_t>(i)]), before[i].column());
  changePersistentIndexList(before, after);
  emit layoutChanged();
}

void CandidateModel::reorder() {
  std::iota(m_order.begin(), m_order.end(), 0);
  const auto rank = [this](int i) {
    const auto& row = m_rows[static_cast<std::size_t>(i)];
    return row.known ? 0 : row.problem.isEmpty() ? 1 : 2;
  };
  const auto less = [this](const CandidateRow& one, const CandidateRow& other) {
    if (m_sortColumn == SchemeText) return one.shortText < other.shortText;
    if (m_sortColumn == Tick) return one.ticked < other.ticked;
    return number(one, m_sortColumn).toDouble() < number(other, m_sortColumn).toDouble();
  };
  std::stable_sort(m_order.begin(), m_order.end(), [&](int a, int b) {
    if (rank(a) != rank(b)) return rank(a) < rank(b);
    if (m_sortColumn < 0) return false;
    const auto& one = m_rows[static_cast<std::size_t>(a)];
    const auto& other = m_rows[static_cast<std::size_t>(b)];
    if (m_sortColumn == FromBound && one.decibelsFromBound.has_value() != other.decibelsFromBound.has_value()) return one.decibelsFromBound.has_value();
    return m_sortOrder == Qt::AscendingOrder ? less(one, other) : less(other, one);
  });
}

const CandidateRow* CandidateModel::baseline() const {
  for (const auto& row : m_rows)
    if (row.baseline && row.known) return &row;
  return nullptr;
}

QVariant CandidateModel::number(const CandidateRow& row, int column) const {
  if (!row.known) return {};
  switch (column) {
    case Bpw: return row.bitsPerWeight;
    case Kib: return static_cast<qulonglong>(row.size.total());
    case Mse: return row.mse;
    case Ratio: {
      const auto* base = baseline();
      return base != nullptr && base->mse > 0 ? QVariant(row.mse / base->mse) : QVariant();
    }
    case Sqnr: return row.sqnrDb;
    case RelativeF: return row.relativeFrobenius;
    case MaxError: return row.maxError;
    case Cosine: return row.cosine;
    case Entropy: return row.codeEntropy;
    case FromBound: return row.decibelsFromBound ? QVariant(*row.decibelsFromBound) : QVariant();
    case Milliseconds: return row.seconds * 1000;
    default: return {};
  }
}

QString CandidateModel::text(const CandidateRow& row, int column) const {
  if (column == Tick) return {};
  if (column == SchemeText) return row.shortText;
  if (!row.problem.isEmpty()) return column == Bpw ? tr("Not possible here: %1").arg(row.problem) : QString();
  if (!row.known) return unknownText();
  const bool mebibytes = !m_rows.empty() && row.weights >= (std::uint64_t{1} << 24);
  switch (column) {
    case Bpw: return formatBpw(row.bitsPerWeight);
    case Kib: return formatSizeNumber(row.size.total(), mebibytes ? SizeUnit::MiB : SizeUnit::KiB);
    case Mse: return row.mse * std::pow(10.0, -m_msePower) < 5e-4 ? formatMse(row.mse) : formatScaled(row.mse, m_msePower);
    case Ratio: {
      const auto ratio = number(row, Ratio);
      return row.baseline ? tr("base") : ratio.isValid() ? formatRatio(ratio.toDouble()) : unknownText();
    }
    case Sqnr: return formatSqnr(row.sqnrDb);
    case RelativeF: return formatFixed(row.relativeFrobenius * 100, 2);
    case MaxError: return formatMaxError(row.maxError);
    case Cosine: return formatCosine(row.cosine);
    case Entropy: return formatFixed(row.codeEntropy, 2);
    case FromBound: return row.decibelsFromBound ? formatFixed(*row.decibelsFromBound, 2) : unknownText();
    case Milliseconds: return formatMilliseconds(row.seconds);
    default: return {};
  }
}

QString CandidateModel::toolTip(const CandidateRow& row, int column) const {
  if (!row.problem.isEmpty()) return row.problem;
  if (column == SchemeText || !row.known) return row.text;
  if (column == Bpw || column == Kib) {
    const auto part = [&](std::uint64_t bytes) { return formatBpw(static_cast<double>(bytes) * 8 / static_cast<double>(row.weights)); };
    return tr("codes %1 + scales %2 + zeros %3 + other %4 bits per weight\n%5 bytes")
        .arg(part(row.size.codes), part(row.size.scales), part(row.size.zeros), part(row.size.other), formatCount(row.size.total()));
  }
  if (column == Entropy)
    return tr("A perfect entropy coder would need %1 bits per weight for the codes; they take %2").arg(formatFixed(row.codeEntropy, 3), formatFixed(static_cast<double>(row.size.codes) * 8 / static_cast<double>(row.weights), 3));
  if (column == FromBound) return m_boundNote;
  return {};
}

QVariant CandidateModel::data(const QModelIndex& index, int role) const {
  if (!index.isValid()) return {};
  const int source = sourceIndex(index.row());
  const auto& row = m_rows[static_cast<std::size_t>(source)];
  const int column = index.column();
  switch (role) {
    case Qt::DisplayRole: return text(row, column);
    case Qt::EditRole: return column == SchemeText ? QVariant(row.text) : number(row, column);
    case Qt::CheckStateRole:
      return column == Tick && row.problem.isEmpty() ? QVariant(row.ticked ? Qt::Checked : Qt::Unchecked) : QVariant();
    case Qt::ToolTipRole: return toolTip(row, column);
    case Qt::TextAlignmentRole:
      if (!row.problem.isEmpty() && column == Bpw) return QVariant(Qt::AlignCenter);
      return QVariant(Qt::AlignVCenter | (column >= Bpw ? Qt::AlignRight : Qt::AlignLeft));
    case Qt::AccessibleTextRole: return column == Tick ? tr("show the errors of %1").arg(row.shortText) : text(row, column);
    case FamilyRole: return column == SchemeText ? QVariant(static_cast<int>(row.family)) : QVariant();
    case FixedRole: return column == SchemeText;
    case BoldRole: return row.problem.isEmpty() && (column == Bpw || column == Sqnr || (row.baseline && column == SchemeText));
    case HighlightRole: return row.baseline;
    case SourceIndexRole: return source;
    case ToneRole: {
      if (!row.problem.isEmpty() || column == Milliseconds || (column == Ratio && row.baseline)) return static_cast<int>(Tone::Quiet);
      const auto ratio = column == Ratio ? number(row, Ratio) : QVariant();
      return static_cast<int>(ratio.isValid() && ratio.toDouble() < 1 ? Tone::Good : Tone::Normal);
    }
    default: return {};
  }
}

QVariant CandidateModel::headerData(int section, Qt::Orientation orientation, int role) const {
  if (orientation != Qt::Horizontal) return {};
  if (role == Qt::TextAlignmentRole) return QVariant(Qt::AlignVCenter | (section >= Bpw ? Qt::AlignRight : Qt::AlignLeft));
  static constexpr const char* metricKeys[] = {nullptr, nullptr, nullptr, nullptr, "mse", nullptr, "sqnrDb",
                                               "relativeFrobenius", "maxError", "cosine", "codeEntropy", nullptr, nullptr};
  if (role == Qt::ToolTipRole) {
    if (section == Bpw) return tr("Bits per weight: all bytes of the packed tensor x 8 / its weights");
    if (section == Ratio) return tr("MSE divided by the baseline's");
    if (section == FromBound)
      return tr("MSE in decibels above the memoryless bound of these weights at the candidate's true size. Vector and trellis codes come near 0; "
                "a scheme that uses structure between weights may fall below it.") + (m_boundNote.isEmpty() ? QString() : "\n" + m_boundNote);
    if (section == Milliseconds) return tr("Time to quantize and measure, in milliseconds");
    const Metric* metric = metricKeys[section] != nullptr ? findMetric(metricKeys[section]) : nullptr;
    return metric != nullptr ? QString::fromUtf8(metric->definition.data(), static_cast<int>(metric->definition.size())) : QVariant();
  }
  if (role != Qt::DisplayRole) return {};
  const bool mebibytes = !m_rows.empty() && m_rows.front().weights >= (std::uint64_t{1} << 24);
  switch (section) {
    case SchemeText: return tr("Scheme");
    case Bpw: return tr("bpw");
    case Kib: return mebibytes ? tr("MiB") : tr("KiB");
    case Mse: return m_msePower == 0 ? tr("MSE") : tr("MSE ·%1").arg(formatPower(m_msePower));
    case Ratio: return tr("÷ base");
    case Sqnr: return tr("SQNR dB");
    case RelativeF: return tr("Rel. F %");
    case MaxError: return tr("Max |e|");
    case Cosine: return tr("Cosine");
    case Entropy: return tr("Entropy");
    case FromBound: return tr("dB to bound");
    case Milliseconds: return tr("ms");
    default: return QString();
  }
}

int CandidateModel::rowCount(const QModelIndex& parent) const { return parent.isValid() ? 0 : static_cast<int>(m_rows.size()); }
int CandidateModel::columnCount(const QModelIndex& parent) const { return parent.isValid() ? 0 : ColumnCount; }

Qt::ItemFlags CandidateModel::flags(const QModelIndex& index) const {
  Qt::ItemFlags flags = QAbstractTableModel::flags(index) | Qt::ItemNeverHasChildren;
  if (index.isValid() && index.column() == Tick && !impossible(index.row())) flags |= Qt::ItemIsUserCheckable;
  return flags;
}

bool CandidateModel::setData(const QModelIndex& index, const QVariant& value, int role) {
  if (role != Qt::CheckStateRole || index.column() != Tick) return false;
  emit tickRequested(sourceIndex(index.row()), value.toInt() == Qt::Checked);
  return true;
}

QString CandidateModel::toSeparated(QChar separator) const {
  QStringList lines = {QStringList{"scheme", "bitsPerWeight", "sizeBytes", "mse", "ratioToBaseline", "sqnrDb", "relativeFrobenius",
                                   "maxError", "cosine", "codeEntropy", "decibelsFromBound", "milliseconds"}.join(separator)};
  for (int row = 0; row < rowCount(); ++row) {
    const auto& candidate = m_rows[static_cast<std::size_t>(sourceIndex(row))];
    QString scheme = candidate.text;
    if (separator == ',') scheme = '"' + scheme.replace('"', "\"\"") + '"';
    QStringList cells = {scheme};
    for (int column = Bpw; column < ColumnCount; ++column) {
      const auto value = number(candidate, column);
      cells << (value.isValid() ? QString::fromStdString(text::digits(value.toDouble(), 17)) : QString());
    }
    lines << cells.join(separator);
  }
  return lines.join('\n') + '\n';
}

QByteArray CandidateModel::toJson() const {
  QJsonArray array;
  for (int row = 0; row < rowCount(); ++row) {
    const auto& candidate = m_rows[static_cast<std::size_t>(sourceIndex(row))];
    QJsonObject object{{"scheme", candidate.text}};
    if (!candidate.problem.isEmpty()) object["problem"] = candidate.problem;
    if (candidate.known) {
      object["bitsPerWeight"] = candidate.bitsPerWeight;
      object["sizeBytes"] = static_cast<qint64>(candidate.size.total());
      object["mse"] = candidate.mse;
      if (std::isfinite(candidate.sqnrDb)) object["sqnrDb"] = candidate.sqnrDb;
      object["relativeFrobenius"] = candidate.relativeFrobenius;
      object["maxError"] = candidate.maxError;
      object["cosine"] = candidate.cosine;
      object["codeEntropy"] = candidate.codeEntropy;
      if (candidate.decibelsFromBound) object["decibelsFromBound"] = *candidate.decibelsFromBound;
      object["seconds"] = candidate.seconds;
      object["baseline"] = candidate.baseline;
    }
    array.append(object);
  }
  return QJsonDocument(array).toJson();
}

}  // namespace nibble
