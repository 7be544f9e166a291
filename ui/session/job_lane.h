// SPDX-License-Identifier: GPL-3.0-or-later
// One worker thread for jobs of one kind. Newest: a new job cancels the running one and replaces the waiting one, so that the
// answer to an older request never arrives (open, run). Queue: jobs wait for each other (compare, export).
// `work` runs on the worker and touches no QObject; what it returns or posts is called on the lane's own (GUI) thread, or never
// when the job was cancelled meanwhile. Progress is polled ten times a second. The destructor stops and joins the worker.
#pragma once
#include "core/base/context.h"

#include <QObject>
#include <QString>
#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>

class QTimer;

namespace nibble {

using Delivery = std::function<void()>;  // called on the GUI thread

// What a job knows while it works: the context for core, and a way to hand over a part of its result.
struct JobContext {
  Context context;
  std::function<void(Delivery)> post;
};

struct JobStatus {
  QString title;
  std::uint64_t done = 0, total = 0;
  double elapsedSeconds = 0;
  double remainingSeconds = -1;  // negative: not known yet
  std::size_t waiting = 0;       // jobs behind this one
};

class JobLane : public QObject {
  Q_OBJECT
 public:
  enum class Policy { Newest, Queue };
  explicit JobLane(Policy policy, QObject* parent = nullptr);
  ~JobLane() override;

  using Work = std::function<Delivery(const JobContext&)>;
  void start(const QString& title, const kernels::Backend& backend, Work work);
  // The same for work that returns a value and a function that takes it.
  template <class Job, class Done>
  void start(const QString& title, const kernels::Backend& backend, Job job, Done done) {
    start(title, backend, [job = std::move(job), done = std::move(done)](const JobContext& context) -> Delivery {
      auto result = std::make_shared<decltype(job(context))>(job(context));
      return [result, done]() { done(std::move(*result)); };
    });
  }
  // Stops the running job and forgets the waiting ones; nothing of them is delivered any more.
  void cancel();
  [[nodiscard]] bool busy() const { return m_current != nullptr; }
  [[nodiscard]] JobStatus status() const;

 signals:
  void changed();                      // a job began, moved on or ended
  void cancelledByUser();              // after cancel() of a running job
  void failed(const QString& message); // memory ran out, or a library threw

 private:
  struct Job;
  void workerLoop(const std::stop_token& stop);
  void execute(const std::shared_ptr<Job>& job);
  void deliver(const std::shared_ptr<Job>& job, const Delivery& delivery);
  void finish(const std::shared_ptr<Job>& job, const Delivery& delivery, const QString& error);
  void promote();

  Policy m_policy;
  QTimer* m_poll;
  std::shared_ptr<Job> m_current;                // GUI thread: the job whose results are wanted
  std::deque<std::shared_ptr<Job>> m_wanted;     // GUI thread: those behind it
  std::mutex m_mutex;
  std::condition_variable_any m_wake;
  std::deque<std::shared_ptr<Job>> m_queue;      // guarded by m_mutex
  std::jthread m_worker;                         // last: joined before the rest goes
};

}  // namespace nibble
