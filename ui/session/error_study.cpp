// SPDX-License-Identifier: GPL-3.0-or-later
#include "ui/session/error_study.h"

#include "ui/session/explorer.h"
#include "ui/session/session.h"

namespace nibble {
namespace {

constexpr int squares = 240;
constexpr std::size_t largestErrors = 100;

ErrorStudy::Wanted wantedOf(const SessionState& state) {
  if (state.page != Page::Explore) return ErrorStudy::Wanted::Nothing;
  const std::string view = state.viewOption("explore.beside", "rows");
  if (view == "spectrum" || view == "energy") return ErrorStudy::Wanted::Spectra;
  return view == "reconstruction" || view == "largest" ? ErrorStudy::Wanted::Pairs : ErrorStudy::Wanted::Nothing;
}

template <class T>
std::shared_ptr<const T> shared(T value) {
  return std::make_shared<const T>(std::move(value));
}

// Of a layer that is shown as stored nothing is known of the weights before; then there are no errors.
Result<Study> study(Study answer, ErrorStudy::Wanted wanted, const Context& context) {
  const Exploration& exploration = *answer.of;
  const Tensor& tensor = exploration.facts->tensor;
  const bool hasErrors = !exploration.isStored() && exploration.quantized;
  if (wanted == ErrorStudy::Wanted::Pairs && hasErrors && !answer.pairs) {
    auto pairs = reconstruction(tensor, *exploration.quantized, squares, largestErrors, context);
    if (!pairs) return fail(pairs.error());
    answer.pairs = shared(*std::move(pairs));
  }
  if (wanted != ErrorStudy::Wanted::Spectra) return answer;
  if (!answer.weights) {
    auto weights = weightSpectrum(tensor, context);
    if (!weights) return fail(weights.error());
    answer.weights = shared(*std::move(weights));
  }
  if (hasErrors && !answer.errors) {
    auto errors = errorSpectrum(tensor, *exploration.quantized, context);
    if (!errors) return fail(errors.error());
    answer.errors = shared(*std::move(errors));
  }
  return answer;
}

}  // namespace

ErrorStudy::ErrorStudy(Session& session) : m_session(session) {
  connect(&session, &Session::changed, this, &ErrorStudy::follow);
  connect(&session.explorer(), &Explorer::changed, this, &ErrorStudy::follow);
  connect(&m_lane, &JobLane::failed, this, [this](const QString& message) { arrived(fail(message.toStdString()), m_asked); });
  connect(&m_lane, &JobLane::cancelledByUser, this, [this] {
    if (m_asked) arrived(fail(tr("Cancelled.").toStdString()), m_asked);
  });
}

bool ErrorStudy::answers(Wanted wanted, const Exploration* exploration) const {
  if (!m_current || m_current->of.get() != exploration) return false;
  if (!m_current->problem.empty()) return m_askedFor == wanted;
  const bool errors = !exploration->isStored() && exploration->quantized;
  return wanted == Wanted::Pairs ? m_current->pairs || !errors : m_current->weights && (m_current->errors || !errors);
}

void ErrorStudy::follow() {
  const Wanted wanted = wantedOf(m_session.state());
  const auto& exploration = m_session.explorer().current();
  if (m_current && (!exploration || m_current->of->facts != exploration->facts)) {
    m_current.reset();
    emit changed();
  }
  const bool ready = exploration && exploration->ok() && exploration->exact();
  if (m_lane.busy() && (wanted == Wanted::Nothing || !exploration || m_asked != exploration)) {
    m_asked.reset();
    m_lane.cancel();
  }
  if (wanted == Wanted::Nothing || !ready || answers(wanted, exploration.get())) return;
  if (m_lane.busy() && m_asked == exploration && m_askedFor == wanted) return;
  start(exploration, wanted);
}

void ErrorStudy::start(const std::shared_ptr<const Exploration>& exploration, Wanted wanted) {
  m_asked = exploration;
  m_askedFor = wanted;
  Study known{exploration, {}, {}, {}, {}};
  if (m_current && m_current->of == exploration) known = *m_current;
  else if (m_current) known.weights = m_current->weights;  // of the same tensor, whatever is made of it
  known.problem.clear();
  const QString name = QString::fromStdString(exploration->facts->tensor.name());
  m_lane.start((wanted == Wanted::Spectra ? tr("Spectrum of %1") : tr("Errors of %1")).arg(name), m_session.backend(),
               [known, wanted](const JobContext& job) { return study(known, wanted, job.context); },
               [this, exploration](Result<Study> answer) { arrived(std::move(answer), exploration); });
  emit changed();
}

void ErrorStudy::arrived(Result<Study> answer, const std::shared_ptr<const Exploration>& exploration) {
  if (!answer) answer = Study{exploration, {}, {}, {}, answer.error().message};
  m_current = shared(*std::move(answer));
  emit changed();
}

}  // namespace nibble
