// SPDX-License-Identifier: GPL-3.0-or-later
// The CUDA backend's own source over a device that is none (tests/support/fake_device.h): every call gives the host's numbers,
// whatever the size of the strips, whichever call to the device fails, and it holds nothing when it goes.
#include "kernels/cuda/device_backend.h"
#include "kernels/host/host_backend.h"
#include "kernels/math/affine.h"
#include "kernels/math/half_quadratic.h"
#include "tests/support/cuda_cases.h"
#include "tests/support/fake_device.h"

#include <QtTest>
#include <cmath>
#include <cstring>
#include <thread>

using namespace nibble::kernels;
using namespace nibble::test;
namespace em = nibble::kernels::emulated;

namespace {

using Bytes = std::vector<std::uint8_t>;
using Floats = std::vector<float>;
using Counts = std::vector<std::uint64_t>;

template <class T>
bool sameBits(const std::vector<T>& a, const std::vector<T>& b) {
  return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0);
}

struct Shape {
  std::size_t groups, size;
  bool columns = false;
  std::size_t gap = 0;  // between groups that are runs
  [[nodiscard]] std::string text() const {
    return std::to_string(groups) + (columns ? " columns of " : " groups of ") + std::to_string(size) + " gap " +
           std::to_string(gap);
  }
};

// Everything a backend computes from one set of weights.
struct Results {
  Floats low, high, values[3], zeros;
  Bytes affine, thresholds, measured;
  std::vector<double> chunkErrors;
  std::vector<int> rests;
  Counts bins, histogram, errorHistogram, occupancy;
  ErrorSums sums, measuredSums;
  std::size_t bad[2] = {};
};

class Case {
 public:
  Case(const Shape& shape, unsigned seed) : m_shape(shape) {
    Chance chance(seed);
    m_weights = someWeights(chance, shape.groups * (shape.size + shape.gap));
    m_near = m_weights;
    for (float& value : m_near) value += 0.001f * chance.normal();
    m_spoiled = m_weights;
    if (!m_spoiled.empty()) m_spoiled[chance.below(m_spoiled.size())] = NAN;
    m_view = shape.columns ? GroupView::strided(m_weights.data(), shape.groups, shape.size)
                           : GroupView{m_weights.data(), shape.groups, shape.size, shape.size + shape.gap, 1};
    m_low.resize(shape.groups);
    m_high.resize(shape.groups);
    hostBackend().ranges(m_view, m_low.data(), m_high.data());
    for (std::size_t g = 0; g < shape.groups; ++g) {
      float inverse = 0, zero = 0;
      halfQuadraticStart(m_low[g], m_high[g], 15, &inverse, &zero);
      m_inverse.push_back(inverse);
      m_scale.push_back(minmaxScale({m_low[g], m_high[g]}, 15));
      m_firstZero.push_back(zero);
      m_multiplier.push_back(std::fabs(chance.normal()) * 20);
    }
    for (int i = 0; i < 15; ++i) m_thresholds.push_back(0.3f * static_cast<float>(i - 7));
    for (int i = 0; i < 16; ++i) m_ranks.push_back(static_cast<std::uint8_t>(15 - i)), m_table.push_back(chance.normal());
    for (std::size_t i = 0; i < shape.groups * shape.size; ++i) m_codes.push_back(static_cast<std::uint8_t>(chance.below(16)));
  }

