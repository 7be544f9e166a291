// SPDX-License-Identifier: GPL-3.0-or-later
// The status bar: the running job with progress, remaining time and Cancel; the backend (a menu to change it); the bytes mapped.
// A job is shown once it has run for 200 ms. GUI thread.
#pragma once
#include <QStatusBar>
#include <vector>

class QLabel;
class QMenu;
class QProgressBar;
class QToolButton;

namespace nibble {

class JobLane;
class Session;

class StatusLine : public QStatusBar {
  Q_OBJECT
 public:
  explicit StatusLine(Session& session, QWidget* parent = nullptr);
  void setIdleText(const QString& text);
  [[nodiscard]] QMenu* backendMenu() const { return m_backendMenu; }

 public slots:
  void cancelJob();

 private:
  void refresh();
  void showState();
  void fillBackends();
  [[nodiscard]] JobLane* shownLane() const;

  Session& m_session;
  std::vector<JobLane*> m_lanes;  // the most important first
  QString m_idle;
  QLabel* m_job;
  QProgressBar* m_bar;
  QLabel* m_remaining;
  QToolButton* m_cancel;
  QToolButton* m_backend;
  QMenu* m_backendMenu;
  QLabel* m_mapped;
};

}  // namespace nibble
