// SPDX-License-Identifier: GPL-3.0-or-later
// How an MBWQ layer comes to be: the reference's defaults and buffer shapes, and what constructor and loading refuse, by the layer's
// and the buffer's name.
#include "tests/support/mbwq_layers.h"

#include <QtTest>

#include <cstring>
#include <map>

using namespace nibble;

class TestMbwqLoading : public QObject {
  Q_OBJECT
 private slots:
  void defaults() {
    const MbwqSettings settings{.inputs = 128, .outputs = 96};
    const auto layer = MbwqLayer::create("m", settings);
    QVERIFY(layer.has_value());
    std::map<std::string, Shape> shapes;
    for (const RawTensor& array : layer->state()) shapes[array.name] = array.shape;
    QCOMPARE(shapes["qweight"], (Shape{64, 96}));
    QCOMPARE(shapes["scales"], (Shape{64, 96}));
    QCOMPARE(shapes["q_groups"], (Shape{128}));
    QCOMPARE(shapes["q_perm"], (Shape{128}));
    QCOMPARE(shapes["channel_scale"], (Shape{1, 1, 128}));
    QCOMPARE(shapes["qstatistic"], (Shape{1, 1, 96}));
    QCOMPARE(shapes["g_idx"], (Shape{128}));
    QCOMPARE(shapes["wf"], (Shape{1, 8}));
    QVERIFY(!shapes.contains("bias"));
    MbwqSettings flat = settings;
    flat.mixed = false;
    flat.weightBits = 2;
    flat.groupSize = 32;
    flat.doubleGroupSize = 32;
    const auto uniform = MbwqLayer::create("m", flat);
    for (const RawTensor& array : uniform->state()) shapes[array.name] = array.shape;
    QCOMPARE(shapes["qweight"], (Shape{8, 96}));
    QCOMPARE(shapes["scales"], (Shape{4, 96}));
    QCOMPARE(shapes["qstatistic"], (Shape{4, 3, 32}));
    QCOMPARE(shapes["qscales_zeros"], (Shape{4, 3, 1}));
    QCOMPARE(mbwq::floatsOf(uniform->state()[1]), std::vector<float>(4 * 96, 1.0f));
  }

  void constructorRefuses_data() {
    QTest::addColumn<QString>("change");
    for (const char* change : {"type", "activations", "asymmetric", "inputs 0", "inputs 40", "inputs 65536", "outputs 0",
                               "3 bits", "group 16", "group 48", "group 0", "double 0", "mode 3", "groups 0", "rows 0"})
      QTest::newRow(change) << change;
  }
  void constructorRefuses() {
    QFETCH(QString, change);
    MbwqSettings s{.inputs = 128, .outputs = 32, .groupSize = 32};
    s.mixed = change == "groups 0" || change == "rows 0";
    QVERIFY(MbwqLayer::create("the layer", s).has_value());
    if (change == "type") s.type = FloatType::BF16;
    if (change == "activations") s.activationBits = 8;
    if (change == "asymmetric") s.asymmetric = true;
    if (change == "inputs 0") s.inputs = 0;
    if (change == "inputs 40") s.inputs = 40;
    if (change == "inputs 65536") s.inputs = 65536;
    if (change == "outputs 0") s.outputs = 0;
    if (change == "3 bits") s.weightBits = 3;
    if (change == "group 16") s.groupSize = 16;
    if (change == "group 48") s.groupSize = 48;
    if (change == "group 0") s.groupSize = 0;
    if (change == "double 0") s.doubleGroupSize = 0;
    if (change == "mode 3") s.doubleMode = 3;
    if (change == "groups 0") s.groups = 0;
    if (change == "rows 0") s.packedRows = 0;
    const auto layer = MbwqLayer::create("the layer", s);
    QVERIFY(!layer && layer.error().message.starts_with("the layer: "));
  }

