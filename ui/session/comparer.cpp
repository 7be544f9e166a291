// SPDX-License-Identifier: GPL-3.0-or-later
#include "ui/session/comparer.h"

#include "core/run/compare.h"
#include "core/run/near_size.h"
#include "core/run/run.h"
#include "ui/session/session.h"

#include <QElapsedTimer>

namespace nibble {

namespace {

constexpr int histogramBins = 120;
constexpr int tickedAtFirst = 5;  // more would hide each other

// A result, or why there is none; nothing when it was cancelled.
std::shared_ptr<const CandidateResult> measure(const Tensor& tensor, const Choice& choice, const Context& context) {
  ReportOptions options;
  options.histogramBins = histogramBins;
  auto outcome = run(tensor, choice, context, options);
  if (!outcome && outcome.error().kind == ErrorKind::Cancelled) return nullptr;
  auto result = std::make_shared<CandidateResult>();
  result->weights = tensor.size();
  if (const auto refusal = choice.refusal({tensor.rows(), tensor.columns()})) {
    result->problem = *refusal;
  } else if (!outcome) {
    result->problem = outcome.error().message;
  } else {
    result->report = std::move(outcome->report);
    result->size = storageSize(*outcome->quantized);
    result->bitsPerWeight = bitsPerWeight(*outcome->quantized);
    result->seconds = outcome->seconds;
  }
  return result;
}

}  // namespace

Comparer::Comparer(Session& session) : m_session(session) {
  connect(&session, &Session::changed, this, &Comparer::follow);
  connect(&m_lane, &JobLane::failed, &session, &Session::problem);
  connect(&m_lane, &JobLane::cancelledByUser, this, [this] {
    m_running.clear();
    emit changed();
  });
}

const CandidateResult* Comparer::result(const Choice& choice) const {
  const auto found = m_results.find(choice.text());
  return found == m_results.end() ? nullptr : found->second.get();
}

std::vector<std::string> Comparer::mixes(const Choice& choice) const {
  const auto found = m_mixes.find(choice.text());
  return found == m_mixes.end() ? std::vector<std::string>() : found->second;
}

void Comparer::follow(const SessionState& before) {
  const auto& now = m_session.state();
  if (now.file != m_file || now.tensor != m_tensor || now.reading() != m_reading) {
    m_file = now.file;
    m_tensor = now.tensor;
    m_reading = now.reading();
    m_results.clear();
    m_bound.reset();
    m_mixes.clear();
    if (m_lane.busy()) m_lane.cancel();
    m_running.clear();
    emit changed();
  }
  if (now.page == Page::Compare || now.candidates != before.candidates) startMissing();
}

void Comparer::startMissing() {
  const auto& state = m_session.state();
  if (!state.file || state.tensor.empty()) return;
  std::vector<Choice> missing;
  for (const auto& candidate : state.candidates) {
    const auto text = candidate.choice.text();
    if (m_results.contains(text) || m_running.contains(text)) continue;
    m_running.insert(text);
    missing.push_back(candidate.choice);
  }
  if (missing.empty()) return;
  const auto title = missing.size() == 1 ? tr("Compare 1 scheme") : tr("Compare %1 schemes").arg(missing.size());
  m_lane.start(title, m_session.backend(),
               [this, missing, file = state.file, name = state.tensor, reading = m_reading, boundKnown = m_bound != nullptr](const JobContext& job) -> Result<double> {
                 QElapsedTimer clock;
                 clock.start();
                 const auto tensor = file->weights->read(name, reading);
                 if (!tensor) return fail(tensor.error());
                 job.context.addTotal(missing.size());
                 Context quiet = job.context;
                 quiet.progress = nullptr;
                 if (!boundKnown && checkWeights(*tensor, quiet)) {
                   auto bound = boundOf(*file->weights, name, *tensor, quiet);
                   if (!bound) return fail(bound.error());
                   job.post([this, known = std::make_shared<const MemorylessBound>(*std::move(bound)), mixes = mixesByChoice(*file->weights, name)] {
                     m_bound = known;
                     m_mixes = mixes;
                     emit changed();
                   });
                 }
                 for (const auto& choice : missing) {
                   auto result = measure(*tensor, choice, quiet);
                   if (!result) return cancelled();
                   job.context.addDone(1);
                   job.post([this, text = choice.text(), result] {
                     m_results[text] = result;
                     m_running.erase(text);
                     emit changed();
                   });
                 }
                 return static_cast<double>(clock.elapsed()) / 1000.0;
               },
               [this, count = static_cast<int>(missing.size())](Result<double> seconds) {
                 if (seconds) emit finished(count, *seconds);
                 else if (seconds.error().kind != ErrorKind::Cancelled)
                   emit m_session.problem(QString::fromStdString(seconds.error().message));
               });
}

void Comparer::add(const std::vector<Choice>& choices, const QString& what) {
  m_session.edit(what, {}, [&](SessionState& state) {
    const bool first = state.candidates.empty();
    for (const auto& choice : choices) {
      if (state.isCandidate(choice)) continue;
      const auto ticked = std::count_if(state.candidates.begin(), state.candidates.end(), [](const auto& c) { return c.ticked; });
      state.candidates.push_back({choice, ticked < tickedAtFirst});
      if (first && choice == state.choice) state.baseline = state.candidates.size() - 1;
    }
  });
}

void Comparer::remove(std::size_t index) {
  m_session.edit(tr("Remove candidate"), {}, [&](SessionState& state) {
    if (index >= state.candidates.size()) return;
    state.candidates.erase(state.candidates.begin() + static_cast<std::ptrdiff_t>(index));
    if (state.baseline > index) --state.baseline;
    if (state.baseline >= state.candidates.size()) state.baseline = 0;
  });
}

void Comparer::addNear(double bitsPerWeight) {
  const auto& state = m_session.state();
  if (!state.file || state.tensor.empty()) return;
  m_lane.start(tr("Find schemes near %1 bits per weight").arg(bitsPerWeight, 0, 'f', 2), m_session.backend(),
               [file = state.file, name = state.tensor, reading = state.reading(), bitsPerWeight](const JobContext& job) -> Result<std::vector<Choice>> {
                 const auto tensor = file->weights->read(name, reading);
                 if (!tensor) return fail(tensor.error());
                 return nearSize(*tensor, bitsPerWeight, job.context);
               },
               [this, bitsPerWeight](Result<std::vector<Choice>> choices) {
                 if (choices) {
                   const auto& current = m_session.state().choice;
                   if (current && m_session.state().candidates.empty()) choices->insert(choices->begin(), *current);
                   add(*choices, tr("Add every scheme near %1 bpw").arg(bitsPerWeight, 0, 'f', 2));
                 }
                 else if (choices.error().kind != ErrorKind::Cancelled)
                   emit m_session.problem(QString::fromStdString(choices.error().message));
               });
}

}  // namespace nibble
