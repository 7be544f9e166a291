// SPDX-License-Identifier: GPL-3.0-or-later
#include "app/progress_line.h"

#include <chrono>
#include <cmath>
#include <cstdio>

namespace nibble::cli {

std::string progressText(const std::string& title, double fraction, double elapsedSeconds) {
  std::string line = title + " " + std::to_string(static_cast<int>(100 * fraction)) + " %";
  if (fraction <= 0) return line;
  const long left = std::lrint(std::ceil(elapsedSeconds * (1 - fraction) / fraction));
  const std::string seconds = std::to_string(left % 60);
  return line + " ETA " + std::to_string(left / 60) + ":" + (seconds.size() < 2 ? "0" : "") + seconds;
}

ProgressLine::ProgressLine(std::string title, const Progress& progress, bool shown)
    : m_title(std::move(title)), m_progress(progress) {
  if (shown) m_thread = std::jthread([this](std::stop_token stop) { draw(std::move(stop)); });
}

ProgressLine::~ProgressLine() = default;

void ProgressLine::draw(std::stop_token stop) {
  using Clock = std::chrono::steady_clock;
  const auto start = Clock::now();
  bool drawn = false;
  std::unique_lock lock(m_mutex);
  for (auto pause = std::chrono::milliseconds(200);; pause = std::chrono::milliseconds(100)) {
    m_wake.wait_for(lock, stop, pause, [] { return false; });
    if (stop.stop_requested()) break;
    const auto total = static_cast<double>(m_progress.total.load(std::memory_order_relaxed));
    const auto done = static_cast<double>(m_progress.done.load(std::memory_order_relaxed));
    const std::chrono::duration<double> elapsed = Clock::now() - start;
    const std::string line = progressText(m_title, total > 0 ? std::min(1.0, done / total) : 0, elapsed.count());
    std::fprintf(stderr, "\r\033[K%s", line.c_str());
    drawn = true;
  }
  if (drawn) std::fputs("\r\033[K", stderr);
}

}  // namespace nibble::cli
