// SPDX-License-Identifier: GPL-3.0-or-later
#include "ui/session/session_text.h"

#include "core/base/text.h"
#include "core/formats/format.h"
#include "ui/session/presets.h"

#include <QStringList>
#include <algorithm>

namespace nibble {
namespace {

constexpr std::pair<Page, const char*> pages[] = {{Page::Explore, "explore"}, {Page::Compare, "compare"}, {Page::Train, "train"}, {Page::Export, "export"}};

std::string pageName(Page page) {
  for (const auto& [known, name] : pages)
    if (known == page) return name;
  return pages[0].second;
}

Page pageFrom(const std::string& name) {
  for (const auto& [page, known] : pages)
    if (known == name) return page;
  return Page::Explore;
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

// Names hold no line ends.
std::string joined(const std::vector<std::string>& names) { return text::join(names, "\n"); }

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
  if (!state.asStored && state.file && !state.file->weights->packedLayers().empty()) file.view["packed"] = "quantized anew";
  if (state.selection.size() > 1) file.view["selection"] = joined(state.selection);
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
  state.asStored = state.view.erase("packed") == 0;
  state.selection = {state.tensor};
  if (const auto several = state.view.find("selection"); several != state.view.end()) {
    state.selection = text::split(several->second, '\n');
    state.view.erase(several);
  }
  state.exporting.selectionOnly = state.view.erase("export.scope") != 0;
  state.exporting.copyRest = state.view.erase("export.rest") == 0;
  return {};
}

QString diffCommand(const SessionState& state) {
  const std::string other = state.viewOption("diff.other", ""), reference = state.viewOption("diff.reference", "");
  if (!state.file || other.empty()) return {};
  QStringList parts = {"nibblescope-cli", "diff", word(state.file->path.string()), word(other)};
  if (!reference.empty()) parts << "--reference" << word(reference);
  return parts.join(' ');
}

QString linearCommand(const SessionState& state) {
  const std::string inputs = state.viewOption("act.inputs", "");
  if (!state.file || inputs.empty()) return {};
  QStringList parts = {"nibblescope-cli", "linear", word(state.file->path.string()), "--tensor", word(state.tensor), "--inputs", word(inputs)};
  if (state.storedLayer() == nullptr && state.choice) parts << "--weights" << word(state.choice->text());
  for (const Choice& activation : layerInputChoices()) {
    parts << "--activations" << word(activation.text());
    break;
  }
  parts << "--smooth" << word(state.viewOption("act.alpha", "0.5"));
  return parts.join(' ');
}

QString compareCommand(const SessionState& state) {
  if (!state.file) return {};
  if (state.comparesFiles()) return diffCommand(state);
  if (state.comparesActivations()) return linearCommand(state);
  QStringList parts = {"nibblescope-cli", "compare", word(state.file->path.string()), "--tensor", word(state.tensor)};
  for (const auto& candidate : state.candidates) parts << word(candidate.choice.text());
  if (state.candidates.empty() && state.choice) parts << word(state.choice->text());
  return parts.join(' ');
}

QString inspectCommand(const SessionState& state, const Cell& cell) {
  const bool stored = state.storedLayer() != nullptr;
  if (!state.file || (!state.choice && !stored)) return {};
  QStringList parts = {"nibblescope-cli", "inspect", word(state.file->path.string()), "--tensor", word(state.tensor)};
  parts << "--row" << QString::number(cell.row) << "--column" << QString::number(cell.column);
  if (!stored) parts << "--scheme" << word(state.choice->text());
  if (!state.reading().empty()) parts << "--reading" << word(state.reading());
  return parts.join(' ');
}

bool copiesRest(const ExportSettings& settings) {
  const Format* format = findFormat(settings.format);
  return settings.copyRest && (format == nullptr || format->info().extension != ".npz");
}

QString exportCommand(const SessionState& state) {
  const bool stored = state.storedLayer() != nullptr;
  if (!state.file || (!state.choice && !stored)) return {};
  QStringList parts = {"nibblescope-cli", "export", word(state.file->path.string())};
  if (!stored) parts << word(state.choice->text());  // without a scheme the codes of packed layers are kept
  parts << "--format" << word(state.exporting.format) << "--out" << word(state.exporting.out);
  if (!state.exporting.runtime.empty()) parts << "--target" << word(state.exporting.runtime);
  if (copiesRest(state.exporting)) parts << "--all";
  if (state.exporting.selectionOnly)
    for (const auto& tensor : state.selection) parts << "--tensor" << word(tensor);
  return parts.join(' ');
}

}  // namespace nibble
