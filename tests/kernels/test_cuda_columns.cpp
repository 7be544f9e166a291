// SPDX-License-Identifier: GPL-3.0-or-later
// Products on weights packed down their columns (EXL2, MBWQ), the kernels' own sources under the emulator: decoded halves equal
// to a literal decoder's, forward and backward products within the stated bound of sums in double, over mixed widths, orders,
// odd numbers of columns and pointers; the list of tiles; the golden mixed layer of the specification.
#include "kernels/cuda/columns.h"
#include "kernels/cuda/large_product.h"
#include "tests/support/column_cases.h"
#include "tests/support/fake_device.h"

#include <QtTest>

using namespace nibble::kernels;
using namespace nibble::test;

namespace {

struct DeviceLayer {
  DeviceArray<std::uint32_t> words, order;
  DeviceArray<std::uint16_t> scales, zeros;
  DeviceArray<em::ColumnTile> tiles;
  DeviceArray<em::TileRun> runs;
  em::PackedColumns packed;
  explicit DeviceLayer(const Layer& layer, std::size_t shift = 0)
      : words("words", layer.words, shift),
        order("order", layer.order),
        scales("scales", layer.scales, shift),
        zeros("zeros", layer.zeros),
        tiles("tiles", layer.list.tiles),
        runs("runs", layer.list.runs),
        packed{words.data(),
               scales.data(),
               zeros.data(),
               layer.order.empty() ? nullptr : order.data(),
               tiles.data(),
               runs.data(),
               layer.list.tiles.size(),
               layer.list.runs.size(),
               layer.outputs} {}
};

std::uint64_t fnv(const void* bytes, std::size_t count) {
  std::uint64_t hash = 1469598103934665603u;
  for (std::size_t i = 0; i < count; ++i) hash = (hash ^ static_cast<const unsigned char*>(bytes)[i]) * 1099511628211u;
  return hash;
}

}  // namespace

#define RUN(call)                                                                   \
  do {                                                                              \
    const Outcome outcome = (call);                                                 \
    QVERIFY2(outcome.ok(), outcome.detail.c_str());                                 \
    const Outcome done = stream.wait();                                             \
    QVERIFY2(done.ok(), (done.detail + " with " + textOf(layer, rows, i)).c_str()); \
  } while (false)

class TestCudaColumns : public QObject {
  Q_OBJECT

  EmulatedStream stream;

 private slots:
  void cleanup() { emulatorSettings() = {}; }

  void goldenMixedLayer() {
    Layer layer;
    layer.outputs = 32;
    layer.groups = {{8, 32}, {6, 32}, {5, 32}, {4, 64}, {3, 32}, {2, 64}};
    layer.pack(3);
    layer.codes.resize(256 * 32);
    layer.order.resize(256);
    for (std::size_t k = 0; k < 256; ++k) {
      layer.order[k] = static_cast<std::uint32_t>((29 * k + 11) % 256);
      const unsigned bits = layer.groups[layer.groupOf[k]].bits;
      for (std::size_t n = 0; n < 32; ++n)
        layer.codes[k * 32 + n] = static_cast<std::uint8_t>((7 * k + 3 * n + k * n) % (1u << bits));
    }
    for (unsigned g = 0; g < 6; ++g)
      for (unsigned n = 0; n < 32; ++n) {
        const unsigned c = (5 * g + n) % 16;
        const std::uint16_t pre = floatToHalf(halfToFloat(static_cast<std::uint16_t>(0x1c00 + 0x111 * g)) * (1.0f / 256.0f));
        const std::uint16_t scale = floatToHalf(static_cast<float>((c + 1) * (c + 1)) * halfToFloat(pre));
        layer.scales.push_back(scale);
        layer.zeros.push_back(floatToHalf(halfToFloat(scale) * static_cast<float>(1u << (layer.groups[g].bits - 1))));
      }
    layer.fill();
    QCOMPARE(fnv(layer.words.data(), layer.words.size() * 4), std::uint64_t{0xdef776056597cacf});
    const DeviceLayer device(layer);
    DeviceArray<std::uint16_t> out("weights", 256 * 32);
    const std::size_t rows = 0;
    const int i = 0;
    RUN(em::launchDecodeColumns(device.packed, out.data(), stream.handle()));
    Halves weights = out.values();
    for (auto& half : weights) half = half == 0x8000 ? 0 : half;
    QCOMPARE(fnv(weights.data(), weights.size() * 2), std::uint64_t{0x8c6d3406250a04f2});
    QCOMPARE(weights[11 * 32 + 7], std::uint16_t{0xaeb0});
  }

