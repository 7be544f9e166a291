// SPDX-License-Identifier: GPL-3.0-or-later
#include "tests/ui/support/watched_application.h"

#include <QAbstractEventDispatcher>
#include <QEvent>
#include <QMetaEnum>
#include <QTest>
#include <QWidget>
#include <cstdio>

namespace nibble::test {
namespace {

// Time since start less the time this thread waited for a processor.
std::chrono::nanoseconds attendedTime() {
  const auto now = std::chrono::steady_clock::now().time_since_epoch();
  long long running = 0, waiting = 0;
  if (std::FILE* file = std::fopen("/proc/thread-self/schedstat", "r")) {
    if (std::fscanf(file, "%lld %lld", &running, &waiting) != 2) waiting = 0;
    std::fclose(file);
  }
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
