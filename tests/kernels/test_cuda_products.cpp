// SPDX-License-Identifier: GPL-3.0-or-later
// What a device multiplies by itself (kernels/products.h), the sources of program and kernels over a device that is none:
// integer products equal to the host's, products on held columns within their bound, in strips of every size, with a library
// for many rows and without; whichever call fails, a product is right or says that it was not done.
#include "kernels/cuda/integer_product.h"
#include "kernels/linear.h"
#include "tests/support/column_cases.h"
#include "tests/support/fake_backend.h"
#include "tests/support/gpu_table.h"

#include <QtTest>
#include <thread>

using namespace nibble::kernels;
using namespace nibble::test;

namespace {

std::unique_ptr<const ColumnProducts> hold(const FakeBackend& device, const ColumnWeights& weights) {
  const Products* products = device.backend->products();
  return products != nullptr ? products->hold(weights) : nullptr;
}

ColumnWeights weightsOf(const Layer& layer) {
  return {.outputs = layer.outputs,
          .groups = layer.groups,
          .words = std::as_bytes(std::span(layer.words)),
          .scales = std::as_bytes(std::span(layer.scales)),
          .zeros = std::as_bytes(std::span(layer.zeros)),
          .order = layer.order};
}

struct Numbers {
  std::size_t rows;
  Floats x, dy, bias, y, dx;
  Numbers(Chance& chance, const Layer& layer, std::size_t rows, bool withBias)
      : rows(rows),
        x(rows * layer.inputs),
        dy(rows * layer.outputs),
        bias(withBias ? layer.outputs : 0),
        y(dy.size()),
        dx(x.size()) {
    for (auto* numbers : {&x, &dy, &bias})
      for (float& number : *numbers) number = chance.normal();
  }
  bool multiply(const ColumnProducts& held, ProductPath path) {
    return held.multiply(x.data(), rows, bias.empty() ? nullptr : bias.data(), path, y.data());
  }
  bool multiplyBack(const ColumnProducts& held) { return held.multiplyBack(dy.data(), rows, dx.data()); }
};

struct Bytes {
  std::size_t aRows, bRows, columns;
  std::vector<std::int8_t> a, b;
  std::vector<std::int32_t> out, expected;
  Bytes(Chance& chance, std::size_t aRows, std::size_t bRows, std::size_t columns)
      : aRows(aRows),
        bRows(bRows),
        columns(columns),
        a(aRows * columns),
        b(bRows * columns),
        out(aRows * bRows),
        expected(out.size()) {
    const bool least = chance.one(4);
    for (auto* codes : {&a, &b})
      for (std::int8_t& code : *codes)
        code = static_cast<std::int8_t>(least ? -128 : static_cast<int>(chance.below(256)) - 128);
    hostLinearLoops().integerProducts(a.data(), aRows, b.data(), bRows, columns, expected.data());
  }
  bool multiply(const Products* products) {
    return products != nullptr && products->integerProducts(a.data(), aRows, b.data(), bRows, columns, out.data());
  }
  [[nodiscard]] std::string text() const {
    return std::to_string(aRows) + " by " + std::to_string(bRows) + " rows of " + std::to_string(columns);
  }
};

}  // namespace

class TestCudaProducts : public QObject {
  Q_OBJECT

 private slots:
  void cleanup() { emulatorSettings() = {}; }

  void integerKernel() {
    EmulatedStream stream;
    for (int i = 0; i < caseCount(); ++i) {
      Chance chance(static_cast<unsigned>(i));
      emulatorSettings().seed = static_cast<unsigned>(i % 4);
      Bytes work(chance, someSize(chance, 150), someSize(chance, 150), 64 * chance.between(1, 7));
      const std::size_t step = work.bRows + chance.below(3);
      const DeviceArray<std::int8_t> a("a", work.a), b("b", work.b);
      DeviceArray<std::int32_t> out("out", work.aRows * step);
      const Outcome outcome = em::launchIntegerProducts(a.data(), work.aRows, b.data(), work.bRows, work.columns, out.data(),
                                                        step, stream.handle());
      QVERIFY2(outcome.ok(), outcome.detail.c_str());
      const Outcome done = stream.wait();
      QVERIFY2(done.ok(), (done.detail + ": " + work.text()).c_str());
      for (std::size_t r = 0; r < work.aRows; ++r)
        for (std::size_t s = 0; s < work.bRows; ++s)
          QVERIFY2(out.data()[r * step + s] == work.expected[r * work.bRows + s], work.text().c_str());
    }
    const DeviceArray<std::int8_t> a("a", std::vector<std::int8_t>(256));
    DeviceArray<std::int32_t> out("out", 4);
    QVERIFY(!em::launchIntegerProducts(a.data(), 2, a.data(), 2, 100, out.data(), 2, stream.handle()).ok());
    QVERIFY(!em::launchIntegerProducts(a.data() + 4, 1, a.data(), 1, 64, out.data(), 1, stream.handle()).ok());
  }