  void decode() {
    for (int i = 0; i < caseCount(); ++i) {
      Chance chance(static_cast<unsigned>(i));
      emulatorSettings().seed = static_cast<unsigned>(i % 4);
      const Layer layer = someLayer(chance, 10);
      const DeviceLayer device(layer, chance.below(2));
      DeviceArray<std::uint16_t> out("weights", layer.inputs * layer.outputs);
      const std::size_t rows = 0;
      RUN(em::launchDecodeColumns(device.packed, out.data(), stream.handle()));
      for (std::size_t k = 0; k < layer.inputs; ++k)
        for (std::size_t n = 0; n < layer.outputs; ++n)
          QCOMPARE(halfToFloat(out.data()[(layer.order.empty() ? k : layer.order[k]) * layer.outputs + n]), layer.weight(k, n));
    }
  }

  // Many rows: decoded once, multiplied by a library.
  void largeProduct() {
    for (int i = 0; i < (caseCount() + 3) / 4; ++i) {
      Chance chance(static_cast<unsigned>(i));
      const Layer layer = someLayer(chance, 4);
      const DeviceLayer device(layer);
      const std::size_t rows = chance.between(1, 80);
      const bool withBias = chance.one(2);
      Floats x(rows * layer.inputs), dy(rows * layer.outputs), bias(withBias ? layer.outputs : 0);
      for (auto* numbers : {&x, &dy, &bias})
        for (float& number : *numbers) number = chance.normal();
      const DeviceArray<float> dx("x", x), ddy("dy", dy), db("bias", bias);
      DeviceArray<float> y("y", dy.size()), parts("parts", dy.size()), back("dx", x.size());
      DeviceArray<std::uint16_t> halves("halves", em::largeHalves(device.packed, rows));
      const auto gemm = plainGemm(), broken = plainGemm(Fault::NoMemory);
      RUN(em::launchLargeProduct(device.packed, dx.data(), rows, withBias ? db.data() : nullptr, *gemm, halves.data(),
                                 parts.data(), y.data(), stream.handle()));
      QVERIFY2(forwardHolds(layer, x, rows, bias, true, y.values()), textOf(layer, rows, i).c_str());
      RUN(em::launchLargeBackward(device.packed, ddy.data(), rows, *gemm, halves.data(), back.data(), stream.handle()));
      QVERIFY2(backwardHolds(layer, dy, rows, back.values()), textOf(layer, rows, i).c_str());
      QVERIFY(em::launchLargeProduct(device.packed, dx.data(), rows, nullptr, *broken, halves.data(), parts.data(), y.data(),
                                     stream.handle())
                  .fault == Fault::NoMemory);
      QVERIFY(stream.wait().ok());
    }
  }

  void vectorProduct() {
    for (int i = 0; i < caseCount(); ++i) {
      Chance chance(static_cast<unsigned>(i));
      emulatorSettings().seed = static_cast<unsigned>(i % 4);
      const Layer layer = someLayer(chance, 10);
      const DeviceLayer device(layer, chance.one(4) ? 1 : 0);
      const std::size_t rows = chance.between(1, 4);
      Floats x(rows * layer.inputs), bias(chance.one(2) ? layer.outputs : 0);
      for (auto* numbers : {&x, &bias})
        for (float& number : *numbers) number = chance.normal();
      const DeviceArray<float> dx("x", x), db("bias", bias);
      DeviceArray<float> y("y", rows * layer.outputs), scratch("parts", em::productScratch(device.packed, rows));
      RUN(em::launchVectorProduct(device.packed, dx.data(), rows, bias.empty() ? nullptr : db.data(), scratch.data(), y.data(),
                                  stream.handle()));
      QVERIFY2(forwardHolds(layer, x, rows, bias, false, y.values()), textOf(layer, rows, i).c_str());
    }
  }

