// SPDX-License-Identifier: GPL-3.0-or-later
// The newest request wins, queued work keeps its order, cancelled work delivers nothing, and nothing hangs at the end.
#include "kernels/backend.h"
#include "ui/session/job_lane.h"

#include <QElapsedTimer>
#include <QSignalSpy>
#include <QTest>
#include <atomic>

using namespace nibble;
using namespace std::chrono_literals;

namespace {

const kernels::Backend& backend() { return kernels::defaultBackend(); }

// Works until it is stopped or `milliseconds` have passed; says whether it came to its end.
bool busyWork(const JobContext& job, int milliseconds) {
  QElapsedTimer clock;
  clock.start();
  while (clock.elapsed() < milliseconds) {
    if (job.context.stopRequested()) return false;
    std::this_thread::sleep_for(1ms);
  }
  return true;
}

}  // namespace

class TestJobLane : public QObject {
  Q_OBJECT
 private slots:
  void deliversOnTheGuiThread() {
    JobLane lane(JobLane::Policy::Newest);
    QThread* thread = nullptr;
    std::atomic<QThread*> worker = nullptr;
    lane.start("one", backend(), [&](const JobContext&) { worker = QThread::currentThread(); return 7; },
               [&](int value) { QCOMPARE(value, 7); thread = QThread::currentThread(); });
    QVERIFY(lane.busy());
    QTRY_VERIFY(thread != nullptr);
    QCOMPARE(thread, QThread::currentThread());
    QVERIFY(worker.load() != QThread::currentThread());
    QVERIFY(!lane.busy());
  }

  void newestWins() {
    JobLane lane(JobLane::Policy::Newest);
    std::vector<int> arrived;
    for (int i = 0; i < 20; ++i) {
      lane.start("slide", backend(), [i](const JobContext& job) { busyWork(job, i == 19 ? 5 : 2000); return i; },
                 [&](int value) { arrived.push_back(value); });
      QTest::qWait(i % 3);
    }
    QTRY_VERIFY(!lane.busy());
    QTest::qWait(20);
    QCOMPARE(arrived, std::vector<int>{19});
  }

  void queueKeepsOrder() {
    JobLane lane(JobLane::Policy::Queue);
    std::vector<int> arrived;
    for (int i = 0; i < 5; ++i)
      lane.start("long", backend(), [i](const JobContext& job) { busyWork(job, 3); return i; }, [&](int value) { arrived.push_back(value); });
    QCOMPARE(lane.status().waiting, std::size_t(4));
    QTRY_VERIFY(!lane.busy());
    QCOMPARE(arrived, (std::vector<int>{0, 1, 2, 3, 4}));
  }

  void partsArriveInOrderBeforeTheEnd() {
    JobLane lane(JobLane::Policy::Queue);
    QStringList seen;
    lane.start("parts", backend(), [&](const JobContext& job) {
      for (int i = 0; i < 3; ++i) job.post([&seen, i] { seen << QString::number(i); });
      return 0;
    }, [&](int) { seen << "end"; });
    QTRY_VERIFY(!lane.busy());
    QCOMPARE(seen, (QStringList{"0", "1", "2", "end"}));
  }

  void cancelLeavesNoTrace() {
    JobLane lane(JobLane::Policy::Queue);
    QSignalSpy spy(&lane, &JobLane::cancelledByUser);
    int delivered = 0;
    std::atomic<bool> stopped = false;
    for (int i = 0; i < 3; ++i)
      lane.start("long", backend(), [&](const JobContext& job) {
        job.post([&] { ++delivered; });
        stopped = !busyWork(job, 5000);
        return 0;
      }, [&](int) { ++delivered; });
    std::this_thread::sleep_for(20ms);  // the first part is posted, not yet delivered
    QElapsedTimer clock;
    clock.start();
    lane.cancel();
    QVERIFY(!lane.busy());
    QTRY_VERIFY(stopped.load());
    QVERIFY2(clock.elapsed() < 100, "cancel took too long");
    QTest::qWait(30);
    QCOMPARE(delivered, 0);
    QCOMPARE(spy.count(), 1);
  }

  void progressAndRemainingTime() {
    JobLane lane(JobLane::Policy::Queue);
    double remaining = -1;
    QString title;
    connect(&lane, &JobLane::changed, this, [&] {
      const auto status = lane.status();
      if (status.total == 10 && status.done == 5) { remaining = status.remainingSeconds; title = status.title; }
    });
    lane.start("half way", backend(), [](const JobContext& job) {
      job.context.addTotal(10);
      job.context.addDone(5);
      busyWork(job, 350);
      return 0;
    }, [](int) {});
    QTRY_VERIFY(!lane.busy());
    QCOMPARE(title, QString("half way"));
    QVERIFY(remaining > 0.05 && remaining < 2);
  }

  void exceptionsBecomeAMessage() {
    JobLane lane(JobLane::Policy::Queue);
    QSignalSpy spy(&lane, &JobLane::failed);
    lane.start("boom", backend(), [](const JobContext&) -> int { throw std::bad_alloc(); }, [](int) { QFAIL("delivered"); });
    QTRY_COMPARE(spy.count(), 1);
    QVERIFY(!lane.busy());
  }

  void destructionDoesNotHang() {
    QElapsedTimer clock;
    clock.start();
    {
      JobLane lane(JobLane::Policy::Queue);
      for (int i = 0; i < 3; ++i) lane.start("long", backend(), [](const JobContext& job) { return busyWork(job, 10000); }, [](bool) { QFAIL("delivered"); });
      std::this_thread::sleep_for(5ms);
    }
    QVERIFY(clock.elapsed() < 500);
    QCoreApplication::processEvents();
  }
};

QTEST_MAIN(TestJobLane)
#include "test_job_lane.moc"
