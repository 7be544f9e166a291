// SPDX-License-Identifier: GPL-3.0-or-later
// The CUDA backend's own source over a device that is none (tests/support/fake_device.h): every call gives the host's numbers,
// whatever the size of the strips, whichever call to the device fails, and it holds nothing when it goes.
#include "kernels/host/host_backend.h"
#include "tests/support/backend_case.h"
#include "tests/support/fake_backend.h"

#include <QtTest>
#include <thread>

using namespace nibble::kernels;
using namespace nibble::test;

namespace {

constexpr BackendShape fewShapes[] = {{6, 40}, {300, 8}, {3, 700}, {5, 33, true}, {1, 5000}, {7, 12, false, 5}};

}  // namespace

class TestCudaBackend : public QObject {
  Q_OBJECT

 private slots:
  void opensAndSaysWhat() {
    const FakeBackend device;
    QVERIFY(device.backend->unusableReason().empty());
    QCOMPARE(device.backend->name(), std::string_view("cuda"));
    QCOMPARE(device.backend->description(), std::string_view("Fake, 0 GiB"));
    QVERIFY(device.backend->notice().empty());
    QVERIFY(device.ledger->holdsNothing());  // until there is work
  }

  void withoutADeviceTheCpuWorks() {
    for (const Fault fault : {Fault::NoDriver, Fault::NoDevice}) {
      FakePlan plan;
      plan.opening = fault;
      const FakeBackend device(plan);
      QCOMPARE(device.backend->unusableReason(), std::string_view("there is no such thing"));
      const BackendCase work({6, 40}, 1);
      const std::string differs = work.differs(work.of(hostBackend()), work.of(*device.backend));
      QVERIFY2(differs.empty(), differs.c_str());
      QCOMPARE(device.ledger->launches.load(), std::size_t{0});
      QVERIFY(device.ledger->holdsNothing());
    }
  }

  void stripsOfEverySize() {
    for (const BackendShape& shape : fewShapes) {
      const BackendCase work(shape, 2);
      const BackendResults host = work.of(hostBackend());
      for (const std::size_t bytes : {8u << 10, 9u << 10, 11u << 10, 16u << 10, 64u << 10, 1u << 20}) {
        const unsigned count = bytes % 3 == 0 ? 1 : 3;
        const FakeBackend device({}, bytes, count);
        const std::string differs = work.differs(host, work.of(*device.backend));
        const std::string text = shape.text() + ", slots of " + std::to_string(bytes);
        QVERIFY2(differs.empty(), (differs + ": " + text).c_str());
        QVERIFY(device.ledger->launches > 0);
        // Half-quadratic groups are not cut; a chunk of 256 that does not fit is the CPU's, and it says so.
        const std::string notice = device.backend->notice();
        QVERIFY2(notice.empty() || notice.find("do not fit") != std::string::npos, (notice + ": " + text).c_str());
        if (bytes >= 64u << 10) QVERIFY2(notice.empty(), (notice + ": " + text).c_str());
      }
    }
  }

  void randomShapes() {
    for (int i = 0; i < (caseCount() + 1) / 2; ++i) {
      Chance chance(static_cast<unsigned>(i));
      emulatorSettings().seed = static_cast<unsigned>(i % 4);
      const bool columns = chance.one(3);
      const BackendShape shape{chance.between(1, 60), someSize(chance, chance.one(4) ? 1100 : 200), columns, columns ? 0 : chance.below(3)};
      const BackendCase work(shape, static_cast<unsigned>(i));
      const FakeBackend device({}, chance.between(16 << 10, 300 << 10), static_cast<unsigned>(chance.between(1, 4)));
      const std::string differs = work.differs(work.of(hostBackend()), work.of(*device.backend));
      QVERIFY2(differs.empty(), (differs + ": " + shape.text() + ", case " + std::to_string(i)).c_str());
    }
    emulatorSettings() = {};
  }

