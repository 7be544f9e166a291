// SPDX-License-Identifier: GPL-3.0-or-later
#include "ui/session/differ.h"

#include "ui/session/session.h"

namespace nibble {
namespace {

Result<std::shared_ptr<const WeightList>> openList(const std::string& path, const Context& context) {
  auto checkpoint = Checkpoint::open(path, context);
  if (!checkpoint) return fail(checkpoint.error());
  return std::make_shared<const WeightList>(*checkpoint);
}

Result<DiffAnswer> compareFiles(const DiffFiles& files, const Context& context) {
  const auto b = openList(files.b, context);
  if (!b) return fail(b.error());
  std::shared_ptr<const WeightList> reference;
  if (!files.reference.empty()) {
    auto opened = openList(files.reference, context);
    if (!opened) return fail(opened.error().within("reference"));
    reference = *opened;
  }
  DiffAnswer answer;
  DiffJob job{files.a->weights.get(), b->get(), reference.get(), {}, [&](const std::string& line) { answer.warnings.push_back(line); }};
  auto rows = diff(job, context);
  if (!rows) return fail(rows.error());
  answer.rows = *std::move(rows);
  return answer;
}

}  // namespace

DiffFiles DiffFiles::of(const SessionState& state) {
  return {state.file, state.viewOption("diff.other", ""), state.viewOption("diff.reference", "")};
}

Differ::Differ(Session& session) : m_session(session) {
  connect(&session, &Session::changed, this, &Differ::follow);
  connect(&m_lane, &JobLane::failed, &session, &Session::problem);
  connect(&m_lane, &JobLane::cancelledByUser, this, [this] {
    m_answer = std::make_shared<const DiffAnswer>(DiffAnswer{{}, {}, tr("Cancelled.").toStdString()});
    emit changed();
  });
}

void Differ::again() {
  if (!m_answer || m_answer->problem.empty()) return;
  m_files.reset();
  m_answer.reset();
  follow();
}

void Differ::follow() {
  const auto& state = m_session.state();
  const DiffFiles wanted = DiffFiles::of(state);
  if (m_files && *m_files != wanted) {
    if (m_lane.busy()) m_lane.cancel();
    m_files.reset();
    m_answer.reset();
    emit changed();
  }
  if (!m_files && wanted.a && !wanted.b.empty() && state.page == Page::Compare && state.comparesFiles()) start(wanted);
}

void Differ::start(const DiffFiles& files) {
  m_files = files;
  m_lane.start(tr("Compare with %1").arg(QString::fromStdString(std::filesystem::path(files.b).filename().string())), m_session.backend(),
               [files](const JobContext& job) { return compareFiles(files, job.context); },
               [this](Result<DiffAnswer> answer) {
                 auto made = std::make_shared<DiffAnswer>();
                 if (answer) *made = std::move(*answer);
                 else made->problem = answer.error().message;
                 m_answer = std::move(made);
                 emit changed();
               });
  emit changed();
}

}  // namespace nibble
