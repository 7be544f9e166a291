// SPDX-License-Identifier: GPL-3.0-or-later
#include "core/tensor/tensor.h"

#include <QTest>

#include <array>
#include <span>

using namespace nibble;

class TestTensor : public QObject {
  Q_OBJECT
 private slots:
  void shapesCountAsMatrices() {
    struct Case {
      Shape shape;
      std::uint64_t size, rows, columns;
      const char* text;
    };
    const std::vector<Case> cases{{{}, 1, 1, 1, "scalar"},
                                  {{5}, 5, 1, 5, "5"},
                                  {{384, 1536}, 589824, 384, 1536, "384 x 1536"},
                                  {{2, 3, 1, 4, 5}, 120, 24, 5, "2 x 3 x 1 x 4 x 5"},
                                  {{0}, 0, 1, 0, "0"},
                                  {{0, 4}, 0, 0, 4, "0 x 4"},
                                  {{3, 0}, 0, 3, 0, "3 x 0"}};
    for (const Case& c : cases) {
      const Tensor tensor = Tensor::fromFloats("t", c.shape, std::vector<float>(c.size, 1.0f));
      QCOMPARE(tensor.size(), c.size);
      QCOMPARE(tensor.rows(), c.rows);
      QCOMPARE(tensor.columns(), c.columns);
      QCOMPARE(toText(tensor.shape()), std::string(c.text));
      QCOMPARE(tensor.readAll()->size(), c.size);
    }
  }

  void storedBytesAreChecked() {
    QCOMPARE(*storedBytes(DType::F32, {}), std::uint64_t{4});
    QCOMPARE(*storedBytes(DType::F4, {3, 2}), std::uint64_t{3});
    QCOMPARE(*storedBytes(DType::F6E2M3, {4}), std::uint64_t{3});
    QVERIFY(!storedBytes(DType::F4, {3}));
    QVERIFY(!storedBytes(DType::F32, {std::uint64_t{1} << 32, std::uint64_t{1} << 32, 4}));
    QVERIFY(!storedBytes(DType::F32, {std::uint64_t{1} << 62}));
    QCOMPARE(*storedBytes(DType::F32, {0, ~std::uint64_t{0}, ~std::uint64_t{0}}), std::uint64_t{0});
  }

  void partsAreReadAndRangesRefused() {
    const Tensor tensor = Tensor::fromFloats("layer.weight", {2, 3}, {1, 2, 3, 4, 5, 6});
    std::array<float, 2> out{};
    QVERIFY(tensor.read(3, out));
    QCOMPARE(out[0], 4.0f);
    QCOMPARE(out[1], 5.0f);
    QVERIFY(tensor.read(6, {}));
    const Status past = tensor.read(5, out);
    QVERIFY(!past);
    QCOMPARE(past.error().message, std::string("layer.weight: elements 5 to 7 asked of 6"));
    QVERIFY(!tensor.read(~std::uint64_t{0}, out));
  }

  void floatsOnlyWhereAlignedFloat32() {
    QVERIFY(Tensor::fromFloats("t", {2}, {1, 2}).floats());
    auto bytes = std::make_shared<std::array<std::byte, 16>>();
    const std::span<const std::byte> view(*bytes);
    QVERIFY(!Tensor("t", DType::F32, {2}, view.subspan(1), bytes).floats());
    QVERIFY(!Tensor("t", DType::I32, {2}, view, bytes).floats());
    QCOMPARE(Tensor("t", DType::F32, {2}, view.subspan(4), bytes).floats()->size(), std::size_t{2});
  }

  void theOwnerLivesAsLongAsTheTensor() {
    auto bytes = std::make_shared<std::array<std::byte, 4>>();
    const std::weak_ptr<const void> watch = bytes;
    {
      const std::span<const std::byte> all = *bytes;
      const Tensor copy("t", DType::F32, {1}, all, std::move(bytes));
      QVERIFY(!watch.expired());
    }
    QVERIFY(watch.expired());
  }

  void lostBytesAreAnErrorThatNamesTheTensor() {
    bool lost = false;
    const auto intact = [&]() -> Status { return lost ? Status(fail("file.safetensors: shrank")) : Status(); };
    auto bytes = std::make_shared<std::array<std::byte, 4>>();
    const Tensor tensor("layer.weight", DType::F32, {1}, *bytes, bytes, intact);
    QVERIFY(tensor.readAll());
    lost = true;
    QCOMPARE(tensor.readAll().error().message, std::string("layer.weight: file.safetensors: shrank"));
    QVERIFY(!tensor.intact());
  }
};

QTEST_APPLESS_MAIN(TestTensor)
#include "test_tensor.moc"