  void loadingRefuses_data() {
    QTest::addColumn<QString>("key");
    QTest::addColumn<QString>("what");
    QTest::newRow("perm of another length") << "q_perm"
                                            << "short";
    QTest::newRow("perm twice") << "q_perm"
                                << "twice";
    QTest::newRow("perm beyond") << "q_perm"
                                 << "beyond";
    QTest::newRow("scales of other outputs") << "scales"
                                             << "short";
    QTest::newRow("scales not finite") << "scales"
                                       << "infinite";
    QTest::newRow("zeros not finite") << "zeros"
                                      << "infinite";
    QTest::newRow("scales of another type") << "scales"
                                            << "type";
    QTest::newRow("channel scale short") << "channel_scale"
                                         << "short";
    QTest::newRow("channel scale not finite") << "channel_scale"
                                              << "infinite";
    QTest::newRow("codes of other outputs") << "qweight"
                                            << "short";
    QTest::newRow("codes missing") << "qweight"
                                   << "missing";
    QTest::newRow("groups missing") << "q_groups"
                                    << "missing";
    QTest::newRow("groups ascending") << "q_groups"
                                      << "ascending";
    QTest::newRow("groups of 7 bits") << "q_groups"
                                      << "seven";
    QTest::newRow("groups of 16 inputs") << "q_groups"
                                         << "sixteen";
    QTest::newRow("groups too few") << "q_groups"
                                    << "few";
    QTest::newRow("groups begin late") << "q_groups"
                                       << "late";
    QTest::newRow("a stranger") << "q_perm"
                                << "stranger";
    QTest::newRow("given twice") << "q_perm"
                                 << "again";
  }
  void loadingRefuses() {
    QFETCH(QString, key);
    QFETCH(QString, what);
    const auto hand = test::handLayer(32, {{4, 32}, {2, 64}}, 3, true);
    auto state = hand.mbwq("blocks.0.up");
    auto& array = test::arrayNamed(state, key.toStdString());
    const auto setShort = [&](std::size_t i, std::uint16_t value) { std::memcpy(array.owned.data() + 2 * i, &value, 2); };
    if (what == "short") {
      array.shape.back() -= 1;
      array.owned.resize(elementCount(array.shape) * static_cast<std::size_t>(info(array.type).bits) / 8);
    }
    if (what == "twice") setShort(1, static_cast<std::uint16_t>(hand.order(0)));
    if (what == "beyond") setShort(1, 96);
    if (what == "infinite") setShort(3, 0x7C00);
    if (what == "type") array.type = DType::BF16;
    if (what == "missing") std::erase_if(state, [&](const RawTensor& a) { return a.name.ends_with("." + key.toStdString()); });
    if (what == "ascending") {
      array = test::arrayOf<std::uint16_t>(array.name, DType::I16, {4}, {2, 0, 4, 4});
      test::arrayNamed(state, "qweight");
    }
    if (what == "seven") setShort(0, 7);
    if (what == "sixteen") array = test::arrayOf<std::uint16_t>(array.name, DType::I16, {4}, {4, 0, 4, 2});
    if (what == "few") array = test::arrayOf<std::uint16_t>(array.name, DType::I16, {2}, {4, 0});
    if (what == "late") setShort(1, 1);
    if (what == "stranger") state.push_back(test::arrayOf<std::uint16_t>("blocks.0.up.lora", DType::I16, {1}, {1}));
    if (what == "again") state.push_back(array);
    MbwqSettings settings{.inputs = 96, .outputs = 32};
    settings.groups = 2;
    settings.packedRows = 8;
    auto layer = MbwqLayer::create("blocks.0.up", settings);
    QVERIFY(layer.has_value());
    const auto loaded = layer->loadState(state);
    const Status status = loaded ? layer->prepare() : fail(loaded.error());
    QVERIFY(!status.has_value());
    QVERIFY2(status.error().message.starts_with("blocks.0.up: "), status.error().message.c_str());
    QVERIFY2(status.error().message.find(what == "stranger" ? "lora" : key.toStdString()) != std::string::npos || what == "few",
             status.error().message.c_str());
    // Put right, the same object works.
    QVERIFY(layer->loadState(hand.mbwq("blocks.0.up")).has_value());
    QVERIFY(layer->prepare().has_value());
  }
};

QTEST_APPLESS_MAIN(TestMbwqLoading)
#include "test_mbwq_loading.moc"