  void skinnyProduct() {
    for (int i = 0; i < caseCount(); ++i) {
      Chance chance(static_cast<unsigned>(i));
      emulatorSettings().seed = static_cast<unsigned>(i % 4);
      const Layer layer = someLayer(chance, 10);
      const DeviceLayer device(layer, chance.one(4) ? 1 : 0);
      const std::size_t rows = chance.one(4) ? chance.between(33, 64) : chance.between(1, 20);
      Floats x(rows * layer.inputs), bias(chance.one(2) ? layer.outputs : 0);
      for (auto* numbers : {&x, &bias})
        for (float& number : *numbers) number = chance.normal();
      const DeviceArray<float> dx("x", x), db("bias", bias);
      DeviceArray<std::uint16_t> halves("halves", em::skinnyHalves(device.packed, rows));
      DeviceArray<float> y("y", rows * layer.outputs), scratch("parts", em::productScratch(device.packed, rows));
      RUN(em::launchSkinnyProduct(device.packed, dx.data(), rows, bias.empty() ? nullptr : db.data(), halves.data(),
                                  scratch.data(), y.data(), stream.handle()));
      QVERIFY2(forwardHolds(layer, x, rows, bias, true, y.values()), textOf(layer, rows, i).c_str());
    }
  }

  void backwardProduct() {
    for (int i = 0; i < caseCount(); ++i) {
      Chance chance(static_cast<unsigned>(i));
      emulatorSettings().seed = static_cast<unsigned>(i % 4);
      const Layer layer = someLayer(chance, 6);
      const DeviceLayer device(layer, chance.one(4) ? 1 : 0);
      const std::size_t rows = chance.one(4) ? chance.between(33, 64) : chance.between(1, 20);
      Floats dy(rows * layer.outputs);
      for (float& number : dy) number = chance.normal();
      const DeviceArray<float> ddy("dy", dy);
      DeviceArray<std::uint16_t> halves("halves", em::backwardHalves(device.packed, rows));
      DeviceArray<float> dx("dx", rows * layer.inputs), scratch("parts", em::backwardScratch(device.packed, rows));
      RUN(em::launchBackwardProduct(device.packed, ddy.data(), rows, halves.data(), scratch.data(), dx.data(),
                                    stream.handle()));
      QVERIFY2(backwardHolds(layer, dy, rows, dx.values()), textOf(layer, rows, i).c_str());
    }
  }

  void runsHaveEqualBytes() {
    em::TileList list;
    const std::vector<em::ColumnGroup> groups(64, {4, 128});
    QVERIFY(em::tileList(groups, 16, &list).ok());
    QCOMPARE(list.tiles.size(), std::size_t{256});
    QCOMPARE(list.wordRows, std::size_t{1024});
    QCOMPARE(list.runs.size(), std::size_t{16});
    std::uint32_t next = 0;
    for (const em::TileRun& run : list.runs) {
      QCOMPARE(run.v[0], next);
      QCOMPARE(run.v[0] % 4, 0u);  // begins where a group does
      QCOMPARE(run.v[1] - run.v[0], 16u);
      next = run.v[1];
    }
    QCOMPARE(next, 256u);
    for (int i = 0; i < 300; ++i) {
      Chance chance(static_cast<unsigned>(i));
      const Layer layer = someLayer(chance, 40);
      std::uint32_t end = 0;
      for (const em::TileRun& run : layer.list.runs) {
        QCOMPARE(run.v[0], end);
        QVERIFY(run.v[1] > run.v[0]);
        end = run.v[1];
      }
      QCOMPARE(std::size_t{end}, layer.list.tiles.size());
    }
    QVERIFY(!em::tileList(std::vector<em::ColumnGroup>{{7, 32}}, 1, &list).ok());
    QVERIFY(!em::tileList(std::vector<em::ColumnGroup>{{4, 48}}, 1, &list).ok());
    QVERIFY(!em::tileList(std::vector<em::ColumnGroup>{{4, 0}}, 1, &list).ok());
  }
};

QTEST_APPLESS_MAIN(TestCudaColumns)
#include "test_cuda_columns.moc"
