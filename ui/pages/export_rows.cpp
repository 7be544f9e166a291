// SPDX-License-Identifier: GPL-3.0-or-later
#include "ui/pages/export_rows.h"

#include "ui/session/exporter.h"
#include "ui/session/session.h"

#include <QObject>
#include <algorithm>

namespace nibble {

std::vector<RuleRow> ruleRows(const Preflight& table) {
  std::vector<RuleRow> rows;
  for (const auto& rule : table.rows) {
    RuleRow row{QString::fromStdString(rule.rule), QString::fromStdString(rule.detail), QString::fromStdString(rule.source), {}};
    for (const auto& answer : rule.answers) row.cells.push_back({answer.asked, answer.ok, QString::fromStdString(answer.detail)});
    rows.push_back(std::move(row));
  }
  return rows;
}

namespace {

// Up to and with the last dot all names share.
QString commonPrefix(const std::vector<ExportRow>& rows) {
  if (rows.size() < 2) return {};
  QString prefix = rows.front().name;
  for (const auto& row : rows) {
    qsizetype same = 0;
    while (same < std::min(prefix.size(), row.name.size()) && prefix[same] == row.name[same]) ++same;
    prefix.truncate(same);
  }
  return prefix.left(prefix.lastIndexOf('.') + 1);
}

QString waitingText(const Exporter& exporter, std::size_t index) {
  if (!exporter.busy()) return {};
  const auto& progress = exporter.progress();
  if (progress.stage == ExportStage::ReadBack) return index < progress.done ? QObject::tr("read") : index == progress.done ? QObject::tr("reading...") : QString();
  if (progress.stage == ExportStage::Quantize) return index < progress.done ? QObject::tr("quantized") : index == progress.done ? QObject::tr("quantizing...") : QString();
  return progress.stage == ExportStage::Write ? QObject::tr("written") : QString();
}

}  // namespace

std::vector<ExportRow> exportRows(Session& session, QString& prefix) {
  const auto& file = session.state().file;
  const auto& exporter = session.exporter();
  std::vector<ExportRow> rows;
  if (!file) return rows;
  const auto* result = exporter.result();
  const auto names = exporter.tensors();
  for (std::size_t i = 0; i < names.size(); ++i) {
    const auto* item = file->find(names[i]);
    ExportRow row;
    row.name = QString::fromStdString(names[i]);
    if (item != nullptr) {
      row.shape = item->shape;
      row.sourceBytes = item->sizeBytes;
    }
    row.status = waitingText(exporter, i);
    if (result != nullptr)
      for (const auto& tensor : result->tensors)
        if (tensor.name == names[i]) {
          row.done = true;
          row.sizeBytes = tensor.sizeBytes;
          row.sqnrDb = tensor.sqnrDb;
          row.maxDifference = tensor.maxDifference;
        }
    rows.push_back(std::move(row));
  }
  prefix = commonPrefix(rows);
  return rows;
}

}  // namespace nibble
