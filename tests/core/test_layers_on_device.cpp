// SPDX-License-Identifier: GPL-3.0-or-later
// Layers of core over the CUDA backend's own source and kernels, on a device that is none (tests/support/fake_device.h): MBWQ
// and EXL2 layers forward by both paths and backward within the stated bound, with codes that change under training; integer
// products of W8A8 equal to the CPU's; a device that goes missing leaves the CPU's results to the bit.
#include "core/layers/diode_mix.h"
#include "core/layers/integer_rows.h"
#include "core/layers/products.h"
#include "core/tensor/synthetic.h"
#include "tests/support/fake_backend.h"
#include "tests/support/mbwq_layers.h"
#include "tests/support/quantized.h"

#include <QtTest>
#include <cmath>

using namespace nibble;

namespace {

using test::valuesOf;

struct Device : test::FakeBackend {
  Context context;
  explicit Device(const test::FakePlan& plan = {}) : FakeBackend(plan, 64 << 10, 2) { context.backend = backend.get(); }
};

Tensor batch(std::uint64_t tokens, std::uint64_t columns, std::uint64_t seed) {
  return Tensor::fromFloats("x", {tokens, columns}, test::someHalves(tokens * columns, seed));
}

// Against sums in double of what the proof decoder finds.
bool forwardIsRight(const test::HandLayer& hand, const std::vector<float>& x, const std::vector<float>& y) {
  const auto model = test::forwardInDouble(x, test::provenWeights(hand), hand.inputs(), hand.outputs);
  for (std::size_t i = 0; i < y.size(); ++i)
    if (std::fabs(static_cast<double>(y[i]) - model.y[i]) > model.bound[i]) return false;
  return y.size() == model.y.size();
}
bool backwardIsRight(const test::HandLayer& hand, const std::vector<float>& dy, const std::vector<float>& dx) {
  const auto weights = test::provenWeights(hand);
  const std::uint64_t inputs = hand.inputs(), outputs = hand.outputs;
  for (std::size_t i = 0; i < dx.size(); ++i) {
    double sum = 0, magnitude = 0;
    for (std::uint64_t n = 0; n < outputs; ++n) {
      const double product =
          static_cast<double>(dy[i / inputs * outputs + n]) * static_cast<double>(weights[i % inputs * outputs + n]);
      sum += product;
      magnitude += std::fabs(product);
    }
    const double bound = 0x1p-11 * std::fabs(sum) + 0x1p-23 * (static_cast<double>(outputs) / 2 + 8) * magnitude + 0x1p-25;
    if (std::fabs(static_cast<double>(dx[i]) - sum) > bound) return false;
  }
  return !dx.empty();
}

const std::vector<test::HandGroup> allWidths{{8, 32}, {6, 64}, {5, 32}, {4, 64}, {3, 32}, {2, 64}};

}  // namespace

class TestLayersOnDevice : public QObject {
  Q_OBJECT

 private slots:
  void forwardByBothPaths_data() {
    QTest::addColumn<bool>("mixed");
    QTest::addColumn<int>("tokens");
    for (const int tokens : {1, 3, 20, 70}) {
      QTest::addRow("mixed, %d", tokens) << true << tokens;
      QTest::addRow("uniform, %d", tokens) << false << tokens;
    }
  }
  void forwardByBothPaths() {
    QFETCH(bool, mixed);
    QFETCH(int, tokens);
    const auto hand = mixed ? test::handLayer(70, allWidths, 5, true) : test::handLayer(37, {{4, 128}, {4, 128}}, 6, false);
    const Tensor x = batch(static_cast<std::uint64_t>(tokens), hand.inputs(), 7);
    for (const MbwqPath path : {MbwqPath::Packed, MbwqPath::Reconstructed}) {
      const Device device;
      const MbwqLayer layer = mixed ? test::mixedLayer(hand) : test::uniformLayer(hand);
      const auto y = valuesOf(layer.forward(x, device.context, path));
      QVERIFY(forwardIsRight(hand, *x.readAll(), y));
      QVERIFY2(device.backend->notice().empty(), device.backend->notice().c_str());
      QVERIFY(device.ledger->launches > 0);
    }
  }

  void backwardAndItsGradients() {
    for (const std::uint64_t tokens : {2u, 33u, 80u}) {
      const auto hand = test::handLayer(70, allWidths, 8, true);
      const Device device;
      MbwqLayer layer = test::mixedLayer(hand), onCpu = layer;
      const Tensor x = batch(tokens, hand.inputs(), 9), dy = batch(tokens, 70, 10);
      const auto dx = valuesOf(layer.backward(x, dy, device.context));
      QVERIFY(backwardIsRight(hand, *dy.readAll(), dx));
      QVERIFY2(device.ledger->launches > 0 && device.backend->notice().empty(), device.backend->notice().c_str());
      QVERIFY(onCpu.backward(x, dy, {}).has_value());
      QVERIFY(layer.privilegedGradient() == onCpu.privilegedGradient());  // the CPU's loops on every backend
    }
  }

