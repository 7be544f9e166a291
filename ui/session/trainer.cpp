// SPDX-License-Identifier: GPL-3.0-or-later
#include "ui/session/trainer.h"

#include "core/train/adapter.h"
#include "core/train/methods.h"
#include "ui/session/session.h"

#include <atomic>
#include <chrono>
#include <cmath>
#include <limits>
#include <mutex>

namespace nibble {

using Clock = std::chrono::steady_clock;
using Arrays = std::map<std::string, std::shared_ptr<const train::NamedArray>>;

namespace {

// s (dB A + B dA), [out, in].
train::NamedArray changeOfProduct(const std::string& name, const train::NamedArray& a, const train::NamedArray& b, const train::NamedArray& da,
                                  const train::NamedArray& db, double scale) {
  const std::size_t rows = b.shape[0], rank = a.shape[0], columns = a.shape[1];
  train::NamedArray change{name, {rows, columns}, std::vector<double>(rows * columns, 0.0)};
  for (std::size_t i = 0; i < rows; ++i)
    for (std::size_t k = 0; k < rank; ++k) {
      const double left = scale * db.values[i * rank + k], right = scale * b.values[i * rank + k];
      double* out = change.values.data() + i * columns;
      for (std::size_t j = 0; j < columns; ++j) out[j] += left * a.values[k * columns + j] + right * da.values[k * columns + j];
    }
  return change;
}

void addChangeOfProduct(Arrays& arrays, const Arrays& now, const std::string& kind, double scale) {
  const auto has = [](const Arrays& all, const std::string& name) { return all.find(name) != all.end(); };
  if (!has(now, "A") || !has(now, "B") || !has(arrays, kind + "/A") || !has(arrays, kind + "/B")) return;
  arrays[kind + "/BA"] = std::make_shared<train::NamedArray>(
      changeOfProduct(kind + "/BA", *now.at("A"), *now.at("B"), *arrays.at(kind + "/A"), *arrays.at(kind + "/B"), scale));
}

// What the page draws. Others are as large as the layer, or one for each of several tensors.
bool isShown(const std::string& name, bool learnsBits) {
  const std::string last = name.substr(name.rfind('/') + 1);
  if (learnsBits) return last == "bits" || last == "x";
  return name != "V" && name != "W0" && name != "grad/x" && name != "output";
}

}  // namespace

// What the worker holds between jobs. Only the lane's worker touches the steppers; `pause` and `latest` are for both sides.
struct Trainer::Bench {
  std::shared_ptr<const OpenedFile> file;
  std::vector<std::string> tensors;
  std::vector<PlannedRun> plans;
  train::Breakpoints breakpoints;

  struct Run {
    std::unique_ptr<train::Stepper> stepper;  // null: could not be made
    std::string problem;
  };
  std::vector<Run> runs;
  std::mutex mutex;
  std::stop_source pause;
  std::atomic<double> lambda{0};  // asked for; each step begins with it
  std::shared_ptr<const TrainSnapshot> latest;
  Clock::time_point nextSnapshot, nextArrays;
  Arrays updates;  // of the step updatesStep; the worker's
  std::uint64_t updatesStep = 0;

