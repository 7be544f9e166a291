// SPDX-License-Identifier: GPL-3.0-or-later
// The open checkpoint (A) and another one (B) tensor by tensor, and how far each is from a third (the reference) where one is
// named: core/run/diff on a newest-wins lane. Which files is in the view options "diff.other" and "diff.reference"; work begins
// while Compare shows files, and stops when one of them changes. GUI thread.
#pragma once
#include "core/run/diff.h"
#include "ui/session/job_lane.h"
#include "ui/session/session_state.h"

#include <optional>

namespace nibble {

class Session;

struct DiffFiles {
  std::shared_ptr<const OpenedFile> a;
  std::string b, reference;  // paths; an empty reference is none
  bool operator==(const DiffFiles&) const = default;
  static DiffFiles of(const SessionState& state);
};

struct DiffAnswer {
  std::vector<DiffedTensor> rows;    // the farthest apart first
  std::vector<std::string> warnings; // what could not be compared
  std::string problem;               // not empty: why there are no rows
};

class Differ : public QObject {
  Q_OBJECT
 public:
  explicit Differ(Session& session);
  [[nodiscard]] const DiffAnswer* answer() const { return m_answer.get(); }  // of the files named; null: not known yet
  [[nodiscard]] JobLane& lane() { return m_lane; }
  void again();  // after a problem: the files may have changed

 signals:
  void changed();

 private:
  void follow();
  void start(const DiffFiles& files);

  Session& m_session;
  JobLane m_lane{JobLane::Policy::Newest};
  std::optional<DiffFiles> m_files;  // what the answer is of, or will be
  std::shared_ptr<const DiffAnswer> m_answer;
};

}  // namespace nibble