  void integersInStrips() {
    for (int i = 0; i < (caseCount() + 1) / 2; ++i) {
      Chance chance(static_cast<unsigned>(i));
      Bytes work(chance, someSize(chance, 200), someSize(chance, 200), someSize(chance, 300));
      const FakeBackend device({}, chance.between(70 << 10, 200 << 10), static_cast<unsigned>(chance.between(1, 3)));
      QVERIFY2(work.multiply(device.backend->products()), (device.backend->notice() + ": " + work.text()).c_str());
      QVERIFY2(work.out == work.expected, work.text().c_str());
      QVERIFY(device.ledger->launches > 0 && device.backend->notice().empty());
    }
    Chance chance(1);
    Bytes wide(chance, 3, 5, 9000);
    const FakeBackend small({}, 64 << 10);
    QVERIFY(!wide.multiply(small.backend->products()));
    QVERIFY(small.backend->notice().find("do not fit") != std::string::npos);
  }

  void columnsInStrips() {
    for (int i = 0; i < (caseCount() + 1) / 2; ++i) {
      Chance chance(static_cast<unsigned>(i));
      emulatorSettings().seed = static_cast<unsigned>(i % 4);
      const Layer layer = someLayer(chance, 16);
      FakePlan plan;
      plan.hasGemm = !chance.one(3);
      const FakeBackend device(plan, chance.between(8 << 10, 60 << 10), static_cast<unsigned>(chance.between(1, 3)));
      const auto held = hold(device, weightsOf(layer));
      QVERIFY2(held != nullptr, device.backend->notice().c_str());
      Numbers work(chance, layer, chance.one(3) ? chance.between(60, 90) : chance.between(1, 20), chance.one(2));
      const auto path = chance.one(3) ? ProductPath::Decoded : ProductPath::Packed;
      const bool rounds = work.rows > em::mostVectorRows || (path == ProductPath::Decoded && plan.hasGemm);
      QVERIFY2(work.multiply(*held, path), device.backend->notice().c_str());
      QVERIFY2(forwardHolds(layer, work.x, work.rows, work.bias, rounds, work.y), textOf(layer, work.rows, i).c_str());
      QVERIFY2(work.multiplyBack(*held), device.backend->notice().c_str());
      QVERIFY2(backwardHolds(layer, work.dy, work.rows, work.dx), textOf(layer, work.rows, i).c_str());
      QVERIFY(device.backend->notice().empty());
    }
  }

  // A row has the same sums in strips of any size.
  void sumsDoNotDependOnStrips() {
    Chance chance(3);
    const Layer layer = someLayer(chance, 6);
    Numbers work(chance, layer, 40, true);
    Floats y, dx;
    for (const std::size_t bytes : {std::size_t{12} << 10, std::size_t{33} << 10, std::size_t{1} << 20}) {
      const FakeBackend device({}, bytes);
      const auto held = hold(device, weightsOf(layer));
      QVERIFY(held != nullptr && work.multiply(*held, ProductPath::Packed) && work.multiplyBack(*held));
      if (!y.empty()) QVERIFY(work.y == y && work.dx == dx);
      y = work.y;
      dx = work.dx;
    }
  }

  void whatIsNotHeld() {
    Chance chance(5);
    const Layer layer = someLayer(chance, 3);
    FakePlan plan;
    plan.opening = Fault::NoDevice;
    const FakeBackend none(plan);
    QVERIFY(none.backend->products() == nullptr);
    QVERIFY(none.ledger->holdsNothing());

    const FakeBackend device;
    ColumnWeights wrong = weightsOf(layer);
    wrong.words = wrong.words.subspan(4);
    QVERIFY(hold(device, wrong) == nullptr);
    QVERIFY(device.backend->notice().find("do not fit together") != std::string::npos);
    const FakeBackend other;
    const ColumnGroup seven[] = {{7, 32}};
    wrong = weightsOf(layer);
    wrong.groups = seven;
    QVERIFY(hold(other, wrong) == nullptr);
    QVERIFY(other.backend->notice().find("7 bits") != std::string::npos);

    plan = {};
    plan.memoryBytes = 40 << 10;  // enough for slots, not for the weights
    const Layer large = [&chance] {
      Layer each = someLayer(chance, 4);
      while (each.words.size() * 4 < 40 << 10) each = someLayer(chance, 20);
      return each;
    }();
    FakeBackend full(plan, 8 << 10, 1);
    QVERIFY(hold(full, weightsOf(large)) == nullptr);
    QVERIFY(full.backend->notice().find("the device is full") != std::string::npos);
    full.backend.reset();
    QVERIFY(full.ledger->holdsNothing());
  }

