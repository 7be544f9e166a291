// SPDX-License-Identifier: GPL-3.0-or-later
// A QApplication that times every event it delivers. An event whose handling keeps the loop busy for longer than the limit is
// a stall: the window did not answer a person in that time. Time the thread spent waiting for a processor is not counted (the
// kernel's schedstat tells it), so that a busy test machine does not look like a slow window; time blocked in a lock or in
// input/output does count. A handler that runs a loop of its own (a menu, a dialog) is not a stall; the events in it are timed.
#pragma once
#include "tests/support/files.h"

#include <QApplication>
#include <QStringList>
#include <chrono>
#include <vector>

namespace nibble::test {

class WatchedApplication : public QApplication {
 public:
  WatchedApplication(int& argc, char** argv);
  bool notify(QObject* receiver, QEvent* event) override;
  // Stalls since the last call, one line each: how long, which event, which receiver.
  QStringList takeStalls();

  static constexpr std::chrono::milliseconds limit{instrumented ? 500 : 50};  // a sanitizer makes drawing several times slower

 private:
  struct Frame {
    std::chrono::nanoseconds begin{};
    bool hostsLoop = false;
  };
  void judge(const Frame& frame, const QString& receiver, int type);
  std::vector<Frame> m_frames;
  QStringList m_stalls;
};

// What a window manager does when a dialog closes: the window behind it becomes the active one again.
void returnFocusToWindow();

}  // namespace nibble::test
