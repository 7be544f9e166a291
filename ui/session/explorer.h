// SPDX-License-Identifier: GPL-3.0-or-later
// Keeps the exploration of the session's current tensor and choice up to date: newest request wins; facts of the tensor are read
// once; the sampled answer of a large tensor arrives before the exact one. GUI thread.
#pragma once
#include "ui/session/exploration.h"
#include "ui/session/job_lane.h"

namespace nibble {

class Session;

class Explorer : public QObject {
  Q_OBJECT
 public:
  explicit Explorer(Session& session);
  // Null: nothing to show (nothing open, or the first answer is on its way).
  [[nodiscard]] const std::shared_ptr<const Exploration>& current() const { return m_current; }
  // The chosen cell, or the largest weight while none is chosen; inside the matrix.
  [[nodiscard]] Cell cell() const;
  [[nodiscard]] JobLane& lane() { return m_lane; }
  // A recent answer for this tensor, reading and choice (none: as stored); null: there is none.
  [[nodiscard]] std::shared_ptr<const Exploration> recent(const std::string& tensor, const std::string& reading,
                                                          const std::optional<Choice>& choice) const;

 signals:
  void changed();

 private:
  void follow(const SessionState& before);
  void start();
  void arrived(const std::string& tensor, Result<std::shared_ptr<const Exploration>> result);
  void remember(const std::shared_ptr<const Exploration>& exploration);

  Session& m_session;
  JobLane m_lane{JobLane::Policy::Newest};
  std::shared_ptr<const TensorFacts> m_facts;
  std::shared_ptr<const OpenedFile> m_factsFile;
  std::shared_ptr<const Exploration> m_current;
  std::vector<std::shared_ptr<const Exploration>> m_recent;  // newest last, small tensors only
};

}  // namespace nibble