  [[nodiscard]] Results of(const Backend& backend) const {
    Results r;
    const std::size_t groups = m_shape.groups, size = m_shape.size, count = m_weights.size();
    r.low.resize(groups), r.high.resize(groups);
    backend.ranges(m_view, r.low.data(), r.high.data());
    r.affine.assign(count, 77), r.thresholds.assign(count, 77), r.measured.assign(count, 77);
    backend.encodeAffine(m_view, CodeRule::SubtractDivideRound, m_scale.data(), m_low.data(), 15, r.affine.data());
    backend.encodeThresholds(m_view, m_multiplier.data(), m_thresholds, m_ranks, r.thresholds.data());
    HalfQuadraticSettings settings;
    settings.iterations = 3;
    r.zeros = m_firstZero;
    r.rests.resize(groups);
    r.chunkErrors.resize((groups + halfQuadraticChunk - 1) / halfQuadraticChunk * 3);
    backend.halfQuadratic(m_view, settings, m_inverse.data(), r.zeros.data(), r.chunkErrors.data(), r.rests.data());
    for (Floats& values : r.values) values.resize(groups * size);
    backend.decodeScaleMinusZero(m_codes.data(), groups, size, m_scale.data(), m_low.data(), r.values[0].data());
    backend.decodeScalePlusBias(m_codes.data(), groups, size, m_scale.data(), m_low.data(), r.values[1].data());
    backend.decodeTable(m_codes.data(), groups, size, m_scale.data(), m_table, r.values[2].data());
    r.sums = backend.errorSums(m_weights.data(), m_near.data(), count);
    r.bins.resize(33), r.histogram.resize(64), r.errorHistogram.resize(64), r.occupancy.resize(256);
    if (!m_shape.columns)
      r.measuredSums = backend.encodeAffineMeasured(m_view, CodeRule::SubtractDivideRound, AffineValue::ScalePlusBias,
                                                    m_scale.data(), m_low.data(), 15, m_scale.data(), r.measured.data(),
                                                    {-0.01f, 0.01f, r.bins});
    backend.histogram(m_weights.data(), count, -0.1f, 0.1f, r.histogram);
    backend.errorHistogram(m_weights.data(), m_near.data(), count, -0.002f, 0.002f, r.errorHistogram);
    backend.occupancy(m_codes.data(), m_codes.size(), r.occupancy);
    r.bad[0] = backend.firstNonFinite(m_weights.data(), count);
    r.bad[1] = backend.firstNonFinite(m_spoiled.data(), count);
    return r;
  }

  // Empty, or what differs.
  [[nodiscard]] std::string differs(const Results& a, const Results& b) const {
    if (!sameBits(a.low, b.low) || !sameBits(a.high, b.high)) return "ranges";
    if (!sameBits(a.affine, b.affine)) return "affine codes";
    if (!sameBits(a.thresholds, b.thresholds)) return "threshold codes";
    if (!sameBits(a.zeros, b.zeros) || !sameBits(a.chunkErrors, b.chunkErrors)) return "half-quadratic";
    for (int i = 0; i < 3; ++i)
      if (!sameBits(a.values[i], b.values[i])) return "values " + std::to_string(i);
    if (!sameBits(a.measured, b.measured) || a.bins != b.bins) return "measured codes or bins";
    if (a.histogram != b.histogram || a.errorHistogram != b.errorHistogram || a.occupancy != b.occupancy) return "counts";
    if (a.bad[0] != b.bad[0] || a.bad[1] != b.bad[1]) return "first non-finite";
    const std::string sums = sumsDiffer(a.sums, b.sums);
    return sums.empty() ? sumsDiffer(a.measuredSums, b.measuredSums) : sums;
  }

 private:
  static std::string sumsDiffer(const ErrorSums& a, const ErrorSums& b) {
    const double errors = std::sqrt(static_cast<double>(a.count) * a.errorSquared);
    const double products = std::sqrt(a.weightSquared * a.errorSquared);
    const auto far = [](double x, double y, double bound) { return !(std::fabs(x - y) <= 1e-12 * bound); };
    if (a.count != b.count || a.maxError != b.maxError) return "count or largest error";
    if (far(a.error, b.error, errors) || far(a.weightError, b.weightError, products)) return "sums of errors";
    return far(a.errorSquared, b.errorSquared, a.errorSquared) || far(a.weightSquared, b.weightSquared, a.weightSquared)
               ? "sums of squares"
               : std::string();
  }

  Shape m_shape;
  Floats m_weights, m_near, m_spoiled, m_low, m_high, m_inverse, m_scale, m_firstZero, m_multiplier, m_thresholds, m_table;
  Bytes m_ranks, m_codes;
  GroupView m_view;
};

struct Device {
  std::shared_ptr<DeviceLedger> ledger = std::make_shared<DeviceLedger>();
  std::unique_ptr<em::DeviceBackend> backend;
  explicit Device(const FakePlan& plan = {}, std::size_t slotBytes = 1 << 20, unsigned count = 3) {
    em::DeviceSettings settings;
    settings.staging = {count, slotBytes, std::min<std::size_t>(slotBytes, 6 << 10)};
    settings.leastWeights = 0;
    backend = std::make_unique<em::DeviceBackend>(std::make_unique<FakeDevice>(plan, ledger), settings);
  }
};

constexpr Shape fewShapes[] = {{6, 40}, {300, 8}, {3, 700}, {5, 33, true}, {1, 5000}, {7, 12, false, 5}};

}  // namespace

