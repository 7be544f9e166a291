// SPDX-License-Identifier: GPL-3.0-or-later
#include "ui/session/linter.h"

#include "ui/session/session.h"

namespace nibble {

Linter::Linter(Session& session) : m_session(session) { connect(&session, &Session::changed, this, &Linter::follow); }

void Linter::follow(const SessionState& before) {
  const auto& file = m_session.state().file;
  if (file == before.file) return;
  m_lane.cancel();
  m_findings.clear();
  emit changed();
  if (!file || file->sizeBytes > mostBytes) return;
  m_lane.start(tr("Look at the values"), m_session.backend(),
               [this, file](const JobContext& job) {
                 for (const auto& item : file->tree->items()) {
                   if (job.context.stopRequested()) return 0;
                   const auto tensor = file->weights->read(item.name);
                   if (!tensor || tensor->size() == 0) continue;
                   auto found = lintValues(*tensor, job.context);
                   if (!found || found->empty()) continue;
                   job.post([this, name = item.name, findings = std::move(*found)] {
                     m_findings[name] = findings;
                     emit changed();
                   });
                 }
                 return 0;
               },
               [](int) {});
}

}  // namespace nibble
