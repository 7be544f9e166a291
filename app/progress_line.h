// SPDX-License-Identifier: GPL-3.0-or-later
// One line on standard error that shows how far work is and how long it will take, redrawn at 10 Hz by a thread of its own and
// wiped when the work ends. Nothing is drawn for work under 200 ms, nor when `shown` is false.
#pragma once
#include "core/base/context.h"

#include <condition_variable>
#include <mutex>
#include <string>
#include <thread>

namespace nibble::cli {

class ProgressLine {
 public:
  ProgressLine(std::string title, const Progress& progress, bool shown);
  ~ProgressLine();
  ProgressLine(const ProgressLine&) = delete;
  ProgressLine& operator=(const ProgressLine&) = delete;

 private:
  void draw(std::stop_token stop);
  std::string m_title;
  const Progress& m_progress;
  std::mutex m_mutex;
  std::condition_variable_any m_wake;
  std::jthread m_thread;
};

// "compare 37 % ETA 0:12"; without an estimate while nothing is done.
std::string progressText(const std::string& title, double fraction, double elapsedSeconds);

}  // namespace nibble::cli
