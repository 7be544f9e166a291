// SPDX-License-Identifier: GPL-3.0-or-later
#include "ui/session/job_lane.h"

#include <QElapsedTimer>
#include <QTimer>
#include <exception>

#ifdef __linux__
#include <sys/resource.h>
#include <unistd.h>
#endif

namespace nibble {

namespace {

// Work in the background yields to the event loop, which would wait for its turn on a machine of few cores. On Linux each thread
// has a nice value of its own, and threads that it starts, those of the engine's pool among them, take it over.
void yieldToTheWindow() {
#ifdef __linux__
  constexpr int background = 10;
  ::setpriority(PRIO_PROCESS, static_cast<id_t>(::gettid()), background);
#endif
}

}  // namespace

struct JobLane::Job {
  QString title;
  Work work;
  std::stop_source stop;
  Progress progress;
  QElapsedTimer clock;
  const kernels::Backend* backend = nullptr;
  bool wanted = true;  // GUI thread only
};

JobLane::JobLane(Policy policy, QObject* parent) : QObject(parent), m_policy(policy), m_poll(new QTimer(this)) {
  m_poll->setInterval(100);
  connect(m_poll, &QTimer::timeout, this, &JobLane::changed);
  m_worker = std::jthread([this](const std::stop_token& stop) { workerLoop(stop); });
}

JobLane::~JobLane() {
  blockSignals(true);
  cancel();
  m_worker.request_stop();
  m_worker.join();
}

void JobLane::start(const QString& title, const kernels::Backend& backend, Work work) {
  auto job = std::make_shared<Job>();
  job->title = title;
  job->work = std::move(work);
  job->backend = &backend;
  if (m_policy == Policy::Newest && m_current) {
    m_current->wanted = false;
    m_current->stop.request_stop();
    m_current.reset();
  }
  {
    const std::lock_guard lock(m_mutex);
    if (m_policy == Policy::Newest) m_queue.clear();
    m_queue.push_back(job);
  }
  m_wanted.push_back(job);
  promote();
  m_wake.notify_one();
}

void JobLane::promote() {
  if (!m_current && !m_wanted.empty()) {
    m_current = m_wanted.front();
    m_wanted.pop_front();
    m_current->clock.start();
    m_poll->start();
  }
  if (!m_current) m_poll->stop();
  emit changed();
}

void JobLane::cancel() {
  const bool wasBusy = busy();
  {
    const std::lock_guard lock(m_mutex);
    m_queue.clear();
  }
  for (const auto& job : m_wanted) job->wanted = false;
  m_wanted.clear();
  if (m_current) {
    m_current->wanted = false;
    m_current->stop.request_stop();
    m_current.reset();
  }
  promote();
  if (wasBusy) emit cancelledByUser();
}

JobStatus JobLane::status() const {
  JobStatus status;
  if (!m_current) return status;
  status.title = m_current->title;
  status.done = m_current->progress.done.load(std::memory_order_relaxed);
  status.total = m_current->progress.total.load(std::memory_order_relaxed);
  status.elapsedSeconds = static_cast<double>(m_current->clock.elapsed()) / 1000.0;
  status.waiting = m_wanted.size();
  if (status.done > 0 && status.total >= status.done)
    status.remainingSeconds = status.elapsedSeconds * static_cast<double>(status.total - status.done) / static_cast<double>(status.done);
  return status;
}

void JobLane::workerLoop(const std::stop_token& stop) {
  yieldToTheWindow();
  while (true) {
    std::shared_ptr<Job> job;
    {
      std::unique_lock lock(m_mutex);
      if (!m_wake.wait(lock, stop, [this] { return !m_queue.empty(); })) return;
      job = m_queue.front();
      m_queue.pop_front();
    }
    execute(job);
  }
}

void JobLane::execute(const std::shared_ptr<Job>& job) {
  JobContext context;
  context.context.backend = job->backend;
  context.context.stop = job->stop.get_token();
  context.context.progress = &job->progress;
  context.post = [this, job](Delivery delivery) {
    QMetaObject::invokeMethod(this, [this, job, delivery = std::move(delivery)] { deliver(job, delivery); }, Qt::QueuedConnection);
  };
  Delivery delivery;
  QString error;
  try {
    if (!job->stop.stop_requested()) delivery = job->work(context);
  } catch (const std::bad_alloc&) {
    error = tr("There is not enough memory for this.");
  } catch (const std::exception& exception) {
    error = QString::fromUtf8(exception.what());
  }
  job->work = nullptr;
  QMetaObject::invokeMethod(this, [this, job, delivery, error] { finish(job, delivery, error); }, Qt::QueuedConnection);
}

void JobLane::deliver(const std::shared_ptr<Job>& job, const Delivery& delivery) {
  if (job->wanted && delivery) delivery();
}

void JobLane::finish(const std::shared_ptr<Job>& job, const Delivery& delivery, const QString& error) {
  if (!job->wanted) return;
  job->wanted = false;
  if (m_current == job) m_current.reset();
  if (!error.isEmpty()) emit failed(error);
  if (delivery) delivery();
  promote();
}

}  // namespace nibble
