// SPDX-License-Identifier: GPL-3.0-or-later
#include "ui/models/preflight_model.h"

#include "ui/models/table_roles.h"

#include <algorithm>

namespace nibble {

PreflightModel::PreflightModel(QObject* parent) : QAbstractTableModel(parent) {}

void PreflightModel::setRules(QStringList runtimes, std::vector<RuleRow> rows, const QString& chosen) {
  beginResetModel();
  m_runtimes = std::move(runtimes);
  m_rows = std::move(rows);
  m_chosen = static_cast<int>(m_runtimes.indexOf(chosen));
  endResetModel();
}

int PreflightModel::asked(int runtime) const {
  return static_cast<int>(std::count_if(m_rows.begin(), m_rows.end(), [&](const auto& row) { return row.cells[static_cast<std::size_t>(runtime)].asked; }));
}

int PreflightModel::passed(int runtime) const {
  return static_cast<int>(std::count_if(m_rows.begin(), m_rows.end(), [&](const auto& row) {
    const auto& cell = row.cells[static_cast<std::size_t>(runtime)];
    return cell.asked && cell.ok;
  }));
}

bool PreflightModel::passes(int runtime) const { return passed(runtime) == asked(runtime); }

int PreflightModel::rowCount(const QModelIndex& parent) const {
  return parent.isValid() || m_rows.empty() ? 0 : static_cast<int>(m_rows.size()) + 1;
}

int PreflightModel::columnCount(const QModelIndex& parent) const {
  return parent.isValid() ? 0 : FirstRuntime + static_cast<int>(m_runtimes.size());
}

QVariant PreflightModel::ruleData(const RuleRow& row, int column, int role) const {
  if (column >= FirstRuntime) {
    const auto& cell = row.cells[static_cast<std::size_t>(column - FirstRuntime)];
    const Answer answer = !cell.asked ? Answer::NotAsked : cell.ok ? Answer::Pass : Answer::Fail;
    if (role == AnswerRole) return static_cast<int>(answer);
    if (role == Qt::ToolTipRole) return cell.asked ? cell.detail : tr("not asked for by %1").arg(m_runtimes[column - FirstRuntime]);
    if (role == Qt::AccessibleTextRole) return answer == Answer::NotAsked ? tr("not asked") : answer == Answer::Pass ? tr("pass") : tr("fail");
    return {};
  }
  const bool failed = std::any_of(row.cells.begin(), row.cells.end(), [](const auto& cell) { return cell.asked && !cell.ok; });
  if (role == Qt::DisplayRole || role == Qt::AccessibleTextRole) return column == Rule ? row.rule : row.detail;
  if (role == Qt::ToolTipRole) return row.source.isEmpty() ? row.rule : tr("%1\nSource: %2").arg(row.rule, row.source);
  if (role == ToneRole && column == Here) return static_cast<int>(failed ? Tone::Normal : Tone::Quiet);
  return {};
}

QVariant PreflightModel::resultData(int column, int role) const {
  if (role == BoldRole) return column != Here;
  if (column >= FirstRuntime) {
    const int runtime = column - FirstRuntime;
    if (role == Qt::DisplayRole || role == Qt::AccessibleTextRole) return tr("%1 of %2").arg(passed(runtime)).arg(asked(runtime));
    if (role == ToneRole) return static_cast<int>(passes(runtime) ? Tone::Good : Tone::Bad);
    return {};
  }
  if (role == Qt::DisplayRole) {
    if (column == Rule) return tr("Result");
    if (m_chosen < 0) return {};
    const auto& name = m_runtimes[m_chosen];
    if (name.isEmpty()) return passes(m_chosen) ? tr("every rule of the format holds") : tr("not every rule of the format holds");
    return passes(m_chosen) ? tr("%1 can load this").arg(name) : tr("%1 cannot load this").arg(name);
  }
  if (role == ToneRole && column == Here) return static_cast<int>(Tone::Quiet);
  return {};
}

QVariant PreflightModel::data(const QModelIndex& index, int role) const {
  if (!index.isValid()) return {};
  if (role == HighlightRole) return index.column() >= FirstRuntime && index.column() - FirstRuntime == m_chosen;
  if (role == Qt::TextAlignmentRole) return QVariant(index.column() >= FirstRuntime ? Qt::AlignCenter : Qt::AlignVCenter | Qt::AlignLeft);
  if (index.row() == static_cast<int>(m_rows.size())) return resultData(index.column(), role);
  return ruleData(m_rows[static_cast<std::size_t>(index.row())], index.column(), role);
}

QVariant PreflightModel::headerData(int section, Qt::Orientation orientation, int role) const {
  if (orientation != Qt::Horizontal) return {};
  if (role == Qt::TextAlignmentRole) return QVariant(section >= FirstRuntime ? Qt::AlignCenter : Qt::AlignVCenter | Qt::AlignLeft);
  if (role == HighlightRole) return section >= FirstRuntime && section - FirstRuntime == m_chosen;
  if (role != Qt::DisplayRole) return {};
  if (section == Rule) return tr("Rule");
  if (section == Here) return tr("Here");
  if (section - FirstRuntime >= m_runtimes.size()) return {};
  const auto& name = m_runtimes[section - FirstRuntime];
  return name.isEmpty() ? tr("format") : name;
}

}  // namespace nibble