  void everyCallFailingOnce() {
    constexpr std::size_t slotBytes = 7 << 10;  // some calls take several strips, some one
    for (const BackendShape& shape : {BackendShape{30, 12}, BackendShape{1, 1500}}) {
      const BackendCase work(shape, 3);
      const BackendResults host = work.of(hostBackend());
      FakeBackend whole({}, slotBytes, 2);
      QVERIFY(work.differs(host, work.of(*whole.backend)).empty());
      const std::size_t calls = whole.ledger->calls;
      QVERIFY(calls > 90);
      // A quick run takes each call in one of the ways, a full one each in all.
      const bool all = caseCount() >= 1000;
      for (const Fault fault : {Fault::Lost, Fault::NoMemory, Fault::BadCall})
        for (std::size_t call = 1; call <= calls; ++call) {
          if (!all && call % 3 != static_cast<std::size_t>(fault) % 3) continue;
          FakePlan plan;
          plan.failAt = call;
          plan.fault = fault;
          FakeBackend device(plan, slotBytes, 2);
          const std::string differs = work.differs(host, work.of(*device.backend));
          const std::string text = shape.text() + ", call " + std::to_string(call) + " of " + std::to_string(calls);
          QVERIFY2(differs.empty(), (differs + ": " + text).c_str());
          QCOMPARE(device.ledger->failures.load(), std::size_t{1});
          const bool said = !device.backend->notice().empty() || !device.backend->unusableReason().empty();
          // Memory refused once for slots of one size is had for slots of half the size, or the next time.
          QVERIFY2(said || fault == Fault::NoMemory, text.c_str());
          if (fault == Fault::Lost && call > 1) {
            QVERIFY2(device.backend->notice().find("the CPU goes on") != std::string::npos, text.c_str());
            QVERIFY2(!device.backend->unusableReason().empty(), text.c_str());
          }
          device.backend.reset();
          QVERIFY2(device.ledger->holdsNothing(), text.c_str());
        }
    }
  }

  void lostForEverAtEachCall() {
    const BackendCase work({30, 20}, 4);
    const BackendResults host = work.of(hostBackend());
    FakeBackend whole({}, 9 << 10, 3);
    static_cast<void>(work.of(*whole.backend));
    for (std::size_t call = 1; call <= whole.ledger->calls; call += caseCount() >= 1000 ? 1 : 3) {
      FakePlan plan;
      plan.failAt = call;
      plan.forEver = true;
      FakeBackend device(plan, 9 << 10, 3);
      const std::string differs = work.differs(host, work.of(*device.backend));
      QVERIFY2(differs.empty(), (differs + ", call " + std::to_string(call)).c_str());
      QVERIFY(!device.backend->unusableReason().empty());
      QVERIFY(device.ledger->failures < 12);  // it is not asked again and again
      device.backend.reset();
      QVERIFY(device.ledger->holdsNothing());
    }
  }

  void takesNoMoreThanHalfOfWhatIsFree() {
    FakePlan plan;
    plan.memoryBytes = 200 << 10;
    const BackendCase work({40, 64}, 5);
    const FakeBackend device(plan, 1 << 20, 3);
    const std::string differs = work.differs(work.of(hostBackend()), work.of(*device.backend));
    QVERIFY2(differs.empty(), differs.c_str());
    QVERIFY(device.ledger->launches > 0);
    QVERIFY(device.ledger->mostDeviceBytes <= plan.memoryBytes / 2);
    plan.memoryBytes = 20 << 10;
    const FakeBackend tiny(plan, 1 << 20, 3);
    const std::string differsToo = work.differs(work.of(hostBackend()), work.of(*tiny.backend));
    QVERIFY2(differsToo.empty(), differsToo.c_str());
    QCOMPARE(tiny.ledger->launches.load(), std::size_t{0});
    QVERIFY(tiny.backend->notice().find("too little memory") != std::string::npos);
    QVERIFY(tiny.backend->unusableReason().empty());  // there may be more later
  }

  // Sums are added in one order whatever the slots, as long as they hold eight groups.
  void sumsDoNotDependOnMemory() {
    const BackendCase work({512, 64}, 6);
    const BackendResults one = work.of(*FakeBackend({}, 1 << 20, 3).backend);
    for (const std::size_t bytes : {96u << 10, 200u << 10, 333u << 10}) {
      const BackendResults other = work.of(*FakeBackend({}, bytes, 2).backend);
      QCOMPARE(one.sums.errorSquared, other.sums.errorSquared);
      QCOMPARE(one.sums.weightError, other.sums.weightError);
      QCOMPARE(one.measuredSums.error, other.measuredSums.error);
      QCOMPARE(one.measuredSums.errorSquared, other.measuredSums.errorSquared);
    }
  }

  // More threads than slots, and a device that is lost while all of them work.
  void manyThreads() {
    for (const std::size_t failAt : {std::size_t{0}, std::size_t{40}}) {
      FakePlan plan;
      plan.failAt = failAt;
      plan.forEver = true;
      FakeBackend device(plan, 16 << 10, 2);
      std::vector<std::string> differences(5);
      std::vector<std::thread> threads;
      for (std::size_t t = 0; t < differences.size(); ++t)
        threads.emplace_back([&, t] {
          const BackendCase work({20 + t, 60}, static_cast<unsigned>(t));
          differences[t] = work.differs(work.of(hostBackend()), work.of(*device.backend));
        });
      for (std::thread& thread : threads) thread.join();
      for (const std::string& differs : differences) QVERIFY2(differs.empty(), differs.c_str());
      device.backend.reset();
      QVERIFY(device.ledger->holdsNothing());
    }
  }
};

QTEST_APPLESS_MAIN(TestCudaBackend)
#include "test_cuda_backend.moc"