  Status make(const Context& context);
  Result<std::string> goTo(std::uint64_t goal, const Context& context);
  Result<std::string> forward(std::uint64_t goal, const Context& context);
  void publish(bool resting, const Context& context);
  void addArrays(TrainSnapshot& snapshot) const;
  void findUpdates();
};

Status Trainer::Bench::make(const Context& context) {
  if (!runs.empty()) return {};
  std::vector<Run> made;
  for (const PlannedRun& plan : plans) {
    Run run;
    auto trainable = train::makeTrainable({file->weights.get(), tensors, plan.settings, {}}, context);
    if (trainable)
      run.stepper = std::make_unique<train::Stepper>(*std::move(trainable), plan.settings, tensors);
    else if (trainable.error().kind == ErrorKind::Cancelled || made.empty())
      return fail(trainable.error());
    else
      run.problem = trainable.error().message;
    made.push_back(std::move(run));
  }
  runs = std::move(made);
  return {};
}

// Forward in step, so that side by side means at the same step; gives why it stopped early.
Result<std::string> Trainer::Bench::forward(std::uint64_t goal, const Context& context) {
  for (std::uint64_t next = runs.front().stepper->position() + 1; next <= goal; ++next) {
    for (std::size_t i = 0; i < runs.size(); ++i) {
      Run& run = runs[i];
      if (!run.stepper || !run.problem.empty()) continue;
      if (const double wanted = lambda.load(); wanted != run.stepper->settings().diffq.lambda) NIBBLE_TRY(run.stepper->setLambda(wanted));
      const auto stop = run.stepper->runTo(next, i == 0 ? breakpoints : train::Breakpoints{}, context);
      if (!stop) return fail(stop.error());
      if (*stop == train::StopReason::Reached) continue;
      const std::string why = std::string(text(*stop)) + (run.stepper->notFinite().empty() ? "" : ": " + run.stepper->notFinite());
      if (i == 0) return why;
      run.problem = why;
    }
    context.addDone(1);
    if (next < goal) publish(false, context);
    if (context.stopRequested()) return cancelled();
  }
  return std::string();
}

Result<std::string> Trainer::Bench::goTo(std::uint64_t goal, const Context& context) {
  NIBBLE_TRY(make(context));
  const std::uint64_t from = runs.front().stepper->position();
  if (goal > from) {
    context.addTotal(goal - from);
    return forward(goal, context);
  }
  for (Run& run : runs)
    if (run.stepper && run.stepper->position() > goal) {
      NIBBLE_TRY(run.stepper->goTo(goal, context));
      run.problem.clear();
    }
  return std::string();
}

void Trainer::Bench::addArrays(TrainSnapshot& snapshot) const {
  train::Stepper& chosen = *runs.front().stepper;
  for (const std::string& name : chosen.trainable().arrayNames()) {
    if (!isShown(name, trainsSeveral(train::kindOf(chosen.settings().method)))) continue;
    if (auto array = chosen.trainable().array(name)) snapshot.arrays[name] = std::make_shared<train::NamedArray>(*std::move(array));
  }
  const train::TrainSettings& settings = chosen.settings();
  addChangeOfProduct(snapshot.arrays, snapshot.arrays, "grad", train::adapterScale(settings.adapter, settings.method));
  if (updatesStep == chosen.position())
    for (const auto& [name, array] : updates) snapshot.arrays[name] = array;
  snapshot.arraysStep = chosen.position();
}

// What the last step did: the parameters now, less those of its pass. Only before anybody looks at the current ones.
void Trainer::Bench::findUpdates() {
  train::Stepper* chosen = runs.front().stepper.get();
  if (chosen == nullptr || chosen->position() == updatesStep || !chosen->notFinite().empty()) return;
  updates.clear();
  updatesStep = chosen->position();
  if (updatesStep == 0) return;
  Arrays before;
  for (const auto& parameter : chosen->trainable().parameters()) {
    const auto array = chosen->trainable().array(parameter.name);
    if (!array || array->values.size() != parameter.value.size()) continue;
    train::NamedArray update{"update/" + parameter.name, parameter.shape, parameter.value};
    for (std::size_t i = 0; i < update.values.size(); ++i) update.values[i] -= array->values[i];
    // B(t) and A(t+1) give the exact difference of the products.
    before[parameter.name] = parameter.name == "A" ? std::make_shared<train::NamedArray>(train::NamedArray{"A", parameter.shape, parameter.value})
                                                   : std::make_shared<train::NamedArray>(*array);
    const std::string name = update.name;  // an assignment moves the right side first
    updates[name] = std::make_shared<train::NamedArray>(std::move(update));
  }
  const train::TrainSettings& settings = chosen->settings();
  addChangeOfProduct(updates, before, "update", train::adapterScale(settings.adapter, settings.method));
}

void Trainer::Bench::publish(bool resting, const Context& context) {
  const auto begin = Clock::now();
  if (!resting && begin < nextSnapshot) return;
  const auto next = [](Clock::time_point from, Clock::duration least) {
    const auto now = Clock::now();
    return now + std::max(least, 9 * (now - from));
  };
  if (resting || begin >= nextArrays) findUpdates();
  auto snapshot = std::make_shared<TrainSnapshot>();
  for (std::size_t i = 0; i < runs.size(); ++i) {
    auto view = std::make_shared<RunView>();
    view->plan = plans[i];
    view->problem = runs[i].problem;
    view->lossNow = std::numeric_limits<double>::quiet_NaN();
    if (train::Stepper* stepper = runs[i].stepper.get()) {
      if (resting)
        if (const auto loss = stepper->look(context)) view->lossNow = *loss;
      view->records = stepper->records();
      for (const auto& parameter : stepper->trainable().parameters()) view->entries += parameter.value.size();
    }
    snapshot->runs.push_back(std::move(view));
  }
  nextSnapshot = next(begin, std::chrono::milliseconds(100));
  std::shared_ptr<const TrainSnapshot> before;
  {
    const std::lock_guard lock(mutex);
    before = latest;
  }
  const auto arraysBegin = Clock::now();
  if (resting || arraysBegin >= nextArrays) {
    addArrays(*snapshot);
    nextArrays = next(arraysBegin, std::chrono::milliseconds(100));
  } else if (before) {
    snapshot->arrays = before->arrays;
    snapshot->arraysStep = before->arraysStep;
  }
  const std::lock_guard lock(mutex);
  latest = std::move(snapshot);
}

Trainer::Trainer(Session& session) : m_session(session) {
  connect(&session, &Session::changed, this, &Trainer::follow);
  connect(&m_lane, &JobLane::changed, this, &Trainer::take);
  connect(&m_lane, &JobLane::failed, &session, &Session::problem);
  connect(&m_lane, &JobLane::cancelledByUser, this, [this] {
    // What was done until then is shown: wait behind the cancelled job and look.
    if (m_bench && m_snapshot) goTo(std::numeric_limits<std::uint64_t>::max());
  });
}

Trainer::~Trainer() { blockSignals(true); }

std::string Trainer::refusal() const {
  const auto& state = m_session.state();
  if (!state.file || state.tensor.empty()) return "no tensor is chosen";
  const TensorItem* item = state.file->find(state.tensor);
  if (item != nullptr && item->shape.size() < 2) return "only matrices can be trained: choose one on the left";
  return {};
}

std::uint64_t Trainer::plannedSteps() const { return trainSettings(m_session.state()).steps; }

void Trainer::drop() {
  if (m_lane.busy()) {
    m_bench.reset();
    m_lane.cancel();
  }
  m_bench.reset();
  m_snapshot.reset();
  m_message.clear();
  emit changed();
}

void Trainer::follow() {
  if (!m_bench) return;
  const auto& state = m_session.state();
  auto plans = plannedRuns(state);
  const bool schedule = plans.front().settings.schedule.kind != train::Schedule::Kind::Constant;
  if (plans.size() == m_bench->plans.size() && !schedule)  // only where Play ends: the run goes on
    for (std::size_t i = 0; i < plans.size(); ++i) plans[i].settings.steps = m_bench->plans[i].settings.steps;
  // The price of size may change while bits learn; what was done before stays.
  for (std::size_t i = 0; i < plans.size() && plans.size() == m_bench->plans.size(); ++i) {
    if (trainsSeveral(train::kindOf(plans[i].settings.method))) m_bench->lambda = plans[i].settings.diffq.lambda, plans[i].settings.diffq.lambda = m_bench->plans[i].settings.diffq.lambda;
  }
  if (state.file != m_bench->file || trainTensors(state) != m_bench->tensors || plans != m_bench->plans ||
      trainBreakpoints(state).lossAbove != m_bench->breakpoints.lossAbove ||
      trainBreakpoints(state).nothingMoved != m_bench->breakpoints.nothingMoved)
    drop();
}

void Trainer::take() {
  if (!m_bench) return;
  {
    const std::lock_guard lock(m_bench->mutex);
    m_snapshot = m_bench->latest;
  }
  emit changed();
}

void Trainer::pause() {
  if (!m_bench) return;
  const std::lock_guard lock(m_bench->mutex);
  m_bench->pause.request_stop();
}

void Trainer::goTo(std::uint64_t goal) {
  const auto& state = m_session.state();
  if (!refusal().empty()) return;
  if (!m_bench) {
    m_bench = std::make_shared<Bench>();
    m_bench->file = state.file;
    m_bench->tensors = trainTensors(state);
    m_bench->plans = plannedRuns(state);
    m_bench->lambda = m_bench->plans.front().settings.diffq.lambda;
    m_bench->breakpoints = trainBreakpoints(state);
  }
  m_message.clear();
  const bool onlyLook = goal == std::numeric_limits<std::uint64_t>::max();
  m_lane.start(
      onlyLook ? tr("Look at the run") : tr("Train to step %1").arg(goal), m_session.backend(),
      [bench = m_bench, goal, onlyLook](const JobContext& job) -> Result<std::string> {
        Context context = job.context;
        {
          const std::lock_guard lock(bench->mutex);
          bench->pause = std::stop_source();
          context.stop = bench->pause.get_token();
        }
        const std::stop_callback cancel(job.context.stop, [source = bench->pause]() mutable { source.request_stop(); });
        auto why = onlyLook ? Result<std::string>(std::string()) : bench->goTo(goal, context);
        Context unhurried = context;
        unhurried.stop = {};
        if (!bench->runs.empty() && bench->runs.front().stepper && !job.context.stopRequested()) bench->publish(true, unhurried);
        if (!why && why.error().kind == ErrorKind::Cancelled) return std::string();
        return why;
      },
      [this, bench = m_bench](Result<std::string> why) {
        if (bench != m_bench) return;
        m_message = why ? *why : why.error().message;
        take();
      });
}

void Trainer::writeResults(const QString& folder) {
  if (!m_bench || busy()) return;
  m_lane.start(
      tr("Write what was trained"), m_session.backend(),
      [bench = m_bench, path = std::filesystem::path(folder.toStdString())](const JobContext& job) -> Result<int> {
        if (bench->runs.empty() || !bench->runs.front().stepper) return fail("nothing was trained yet");
        const auto files = bench->runs.front().stepper->trainable().write(path, job.context);
        if (!files) return fail(files.error());
        return static_cast<int>(files->size());
      },
      [this, folder](Result<int> files) {
        if (files) emit written(folder, *files);
        else if (files.error().kind != ErrorKind::Cancelled) emit m_session.problem(QString::fromStdString(files.error().message));
      });
}

}  // namespace nibble