  void everyCallFailing() {
    Chance chance(8);
    const Layer layer = someLayer(chance, 4);
    Numbers work(chance, layer, 70, true);
    Bytes bytes(chance, 70, 90, 200);
    for (const Fault fault : {Fault::None, Fault::Lost, Fault::NoMemory}) {
      static std::size_t calls = 1;
      const std::size_t step = caseCount() >= 1000 ? 1 : 7;
      for (std::size_t call = 1; call <= calls; call += step) {
        FakePlan plan;
        plan.failAt = fault == Fault::None ? 0 : call;
        plan.fault = fault;
        plan.forEver = fault == Fault::Lost;
        plan.hasGemm = call % 2 == 0;
        FakeBackend device(plan, 60 << 10, 2);
        const std::string text = "call " + std::to_string(call) + " of " + std::to_string(calls);
        auto held = hold(device, weightsOf(layer));
        const bool forward = held != nullptr && work.multiply(*held, ProductPath::Packed);
        const bool back = held != nullptr && work.multiplyBack(*held);
        const bool integers = bytes.multiply(device.backend->products());
        if (forward) QVERIFY2(forwardHolds(layer, work.x, work.rows, work.bias, true, work.y), text.c_str());
        if (back) QVERIFY2(backwardHolds(layer, work.dy, work.rows, work.dx), text.c_str());
        if (integers) QVERIFY2(bytes.out == bytes.expected, text.c_str());
        if (fault == Fault::None) {
          QVERIFY(forward && back && integers);
          calls = device.ledger->calls;
        } else {
          const bool said = !device.backend->notice().empty() || !device.backend->unusableReason().empty();
          QVERIFY2(said || (forward && back && integers), text.c_str());
        }
        held.reset();
        device.backend.reset();
        QVERIFY2(device.ledger->holdsNothing(), text.c_str());
      }
      QVERIFY(calls > 40);
    }
  }

  // What times the kernels where there is a device (test_gpu_table), without the clock.
  void theTableOfTimes() {
    auto ledger = std::make_shared<DeviceLedger>();
    FakeDevice device({}, ledger);
    DeviceFacts facts;
    QVERIFY(device.open(&facts).ok());
    em::TimingTable table;
    const Outcome outcome =
        em::timingTable(device, facts, {.side = 256, .coldBytes = 40 << 10, .repeats = 1, .timed = false}, &table);
    QVERIFY2(outcome.ok(), outcome.detail.c_str());
    QCOMPARE(table.rows.size(), std::size_t{7 * 6 + 3});
    std::size_t checked = 0;
    for (const em::TimingRow& row : table.rows) {
      QVERIFY2(row.worst <= 1 && row.bytes > 0, row.name.c_str());
      checked += row.checked;
    }
    QVERIFY(checked > 7 * 40 * 85);
    QVERIFY(ledger->holdsNothing());
  }

  void manyThreads() {
    Chance chance(9);
    const Layer layer = someLayer(chance, 4);
    const FakeBackend device({}, 30 << 10, 2);
    const auto held = hold(device, weightsOf(layer));
    QVERIFY(held != nullptr);
    std::vector<Numbers> works;
    for (int t = 0; t < 4; ++t) works.emplace_back(chance, layer, 5 + 20 * t, t % 2 == 0);
    std::vector<int> right(works.size());
    std::vector<std::thread> threads;
    for (std::size_t t = 0; t < works.size(); ++t)
      threads.emplace_back([&, t] {
        Numbers& work = works[t];
        right[t] = work.multiply(*held, ProductPath::Packed) && work.multiplyBack(*held) &&
                   forwardHolds(layer, work.x, work.rows, work.bias, true, work.y) &&
                   backwardHolds(layer, work.dy, work.rows, work.dx);
      });
    for (std::thread& thread : threads) thread.join();
    for (const int each : right) QCOMPARE(each, 1);
  }
};

QTEST_APPLESS_MAIN(TestCudaProducts)
#include "test_cuda_products.moc"
