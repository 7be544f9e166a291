// SPDX-License-Identifier: GPL-3.0-or-later
#include "ui/session/session.h"

#include "core/run/session_file.h"
#include "kernels/backend.h"
#include "ui/session/comparer.h"
#include "ui/session/activations.h"
#include "ui/session/differ.h"
#include "ui/session/error_study.h"
#include "ui/session/explorer.h"
#include "ui/session/exporter.h"
#include "ui/session/linter.h"
#include "ui/session/session_text.h"
#include "ui/session/presets.h"
#include "ui/session/state_command.h"
#include "ui/session/trainer.h"

#include <algorithm>

namespace nibble {

Session::Session(QObject* parent) : QObject(parent) {
  m_state.choice = firstChoice();
  m_explorer = std::make_unique<Explorer>(*this);
  m_errorStudy = std::make_unique<ErrorStudy>(*this);
  m_comparer = std::make_unique<Comparer>(*this);
  m_differ = std::make_unique<Differ>(*this);
  m_activations = std::make_unique<Activations>(*this);
  m_exporter = std::make_unique<Exporter>(*this);
  m_linter = std::make_unique<Linter>(*this);
  m_trainer = std::make_unique<Trainer>(*this);
  connect(&m_opening, &JobLane::failed, this, &Session::problem);
  connect(&m_watcher, &QFileSystemWatcher::fileChanged, this, [this] {
    // A file that is replaced leaves the watch; its name comes back into it.
    if (m_state.file && m_state.file->weights->checkpoint().changedOnDisk()) emit fileChangedOnDisk();
    watch();
  });
}

Session::~Session() = default;

void Session::edit(const QString& what, const QString& mergeKey, const std::function<void(SessionState&)>& change) {
  SessionState after = m_state;
  change(after);
  if (after == m_state) return;
  m_history.push(new StateCommand(*this, what, mergeKey, m_state, std::move(after)));
}

void Session::apply(const SessionState& state) {
  if (state == m_state) return;
  const SessionState before = std::exchange(m_state, state);
  if (before.file != m_state.file) watch();
  emit changed(before);
}

const kernels::Backend& Session::backend() const {
  const auto* found = kernels::findBackend(m_state.backend);
  return found != nullptr && found->unusableReason().empty() ? *found : kernels::defaultBackend();
}

void Session::open(const QString& path) { openWith(path, {}); }

void Session::openWith(const QString& path, const std::function<void(SessionState&)>& more) {
  const std::filesystem::path file = path.toStdString();
  m_opening.start(tr("Open %1").arg(QString::fromStdString(file.filename().string())), backend(),
                  [file](const JobContext& job) { return openFile(file, job.context); },
                  [this, path, more](Result<std::shared_ptr<const OpenedFile>> opened) {
                    fileOpened(std::move(opened), tr("Open %1").arg(path.section('/', -1)), more);
                  });
}

void Session::fileOpened(Result<std::shared_ptr<const OpenedFile>> file, const QString& what,
                         const std::function<void(SessionState&)>& more) {
  if (!file) {
    emit problem(QString::fromStdString(file.error().message));
    return;
  }
  edit(what, {}, [&](SessionState& state) {
    state.file = *file;
    state.tensor = (*file)->firstWorthwhile();
    state.selection = {state.tensor};
    if (state.tensor.empty()) state.selection.clear();
    state.cell.reset();
    state.whatIf.reset();
    state.asStored = true;
    if (more) more(state);
  });
  emit opened(QString::fromStdString((*file)->path.string()));
}

void Session::reload() {
  if (!m_state.file) return;
  const auto kept = m_state;
  openWith(QString::fromStdString(m_state.file->path.string()), [kept](SessionState& state) {
    if (state.file->find(kept.tensor) == nullptr) return;
    state.tensor = kept.tensor;
    state.selection = {kept.tensor};
    state.cell = kept.cell;
    state.asStored = kept.asStored;
  });
}

void Session::openSession(const QString& path) {
  auto file = SessionFile::read(path.toStdString());
  if (!file) {
    emit problem(QString::fromStdString(file.error().message));
    return;
  }
  SessionState wanted = m_state;
  wanted.file.reset();
  if (const Status read = readSession(*file, wanted); !read) {
    emit problem(path + ": " + QString::fromStdString(read.error().message));
    return;
  }
  const QString what = tr("Open session");
  if (file->checkpoint.empty()) {
    edit(what, {}, [&](SessionState& state) { state = wanted; });
    return;
  }
  openWith(QString::fromStdString(file->checkpoint.string()), [wanted](SessionState& state) {
    const auto opened = state.file;
    const auto first = state.tensor;
    state = wanted;
    state.file = opened;
    if (opened->find(state.tensor) == nullptr) state.tensor = first;
    std::erase_if(state.selection, [&](const auto& name) { return opened->find(name) == nullptr; });
    if (std::find(state.selection.begin(), state.selection.end(), state.tensor) == state.selection.end()) state.selection = {state.tensor};
  });
}

Status Session::saveSession(const QString& path) const { return writeSession(m_state).write(path.toStdString()); }

void Session::watch() {
  if (const auto old = m_watcher.files(); !old.isEmpty()) m_watcher.removePaths(old);
  if (!m_state.file) return;
  QStringList files;
  for (const auto& file : m_state.file->weights->checkpoint().files()) files << QString::fromStdString(file.string());
  if (!files.isEmpty()) m_watcher.addPaths(files);
}

}  // namespace nibble
