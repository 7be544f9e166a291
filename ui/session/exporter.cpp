// SPDX-License-Identifier: GPL-3.0-or-later
#include "ui/session/exporter.h"

#include "core/base/text.h"
#include "ui/session/explorer.h"
#include "ui/session/preflight.h"
#include "ui/session/session.h"
#include "ui/session/session_text.h"

#include <QDir>
#include <QFileInfo>
#include <algorithm>

namespace nibble {

Exporter::Exporter(Session& session) : m_session(session) {
  connect(&session, &Session::changed, this, &Exporter::follow);
  connect(&session.explorer(), &Explorer::changed, this, [this] {
    if (m_session.state().page == Page::Export && !m_preflight && !m_preflightLane.busy()) startPreflight();
    emit changed();
  });
  for (auto* lane : {&m_lane, &m_preflightLane}) connect(lane, &JobLane::failed, &session, &Session::problem);
  connect(&m_lane, &JobLane::cancelledByUser, this, [this] {
    clearResult();
    emit changed();
  });
}

std::vector<FormatOffer> Exporter::offers() const {
  const auto& exploration = m_session.explorer().current();
  if (exploration && !exploration->formats.empty()) return exploration->formats;
  std::vector<FormatOffer> offers;
  for (const Format* format : allFormats()) offers.push_back({format, {}, nullptr});
  return offers;
}

bool Exporter::explored() const {
  const auto& exploration = m_session.explorer().current();
  const auto& state = m_session.state();
  return exploration && exploration->exact() && exploration->facts &&
         exploration->choice == (keepsCodes() ? std::nullopt : state.choice) &&
         exploration->facts->tensor.name() == state.tensor;
}

const Format* Exporter::format() const {
  const auto& state = m_session.state();
  if (!state.exporting.format.empty()) return findFormat(state.exporting.format);
  const auto all = offers();
  const std::string id = !keepsCodes() && state.choice ? std::string(state.choice->scheme().info().id) : std::string();
  for (const auto& offer : all)
    if (offer.refusal.empty() && offer.format->info().id == id) return offer.format;
  for (const auto& offer : all)
    if (offer.refusal.empty() && !offer.format->info().runtimes.empty()) return offer.format;
  for (const auto& offer : all)
    if (offer.refusal.empty()) return offer.format;
  return nullptr;
}

std::string Exporter::runtime() const {
  const Format* chosen = format();
  if (chosen == nullptr || chosen->info().runtimes.empty()) return {};
  const auto& runtimes = chosen->info().runtimes;
  const auto& wanted = m_session.state().exporting.runtime;
  if (std::find(runtimes.begin(), runtimes.end(), wanted) != runtimes.end()) return wanted;
  return std::string(runtimes.front());
}

std::filesystem::path Exporter::out() const {
  const auto& state = m_session.state();
  if (!state.exporting.out.empty()) return state.exporting.out;
  const Format* chosen = format();
  if (!state.file || chosen == nullptr || (!state.choice && !keepsCodes())) return {};
  std::string name = state.file->path.stem().string() + "-" + std::string(chosen->info().id);
  if (!keepsCodes() && state.choice->has("bits")) name.append("-").append(toText(state.choice->value("bits"))).append("bit");
  if (chosen->info().id == "npz") name += ".npz";
  const auto beside = state.file->path.parent_path();
  const bool writable = QFileInfo(QString::fromStdString(beside.string())).isWritable();
  return (writable ? beside : std::filesystem::path(QDir::homePath().toStdString())) / name;
}

std::vector<std::string> Exporter::tensors() const {
  const auto& state = m_session.state();
  if (!state.file) return {};
  auto names = state.exporting.selectionOnly ? state.selection : state.file->worthwhile();
  if (keepsCodes()) std::erase_if(names, [&](const auto& name) { return state.file->weights->packedLayer(name) == nullptr; });
  return names;
}

bool Exporter::keepsCodes() const { return m_session.state().storedLayer() != nullptr; }

void Exporter::clearResult() {
  m_result.reset();
  m_failure.clear();
  m_progress = {};
}

void Exporter::follow(const SessionState& before) {
  const auto& now = m_session.state();
  const bool other = now.file != before.file || now.choice != before.choice || now.storedLayer() != before.storedLayer() || now.exporting != before.exporting ||
                     (now.exporting.selectionOnly && now.selection != before.selection);
  if (other) {
    m_preflightLane.cancel();
    m_preflight.reset();
    if (!busy()) clearResult();
  }
  if (now.page == Page::Export && (other || before.page != Page::Export) && !m_preflight) startPreflight();
  emit changed();
}

void Exporter::startPreflight() {
  const auto& state = m_session.state();
  const Format* chosen = format();
  if (!state.file || (!state.choice && !keepsCodes()) || chosen == nullptr || !explored()) return;
  m_preflightLane.start(tr("Pre-flight"), m_session.backend(),
                        [file = state.file, names = tensors(), choice = keepsCodes() ? std::nullopt : state.choice, chosen](const JobContext& job) {
                          return preflightTable(*file, names, choice, *chosen, job.context);
                        },
                        [this](Result<Preflight> table) {
                          if (!table && table.error().kind == ErrorKind::Cancelled) return;
                          auto made = std::make_shared<Preflight>();
                          if (table) *made = std::move(*table);
                          else made->problem = table.error().message;
                          m_preflight = std::move(made);
                          emit changed();
                        });
}

void Exporter::start() {
  const auto& state = m_session.state();
  const Format* chosen = format();
  if (!state.file || (!state.choice && !keepsCodes()) || chosen == nullptr) return;
  ExportJob job;
  job.checkpoint = state.file->weights->shared();
  for (const auto& name : tensors()) {
    if (!keepsCodes()) job.tensors.emplace_back(name, *state.choice);
    else job.packed.push_back(state.file->weights->packedLayers()[*state.file->weights->find(name)->packed]);
  }
  job.format = chosen;
  job.runtime = runtime();
  job.out = out();
  job.all = copiesRest(state.exporting);
  clearResult();
  m_lane.start(tr("Export to %1").arg(QString::fromStdString(job.out.filename().string())), m_session.backend(),
               [this, job](const JobContext& context) {
                 return exportTensors(job, context.context, [&](ExportStage stage, std::size_t done, std::size_t total) {
                   context.post([this, stage, done, total] {
                     m_progress = {stage, done, total};
                     emit changed();
                   });
                 });
               },
               [this](Result<ExportResult> result) {
                 if (result) m_result = std::make_shared<const ExportResult>(std::move(*result));
                 else m_failure = result.error().message;
                 m_progress = {};
                 emit changed();
               });
  emit changed();
}

}  // namespace nibble
