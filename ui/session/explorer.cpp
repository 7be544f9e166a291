// SPDX-License-Identifier: GPL-3.0-or-later
#include "ui/session/explorer.h"

#include "ui/session/session.h"

#include <algorithm>

namespace nibble {

namespace {
constexpr std::size_t recentMost = 16;
}

Explorer::Explorer(Session& session) : m_session(session) {
  connect(&session, &Session::changed, this, &Explorer::follow);
  connect(&m_lane, &JobLane::failed, &session, &Session::problem);
}

void Explorer::follow(const SessionState& before) {
  const auto& now = m_session.state();
  if (now.file == before.file && now.tensor == before.tensor && now.choice == before.choice && now.asStored == before.asStored &&
      now.reading() == before.reading() && now.backend == before.backend)
    return;
  if (now.file != before.file) m_recent.clear();
  start();
}

std::shared_ptr<const Exploration> Explorer::recent(const std::string& tensor, const std::string& reading,
                                                    const std::optional<Choice>& choice) const {
  for (const auto& known : m_recent)
    if (known->choice == choice && known->facts->tensor.name() == tensor && known->facts->reading == reading) return known;
  return nullptr;
}

void Explorer::remember(const std::shared_ptr<const Exploration>& exploration) {
  if (!exploration->ok() || !exploration->exact() || exploration->facts->tensor.size() > sampleAbove) return;
  std::erase_if(m_recent, [&](const auto& known) {
    return known->choice == exploration->choice && known->facts->tensor.name() == exploration->facts->tensor.name() &&
           known->facts->reading == exploration->facts->reading;
  });
  m_recent.push_back(exploration);
  if (m_recent.size() > recentMost) m_recent.erase(m_recent.begin());
}

void Explorer::start() {
  const auto& state = m_session.state();
  const bool stored = state.storedLayer() != nullptr;
  const auto wanted = stored ? std::nullopt : state.choice;
  const auto reading = state.reading();
  if (!state.file || state.tensor.empty() || (!wanted && !stored)) {
    m_lane.cancel();
    m_current.reset();
    m_facts.reset();
    emit changed();
    return;
  }
  if (const auto known = recent(state.tensor, reading, wanted)) {
    m_lane.cancel();
    m_current = known;
    m_facts = known->facts;
    m_factsFile = state.file;
    emit changed();
    return;
  }
  const bool sameTensor = m_facts && m_factsFile == state.file && m_facts->tensor.name() == state.tensor && m_facts->reading == reading;
  if (!sameTensor) m_facts.reset();
  m_factsFile = state.file;
  using Answer = Result<std::shared_ptr<const Exploration>>;
  m_lane.start((stored ? tr("Read %1") : tr("Quantize %1")).arg(QString::fromStdString(state.tensor)), m_session.backend(),
               [this, file = state.file, tensor = state.tensor, reading, choice = wanted, facts = m_facts](const JobContext& job) -> Answer {
                 auto known = facts;
                 if (!known) {
                   auto read = readFacts(*file, tensor, reading, job.context);
                   if (!read) return fail(read.error());
                   known = *read;
                   job.post([this, known] { m_facts = known; });
                 }
                 if (!choice) return exploreStored(known, *file, job.context);
                 if (known->tensor.size() > sampleAbove) {
                   auto sampled = explore(known, *choice, sampleEvery, job.context);
                   if (!sampled) return sampled;
                   job.post([this, tensor, sampled] { arrived(tensor, sampled); });
                 }
                 return explore(known, *choice, 1, job.context);
               },
               [this, tensor = state.tensor](Answer answer) { arrived(tensor, std::move(answer)); });
}

void Explorer::arrived(const std::string& tensor, Result<std::shared_ptr<const Exploration>> result) {
  if (result) {
    m_current = *result;
    remember(m_current);
  } else if (result.error().kind != ErrorKind::Cancelled) {
    auto failed = std::make_shared<Exploration>();
    if (m_session.state().storedLayer() == nullptr) failed->choice = m_session.state().choice;
    failed->facts = m_facts && m_facts->tensor.name() == tensor ? m_facts : nullptr;
    failed->problem = result.error().message;
    m_current = std::move(failed);
  }
  emit changed();
}

Cell Explorer::cell() const {
  const auto& state = m_session.state();
  const auto* facts = m_current ? m_current->facts.get() : nullptr;
  if (!facts || facts->tensor.size() == 0) return {};
  Cell cell = state.cell.value_or(facts->largest);
  cell.row = std::min(cell.row, facts->tensor.rows() - 1);
  cell.column = std::min(cell.column, facts->tensor.columns() - 1);
  return cell;
}

}  // namespace nibble
