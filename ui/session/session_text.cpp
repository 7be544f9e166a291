// SPDX-License-Identifier: GPL-3.0-or-later
#include "ui/session/session_text.h"

#include "core/formats/format.h"
#include <QStringList>
#include <algorithm>

namespace nibble {
namespace {

std::string pageName(Page page) {
  switch (page) {
    case Page::Compare: return "compare";
    case Page::Export: return "export";
    default: return "explore";
  }
}

Page pageFrom(const std::string& name) {
  if (name == "compare") return Page::Compare;
  return name == "export" ? Page::Export : Page::Explore;
}

// One word of a POSIX shell.
QString word(const QString& text) {
  static const QString plain = QStringLiteral("-_./:=,@%+");
  const bool safe = !text.isEmpty() && std::all_of(text.begin(), text.end(), [](QChar c) {
    return (c.unicode() < 128 && c.isLetterOrNumber()) || plain.contains(c);
  });
  if (safe) return text;
  QString quoted = text;
  return "'" + quoted.replace("'", "'\\''") + "'";
}

QString word(const std::string& text) { return word(QString::fromStdString(text)); }

}  // namespace

SessionFile writeSession(const SessionState& state) {
  SessionFile file;
  if (state.file) file.checkpoint = state.file->path;
  file.tensor = state.tensor;
  if (state.cell) file.cell = {state.cell->row, state.cell->column};
  if (state.choice) file.choice = state.choice->text();
  for (std::size_t i = 0; i < state.candidates.size(); ++i) {
    file.candidates.push_back(state.candidates[i].choice.text());
    if (state.candidates[i].ticked) file.ticked.push_back(i);
  }
  file.baseline = state.baseline;
  if (!state.tensor.empty()) file.tensors = {state.tensor};
  file.page = pageName(state.page);
  file.exporting = {state.exporting.format, state.exporting.runtime, state.exporting.out};
  file.backend = state.backend;
  file.view = state.view;
  if (!state.cell) file.view["cell"] = "largest";
  if (state.exporting.selectionOnly) file.view["export.scope"] = "selection";
  if (!state.exporting.copyRest) file.view["export.rest"] = "drop";
  return file;
}

Status readSession(const SessionFile& file, SessionState& state) {
  if (!file.choice.empty()) {
    const auto choice = Choice::parse(file.choice);
    if (!choice) return fail(choice.error());
    state.choice = *choice;
  }
  state.candidates.clear();
  for (std::size_t i = 0; i < file.candidates.size(); ++i) {
    const auto choice = Choice::parse(file.candidates[i]);
    if (!choice) return fail(choice.error());
    state.candidates.push_back({*choice, std::find(file.ticked.begin(), file.ticked.end(), i) != file.ticked.end()});
  }
  state.baseline = file.baseline;
  state.tensor = file.tensor;
  state.page = pageFrom(file.page);
  state.exporting.format = file.exporting.format;
  state.exporting.runtime = file.exporting.runtime;
  state.exporting.out = file.exporting.out;
  state.backend = file.backend;
  state.view = file.view;
  state.whatIf.reset();
  state.cell.reset();
  if (state.view.erase("cell") == 0) state.cell = Cell{file.cell.row, file.cell.column};
  state.exporting.selectionOnly = state.view.erase("export.scope") != 0;
  state.exporting.copyRest = state.view.erase("export.rest") == 0;
  return {};
}

QString compareCommand(const SessionState& state) {
  if (!state.file) return {};
  QStringList parts = {"nibblescope-cli", "compare", word(state.file->path.string()), "--tensor", word(state.tensor)};
  for (const auto& candidate : state.candidates) parts << word(candidate.choice.text());
  if (state.candidates.empty() && state.choice) parts << word(state.choice->text());
  return parts.join(' ');
}

QString inspectCommand(const SessionState& state, const Cell& cell) {
  if (!state.file || !state.choice) return {};
  QStringList parts = {"nibblescope-cli", "inspect", word(state.file->path.string()), "--tensor", word(state.tensor)};
  parts << "--row" << QString::number(cell.row) << "--column" << QString::number(cell.column);
  parts << "--scheme" << word(state.choice->text());
  return parts.join(' ');
}

bool copiesRest(const ExportSettings& settings) {
  const Format* format = findFormat(settings.format);
  return settings.copyRest && (format == nullptr || format->info().extension != ".npz");
}

QString exportCommand(const SessionState& state) {
  if (!state.file || !state.choice) return {};
  QStringList parts = {"nibblescope-cli", "export", word(state.file->path.string()), word(state.choice->text())};
  parts << "--format" << word(state.exporting.format) << "--out" << word(state.exporting.out);
  if (!state.exporting.runtime.empty()) parts << "--target" << word(state.exporting.runtime);
  if (copiesRest(state.exporting)) parts << "--all";
  if (state.exporting.selectionOnly)
    for (const auto& tensor : state.selection) parts << "--tensor" << word(tensor);
  return parts.join(' ');
}

}  // namespace nibble
