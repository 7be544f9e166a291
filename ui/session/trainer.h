// SPDX-License-Identifier: GPL-3.0-or-later
// Training as the window offers it: the runs that the state plans (training.h) on the current tensor, stepped on a lane's worker.
// The worker hands over immutable snapshots, at most ten a second and never for more than a tenth of its time; nobody waits for
// the other. Runs are made at the first step and dropped when what they depend on changes. GUI thread.
#pragma once
#include "ui/session/job_lane.h"
#include "ui/session/training.h"

#include <map>

namespace nibble {

class Session;

// One run at one moment.
struct RunView {
  PlannedRun plan;
  std::uint64_t entries = 0;  // trained numbers
  std::vector<train::StepRecord> records;
  double lossNow = 0;   // of the parameters as they are; NaN while playing
  std::string problem;  // why it could not be made or does not go on; empty: it does
};

struct TrainSnapshot {
  std::vector<std::shared_ptr<const RunView>> runs;  // the chosen one first
  // Of the chosen run's last pass, by the method's own names; "update/X" is what the last step did to the parameter X. Of low-rank
  // adapters also grad/BA and update/BA: what BA gains along those of A and B.
  std::map<std::string, std::shared_ptr<const train::NamedArray>> arrays;
  std::uint64_t arraysStep = 0;                      // after so many steps
  [[nodiscard]] std::uint64_t step() const { return runs.empty() ? 0 : runs.front()->records.size(); }
};

class Trainer : public QObject {
  Q_OBJECT
 public:
  explicit Trainer(Session& session);
  ~Trainer() override;
  [[nodiscard]] std::shared_ptr<const TrainSnapshot> snapshot() const { return m_snapshot; }  // null: nothing was made yet
  [[nodiscard]] const std::string& message() const { return m_message; }  // why it stopped early; empty: it did not
  [[nodiscard]] bool busy() const { return m_lane.busy(); }
  [[nodiscard]] JobLane& lane() { return m_lane; }
  [[nodiscard]] std::string refusal() const;  // why nothing can be trained here; empty: it can

 public slots:
  void play() { goTo(plannedSteps()); }
  void pause();
  void step() { goTo(position() + 1); }
  void stepBack() { if (position() > 0) goTo(position() - 1); }
  void reset() { goTo(0); }
  void goTo(std::uint64_t step);
  void writeResults(const QString& folder);  // what training was for: adapter, merged weights, a recipe

 signals:
  void changed();
  void written(const QString& folder, int files);

 private:
  struct Bench;
  void follow();
  void take();
  void drop();
  [[nodiscard]] std::uint64_t position() const { return m_snapshot ? m_snapshot->step() : 0; }
  [[nodiscard]] std::uint64_t plannedSteps() const;

  Session& m_session;
  std::shared_ptr<Bench> m_bench;  // null: to be made
  std::shared_ptr<const TrainSnapshot> m_snapshot;
  std::string m_message;
  JobLane m_lane{JobLane::Policy::Newest};
};

}  // namespace nibble
