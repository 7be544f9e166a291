// SPDX-License-Identifier: GPL-3.0-or-later
// What Explore shows of the errors beside the matrix: pairs of weights and reconstructions with the largest errors, or singular
// values. Worked out only while such a view is open (view option "explore.beside"), from the exact exploration, on a lane where
// the newest wins; the answer to an older choice stays until the new one is there, as long as the tensor is the same. GUI thread.
#pragma once
#include "core/report/reconstruction.h"
#include "core/report/spectrum.h"
#include "ui/session/exploration.h"
#include "ui/session/job_lane.h"

namespace nibble {

class Session;

struct Study {
  std::shared_ptr<const Exploration> of;
  std::shared_ptr<const Reconstruction> pairs;    // null: not asked for, or the file holds no weights from before it was packed
  std::shared_ptr<const Spectrum> weights, errors;  // likewise
  std::string problem;                            // why there is nothing
};

class ErrorStudy : public QObject {
  Q_OBJECT
 public:
  enum class Wanted : std::uint8_t { Nothing, Pairs, Spectra };
  explicit ErrorStudy(Session& session);
  [[nodiscard]] const std::shared_ptr<const Study>& current() const { return m_current; }  // null: not known yet
  [[nodiscard]] JobLane& lane() { return m_lane; }

 signals:
  void changed();

 private:
  void follow();
  void start(const std::shared_ptr<const Exploration>& exploration, Wanted wanted);
  void arrived(Result<Study> answer, const std::shared_ptr<const Exploration>& exploration);
  [[nodiscard]] bool answers(Wanted wanted, const Exploration* exploration) const;

  Session& m_session;
  JobLane m_lane{JobLane::Policy::Newest};
  std::shared_ptr<const Study> m_current;
  std::shared_ptr<const Exploration> m_asked;  // what the lane works on, or has ended with
  Wanted m_askedFor = Wanted::Nothing;
};

}  // namespace nibble