  // What a device holds is what the layer has: copies share it, changed codes and buffers come anew.
  void changedCodesAreHeldAnew() {
    const Device device;
    const auto hand = test::handLayer(36, allWidths, 11, true);
    MbwqLayer layer = test::mixedLayer(hand);
    const MbwqLayer before = layer;
    const Tensor x = batch(6, hand.inputs(), 12), dy = batch(6, 36, 13);
    const auto first = valuesOf(layer.forward(x, device.context));
    const long held = device.ledger->memory;
    QVERIFY(valuesOf(before.forward(x, device.context)) == first);
    QCOMPARE(device.ledger->memory.load(), held);
    QVERIFY(layer.backward(x, dy, device.context).has_value());
    DiodeMix training({.learningRate = 0.05});
    const auto step = training.step(layer, device.context);
    QVERIFY(step && step->flipped > 0);
    const auto after = valuesOf(layer.forward(x, device.context)), expected = valuesOf(layer.forward(x, {}));
    const auto old = valuesOf(before.forward(x, {}));
    double change = 0, error = 0;
    for (std::size_t i = 0; i < after.size(); ++i) {
      change += std::fabs(static_cast<double>(after[i] - old[i]));
      error += std::fabs(static_cast<double>(after[i] - expected[i]));
    }
    QVERIFY(error < 0.01 * change);
    QVERIFY(valuesOf(before.forward(x, device.context)) == first);
  }

  void layersGiveBackWhatTheyHeld() {
    Device device;
    {
      const MbwqLayer layer = test::mixedLayer(test::goldenLayer());
      QVERIFY(layer.forward(batch(1, 256, 1), device.context).has_value());
      QVERIFY(device.ledger->memory > 0);
    }
    device.backend.reset();
    QVERIFY(device.ledger->holdsNothing());
  }

  // Wherever it goes missing: the bits are the device's or, from there on, the CPU's.
  void aLostDevice() {
    const auto hand = test::handLayer(36, allWidths, 14, true);
    const Tensor x = batch(9, hand.inputs(), 15), dy = batch(9, 36, 16);
    MbwqLayer onCpu = test::mixedLayer(hand);
    const auto y = valuesOf(onCpu.forward(x, {})), dx = valuesOf(onCpu.backward(x, dy, {}));
    for (std::size_t call = 2; call < 60; call += 3) {
      test::FakePlan plan;
      plan.failAt = call;
      plan.forEver = true;
      Device device(plan);
      MbwqLayer layer = test::mixedLayer(hand);
      const auto found = valuesOf(layer.forward(x, device.context));
      QVERIFY(forwardIsRight(hand, *x.readAll(), found));
      const bool lost = !device.backend->unusableReason().empty();
      if (lost) QVERIFY(found == y);
      const auto gradient = valuesOf(layer.backward(x, dy, device.context));
      QVERIFY(backwardIsRight(hand, *dy.readAll(), gradient));
      if (lost) QVERIFY(gradient == dx);
      if (lost) QVERIFY(device.backend->notice().find("the CPU goes on") != std::string::npos);
    }
  }

  void integerProductsAreTheCpus() {
    const Tensor w = syntheticTensor(Distribution::HeavyTail, {70, 200}, 17),
                 x = syntheticTensor(Distribution::HeavyTail, {33, 200}, 18);
    for (const std::string symmetric : {"true", "false"}) {
      const auto weights = test::quantized(w, "uniform:params=f32,granularity=channel");
      const auto inputs = test::quantized(x, "uniform:params=f32,kind=activation,granularity=token,symmetric=" + symmetric);
      const std::vector<float> bias(70, 0.25f);
      const Device device;
      const auto onDevice = quantizedProduct(inputs, weights, bias, device.context),
                 onCpu = quantizedProduct(inputs, weights, bias, {});
      QVERIFY(onDevice && onCpu && onDevice->integer);
      QVERIFY(onDevice->outputs == onCpu->outputs);
      QVERIFY2(device.ledger->launches > 0 && device.backend->notice().empty(), device.backend->notice().c_str());
    }
  }
};

QTEST_APPLESS_MAIN(TestLayersOnDevice)
#include "test_layers_on_device.moc"