class TestCudaBackend : public QObject {
  Q_OBJECT

 private slots:
  void opensAndSaysWhat() {
    const Device device;
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
      const Device device(plan);
      QCOMPARE(device.backend->unusableReason(), std::string_view("there is no such thing"));
      const Case work({6, 40}, 1);
      const std::string differs = work.differs(work.of(hostBackend()), work.of(*device.backend));
      QVERIFY2(differs.empty(), differs.c_str());
      QCOMPARE(device.ledger->launches.load(), std::size_t{0});
      QVERIFY(device.ledger->holdsNothing());
    }
  }

  void stripsOfEverySize() {
    for (const Shape& shape : fewShapes) {
      const Case work(shape, 2);
      const Results host = work.of(hostBackend());
      for (const std::size_t bytes : {8u << 10, 9u << 10, 11u << 10, 16u << 10, 64u << 10, 1u << 20}) {
        const unsigned count = bytes % 3 == 0 ? 1 : 3;
        const Device device({}, bytes, count);
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
      const Shape shape{chance.between(1, 60), someSize(chance, chance.one(4) ? 1100 : 200), columns, columns ? 0 : chance.below(3)};
      const Case work(shape, static_cast<unsigned>(i));
      const Device device({}, chance.between(16 << 10, 300 << 10), static_cast<unsigned>(chance.between(1, 4)));
      const std::string differs = work.differs(work.of(hostBackend()), work.of(*device.backend));
      QVERIFY2(differs.empty(), (differs + ": " + shape.text() + ", case " + std::to_string(i)).c_str());
    }
    emulatorSettings() = {};
  }

  void everyCallFailingOnce() {
    constexpr std::size_t slotBytes = 7 << 10;  // some calls take several strips, some one
    for (const Shape& shape : {Shape{30, 12}, Shape{1, 1500}}) {
      const Case work(shape, 3);
      const Results host = work.of(hostBackend());
      Device whole({}, slotBytes, 2);
      QVERIFY(work.differs(host, work.of(*whole.backend)).empty());
      const std::size_t calls = whole.ledger->calls;
      QVERIFY(calls > 90);
      for (const Fault fault : {Fault::Lost, Fault::NoMemory, Fault::BadCall})
        for (std::size_t call = 1; call <= calls; ++call) {
          FakePlan plan;
          plan.failAt = call;
          plan.fault = fault;
          Device device(plan, slotBytes, 2);
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
    const Case work({30, 20}, 4);
    const Results host = work.of(hostBackend());
    Device whole({}, 9 << 10, 3);
    static_cast<void>(work.of(*whole.backend));
    for (std::size_t call = 1; call <= whole.ledger->calls; ++call) {
      FakePlan plan;
      plan.failAt = call;
      plan.forEver = true;
      Device device(plan, 9 << 10, 3);
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
    const Case work({40, 64}, 5);
    const Device device(plan, 1 << 20, 3);
    const std::string differs = work.differs(work.of(hostBackend()), work.of(*device.backend));
    QVERIFY2(differs.empty(), differs.c_str());
    QVERIFY(device.ledger->launches > 0);
    QVERIFY(device.ledger->mostDeviceBytes <= plan.memoryBytes / 2);
    plan.memoryBytes = 20 << 10;
    const Device tiny(plan, 1 << 20, 3);
    const std::string differsToo = work.differs(work.of(hostBackend()), work.of(*tiny.backend));
    QVERIFY2(differsToo.empty(), differsToo.c_str());
    QCOMPARE(tiny.ledger->launches.load(), std::size_t{0});
    QVERIFY(tiny.backend->notice().find("too little memory") != std::string::npos);
    QVERIFY(tiny.backend->unusableReason().empty());  // there may be more later
  }

  // Sums are added in one order whatever the slots, as long as they hold eight groups.
  void sumsDoNotDependOnMemory() {
    const Case work({512, 64}, 6);
    const Results one = work.of(*Device({}, 1 << 20, 3).backend);
    for (const std::size_t bytes : {96u << 10, 200u << 10, 333u << 10}) {
      const Results other = work.of(*Device({}, bytes, 2).backend);
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
      Device device(plan, 16 << 10, 2);
      std::vector<std::string> differences(5);
      std::vector<std::thread> threads;
      for (std::size_t t = 0; t < differences.size(); ++t)
        threads.emplace_back([&, t] {
          const Case work({20 + t, 60}, static_cast<unsigned>(t));
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
