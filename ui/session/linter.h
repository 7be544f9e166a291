// SPDX-License-Identifier: GPL-3.0-or-later
// Looks at the values of an open file behind everything else and says what a person should know about them: NaN, infinity, rows of
// zeros. Small files only; a large one is read when its tensors are. Stops when another file is opened. GUI thread.
#pragma once
#include "core/report/lint.h"
#include "ui/session/job_lane.h"
#include "ui/session/session_state.h"

#include <map>

namespace nibble {

class Session;

class Linter : public QObject {
  Q_OBJECT
 public:
  static constexpr std::uint64_t mostBytes = std::uint64_t{256} << 20;
  explicit Linter(Session& session);
  // By tensor, of the open file; grows while the file is read.
  [[nodiscard]] const std::map<std::string, std::vector<Finding>>& findings() const { return m_findings; }

 signals:
  void changed();

 private:
  void follow(const SessionState& before);

  Session& m_session;
  JobLane m_lane{JobLane::Policy::Newest};
  std::map<std::string, std::vector<Finding>> m_findings;
};

}  // namespace nibble
