// SPDX-License-Identifier: GPL-3.0-or-later
#include "tests/ui/support/watched_application.h"

#include <QAbstractEventDispatcher>
#include <QEvent>
#include <QMetaEnum>
#include <QTest>
#include <QWidget>
#include <cstdlib>
#include <cstring>

#include <fcntl.h>
#include <unistd.h>

namespace nibble::test {
namespace {

// How long this thread has waited for a processor, in nanoseconds. Asked twice for each event: the file stays open.
long long waitedForProcessor() {
  static thread_local const int file = open("/proc/thread-self/schedstat", O_RDONLY | O_CLOEXEC);
  char text[64] = {};
  if (file < 0 || pread(file, text, sizeof(text) - 1, 0) <= 0) return 0;
  const char* second = std::strchr(text, ' ');  // running, waiting, slices
  return second != nullptr ? std::strtoll(second, nullptr, 10) : 0;
}

// Time since start less the time this thread waited for a processor.
std::chrono::nanoseconds attendedTime() {
  const auto now = std::chrono::steady_clock::now().time_since_epoch();
  const long long waiting = waitedForProcessor();
  return std::chrono::duration_cast<std::chrono::nanoseconds>(now) - std::chrono::nanoseconds(waiting);
}

}  // namespace

WatchedApplication::WatchedApplication(int& argc, char** argv) : QApplication(argc, argv) {
  connect(QAbstractEventDispatcher::instance(), &QAbstractEventDispatcher::aboutToBlock, this, [this] {
    for (Frame& frame : m_frames) frame.hostsLoop = true;
  });
}

bool WatchedApplication::notify(QObject* receiver, QEvent* event) {
  const bool outermost = m_frames.empty() || m_frames.back().hostsLoop;
  if (!outermost) return QApplication::notify(receiver, event);
  const QString name = QString::fromLatin1(receiver->metaObject()->className()) + " '" + receiver->objectName() + "'";
  const int type = event->type();
  m_frames.push_back({attendedTime(), false});
  const bool handled = QApplication::notify(receiver, event);
  judge(m_frames.back(), name, type);
  m_frames.pop_back();
  return handled;
}

void WatchedApplication::judge(const Frame& frame, const QString& receiver, int type) {
  if (frame.hostsLoop) return;
  const auto taken = attendedTime() - frame.begin;
  if (taken <= limit) return;
  // Qt's own file dialog stands in for the system's here; ending its file watcher is no work of the window.
  if (type == QEvent::DeferredDelete && receiver.startsWith("QFileDialog")) return;
  const char* key = QMetaEnum::fromType<QEvent::Type>().valueToKey(type);
  m_stalls << QStringLiteral("%1 ms in %2 of %3")
                  .arg(std::chrono::duration_cast<std::chrono::milliseconds>(taken).count())
                  .arg(key != nullptr ? QString::fromLatin1(key) : QString::number(type), receiver);
}

QStringList WatchedApplication::takeStalls() { return std::exchange(m_stalls, {}); }

void returnFocusToWindow() {
  for (QWidget* window : QApplication::topLevelWidgets()) {
    if (!window->isVisible() || window->objectName() != "mainWindow") continue;
    window->activateWindow();
    (void)QTest::qWaitForWindowActive(window);
  }
}

}  // namespace nibble::test
