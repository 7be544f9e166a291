// SPDX-License-Identifier: GPL-3.0-or-later
// The MBWQ layer against known answers: the whole-layer golden through the layer's own state, the kernels' shuffled words, EXL2
// layers exactly converted, forward and backward against double and finite differences, the same bits on every backend and
// thread count, state in and out.
#include "core/io/checkpoint.h"
#include "core/quant/decode.h"
#include "core/quant/word_shuffle.h"
#include "kernels/backend.h"
#include "tests/support/files.h"
#include "tests/support/mbwq_layers.h"

#include <QtTest>

#include <cmath>
#include <cstring>

using namespace nibble;

namespace {

using test::valuesOf;

const std::vector<test::HandGroup> allWidths{{8, 32}, {6, 64}, {5, 32}, {4, 96}, {3, 32}, {2, 64}};

std::vector<std::uint16_t> halves(const std::vector<float>& values) {
  std::vector<std::uint16_t> bits;
  for (const float value : values) bits.push_back(value == 0 ? 0 : kernels::floatToHalf(value));
  return bits;
}

Tensor batch(Shape shape, std::vector<float> values) {
  return Tensor::fromFloats("x", std::move(shape), std::move(values));
}

bool same(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

std::vector<float> scaled(const std::vector<float>& x, const std::vector<float>& scale) {
  std::vector<float> result(x.size());
  for (std::size_t i = 0; i < x.size(); ++i) result[i] = kernels::roundTo(FloatType::F16, x[i] * scale[i % scale.size()]);
  return result;
}

}  // namespace

class TestMbwqLayer : public QObject {
  Q_OBJECT
 private slots:
  void cleanup() { kernels::setThreadCount(0); }

  // ---- known answers

  void goldenLayerThroughItsState() {
    const auto hand = test::goldenLayer();
    const MbwqLayer layer = test::mixedLayer(hand, "model.layers.0.mlp.up_proj");
    QCOMPARE(test::fnvOf(halves(layer.weights())), std::uint64_t{0x8c6d3406250a04f2});
    QCOMPARE(layer.rows(), (std::array<std::uint64_t, 7>{32, 64, 96, 160, 192, 256, 0xBE}));
    QCOMPARE(layer.groupMap(), groupMap(layer.groups()));
    const auto state = layer.state();
    QCOMPARE(state[0].name, std::string("qweight"));
    QCOMPARE(test::fnv(state[0].bytes()), std::uint64_t{0xdef776056597cacf});
    // Stored order: the same layer without its permutation.
    auto plain = hand;
    plain.order = [](std::uint64_t k) { return k; };
    QCOMPARE(test::fnvOf(halves(test::mixedLayer(plain).weights())), std::uint64_t{0xe0eb85e821a824a6});
  }

  void shuffledWords_data() {
    QTest::addColumn<int>("bits");
    QTest::addColumn<QVector<quint32>>("words");
    QTest::newRow("2") << 2 << QVector<quint32>{0x22227777};
    QTest::newRow("3") << 3 << QVector<quint32>{0x2982bbcb, 0x05301779, 0xe0a6f2ef};
    QTest::newRow("4") << 4 << QVector<quint32>{0x468adf13};
    QTest::newRow("5") << 5 << QVector<quint32>{0x1b0afe23, 0x4054276d, 0xe99eccb7, 0x92c875e1, 0xb8129f2b};
    QTest::newRow("6") << 6 << QVector<quint32>{0xe60a7443, 0xcd265b5f, 0x9402927b};
    QTest::newRow("8") << 8 << QVector<quint32>{0x18110a03};
  }
  void shuffledWords() {
    QFETCH(int, bits);
    QFETCH(QVector<quint32>, words);
    test::HandLayer hand;
    hand.outputs = 1;
    hand.groups = {{static_cast<unsigned>(bits), 32}};
    hand.code = [bits](std::uint64_t k, std::uint64_t) { return static_cast<unsigned>((7 * k + 3) % (1u << bits)); };
    InputWords packed{hand.words(), 1, {{static_cast<std::uint8_t>(bits), 32}}};
    const auto plain = packed.words;
    QVERIFY(reorder(packed, WordOrder::Shuffled).has_value());
    for (int i = 0; i < words.size(); ++i) QCOMPARE(packed.words[static_cast<std::size_t>(i)], std::uint32_t{words[i]});
    QVERIFY(!reorder(packed, WordOrder::Shuffled));  // never twice
    QVERIFY(reorder(packed, WordOrder::Sequential).has_value());
    QCOMPARE(packed.words, plain);
  }

  void shuffledLayer() {
    const auto hand = test::goldenLayer();
    InputWords packed{hand.words(), 32, {{8, 32}, {6, 32}, {5, 32}, {4, 64}, {3, 32}, {2, 64}}};
    QVERIFY(reorder(packed, WordOrder::Shuffled).has_value());
    QCOMPARE(test::fnvOf(packed.words), std::uint64_t{0x34751b9216487383});
    packed.words.pop_back();
    QVERIFY(!reorder(packed, WordOrder::Sequential));
  }

  // half(half(q - 2^(b-1)) s) and one fused half(q s - s 2^(b-1)): equal for every scale whose zero is finite.
  void exl2ValuesAreMbwqValues() {
    const Arithmetic plain{FloatType::F16, FloatType::F16, false}, fused{FloatType::F16, FloatType::F16, true};
    std::uint64_t cases = 0;
    for (unsigned s = 1; s < 0x7C00; s += 3) {
      const float scale = kernels::halfToFloat(static_cast<std::uint16_t>(s));
      for (const int bits : {2, 3, 4, 5, 6, 8}) {
        const auto middle = static_cast<float>(1 << (bits - 1));
        const float zero = kernels::roundTo(FloatType::F16, scale * middle);
        if (!std::isfinite(zero)) continue;
        for (int q = 0; q < 1 << bits; ++q, ++cases) {
          const auto code = static_cast<float>(q);
          if (applyRule(ValueRule::ScaleMinusZero, plain, true, code, scale, middle) !=
              applyRule(ValueRule::ScalePlusBias, fused, true, code, scale, -zero))
            QFAIL(qPrintable(QString("scale %1, %2 bits, code %3").arg(s, 0, 16).arg(bits).arg(q)));
        }
      }
    }
    QVERIFY(cases > 1000000);
  }

  // ---- other files

  void exl2LayersRunThroughTheSameCode() {
    const test::ScratchFolder scratch;
    const auto hand = test::goldenLayer();
    test::writeArrays(scratch.file("e.safetensors"), hand.exl2("m"));
    const auto checkpoint = Checkpoint::open(scratch.file("e.safetensors"));
    QVERIFY(checkpoint.has_value());
    const auto layers = detectPacked(**checkpoint);
    const auto tensor = layers.at(0).format->read(**checkpoint, layers[0].layer);
    QVERIFY(tensor.has_value());
    const auto layer = MbwqLayer::of("m", *tensor);
    QVERIFY2(layer.has_value(), layer ? "" : layer.error().message.c_str());
    QVERIFY(!layer->converted());
    QCOMPARE(test::fnvOf(halves(layer->weights())), std::uint64_t{0x8c6d3406250a04f2});
    const MbwqLayer own = test::mixedLayer(hand);
    const Tensor x = batch({3, 256}, test::someHalves(3 * 256, 5));
    QCOMPARE(valuesOf(layer->forward(x, {})), valuesOf(own.forward(x, {})));
  }

  void zerosBeyondHalfAreRefused() {
    auto hand = test::handLayer(32, {{8, 32}}, 3, false);
    hand.maximum = [](std::uint64_t) { return std::uint16_t{0x7A00}; };  // 49152
    hand.nibble = [](std::uint64_t, std::uint64_t) { return 15u; };
    const test::ScratchFolder scratch;
    test::writeArrays(scratch.file("e.safetensors"), hand.exl2("big"));
    const auto checkpoint = Checkpoint::open(scratch.file("e.safetensors"));
    const auto layers = detectPacked(**checkpoint);
    const auto tensor = layers.at(0).format->read(**checkpoint, layers[0].layer);
    QVERIFY(tensor.has_value());
    const auto layer = MbwqLayer::of("big", *tensor);
    QVERIFY(!layer && layer.error().message.starts_with("big: "));
  }

  void stateIsWhatTheFormatPacks() {
    const test::ScratchFolder scratch;
    for (const bool mixed : {false, true}) {
      const auto hand = mixed ? test::goldenLayer() : test::handLayer(40, {{4, 64}, {4, 64}}, 8, true);
      MbwqLayer layer = mixed ? test::mixedLayer(hand) : test::uniformLayer(hand);
      const auto written = layer.state("m.");
      const auto file = scratch.file(mixed ? "m.safetensors" : "u.safetensors");
      test::writeArrays(file, written);
      const auto checkpoint = Checkpoint::open(file);
      QVERIFY(checkpoint.has_value());
      const auto layers = detectPacked(**checkpoint);
      QCOMPARE(layers.size(), std::size_t{1});
      const auto tensor = layers[0].format->read(**checkpoint, layers[0].layer);
      QVERIFY2(tensor.has_value(), tensor ? "" : tensor.error().message.c_str());
      QCOMPARE(decodeAll(*tensor), decodeAll(layer.description()));
      const QuantizedTensor description = layer.description();
      const auto packed = layers[0].format->pack({"m.weight", &description, std::nullopt});
      QVERIFY2(packed.has_value(), packed ? "" : packed.error().message.c_str());
      std::size_t at = 0;
      for (const RawTensor& array : written) {
        if (array.name == "m.q_group_map") continue;
        QCOMPARE((*packed)[at].name, array.name);
        QVERIFY2(std::ranges::equal((*packed)[at].bytes(), array.bytes()), array.name.c_str());
        ++at;
      }
      QCOMPARE(at, packed->size());
      const auto back = MbwqLayer::of("m", *tensor);
      QVERIFY(back && same(back->weights(), layer.weights()));
    }
  }

  void reconstructionFromBuffersAlone() {
    const auto hand = test::handLayer(24, allWidths, 4, true);
    const auto state = hand.mbwq("m");
    const auto mixed = mixedToWeights(state[0], state[1], state[2], state[3], state[5]);
    QVERIFY2(mixed.has_value(), mixed ? "" : mixed.error().message.c_str());
    QVERIFY(same(*mixed, test::provenWeights(hand)));
    const auto flat = test::handLayer(24, {{2, 96}, {2, 96}}, 5, true);
    const auto own = test::uniformState(flat, "m");
    const auto uniform = uniformToWeights(own[0], own[1], own[2], 96, 2, own[3]);
    QVERIFY2(uniform.has_value(), uniform ? "" : uniform.error().message.c_str());
    QVERIFY(same(*uniform, test::provenWeights(flat)));
    QVERIFY(!uniformToWeights(own[0], own[1], own[2], 96, 4, own[3]));
  }

  // The fast path of the decoder for half arithmetic, from any place to any place.
  void fastDecodingIsLiteralDecoding() {
    for (const bool mixed : {true, false}) {
      const auto hand = mixed ? test::handLayer(7, allWidths, 4, true) : test::handLayer(7, {{4, 128}, {4, 128}}, 4, false);
      const MbwqLayer layer = mixed ? test::mixedLayer(hand) : test::uniformLayer(hand);
      const std::uint64_t count = layer.stored().weightCount();
      for (const auto& [begin, end] :
           {std::pair<std::uint64_t, std::uint64_t>{0, count}, {5, 6}, {31, 33}, {40, 900}, {count - 3, count}}) {
        std::vector<float> fast(end - begin), literal(end - begin);
        decode(layer.stored(), begin, fast);
        decodeLiterally(layer.stored(), begin, literal);
        QVERIFY(same(fast, literal));
      }
    }
  }

  // Of scales and zeros of every size, subnormal and overflowing ones among them; fused or rounded step by step.
  void fastDecodingOfAnyHalves() {
    QuantizedTensor tensor = test::mixedLayer(test::handLayer(64, allWidths, 4, true)).stored();
    std::uint32_t state = 1;
    const auto any = [&] {
      state = state * 1664525u + 1013904223u;
      const auto bits = static_cast<std::uint16_t>(state >> 16);
      return (bits & 0x7C00u) == 0x7C00u ? 1.0f : kernels::halfToFloat(bits);
    };
    std::size_t infinite = 0, subnormal = 0;
    for (int round = 0; round < 20; ++round) {
      for (float& scale : tensor.scale->values) scale = any();
      for (float& zero : tensor.zero->values) zero = any();
      for (const bool fused : {true, false}) {
        tensor.arithmetic.fused = fused;
        std::vector<float> fast(tensor.weightCount()), literal(fast.size());
        decode(tensor, 0, fast);
        decodeLiterally(tensor, 0, literal);
        QVERIFY(same(fast, literal));
        for (const float value : fast) {
          infinite += std::isinf(value) ? 1 : 0;
          subnormal += value != 0 && std::fabs(value) < 0x1p-14f ? 1 : 0;
        }
      }
    }
    QVERIFY(infinite > 100 && subnormal > 10);
  }

  // ---- products

  void forwardAgainstDouble_data() {
    QTest::addColumn<bool>("mixed");
    QTest::addColumn<int>("bits");
    QTest::addColumn<int>("group");
    for (const int bits : {2, 4})
      for (const int group : {32, 96, 288}) QTest::addRow("%d bits, %d", bits, group) << false << bits << group;
    QTest::newRow("mixed") << true << 0 << 0;
  }
  void forwardAgainstDouble() {
    QFETCH(bool, mixed);
    QFETCH(int, bits);
    QFETCH(int, group);
    std::vector<test::HandGroup> groups = allWidths;
    if (!mixed)
      groups.assign(static_cast<std::size_t>(288 / group), {static_cast<unsigned>(bits), static_cast<std::uint64_t>(group)});
    const auto hand = test::handLayer(37, groups, 12, true);
    const std::uint64_t inputs = hand.inputs();
    auto state = mixed ? hand.mbwq("m") : test::uniformState(hand, "m");
    const auto channelScale = test::someHalves(inputs, 77), bias = test::someHalves(37, 78, 4);
    test::arrayNamed(state, "channel_scale") = mbwq::halves("m.channel_scale", {1, 1, inputs}, channelScale);
    state.push_back(mbwq::halves("m.bias", {37}, bias));
    MbwqSettings settings{.inputs = inputs, .outputs = 37, .bias = true};
    settings.mixed = mixed;
    settings.groups = groups.size();
    settings.packedRows = state[0].shape[0];
    settings.weightBits = mixed ? 4 : bits;
    settings.groupSize = mixed ? -1 : group;
    auto layer = MbwqLayer::create("m", settings);
    QVERIFY(layer.has_value());
    const auto loaded = layer->loadState(state);
    QVERIFY2(loaded.has_value(), loaded ? "" : loaded.error().message.c_str());
    QVERIFY(loaded->replaced.empty() && loaded->missing.empty() && loaded->ignored.empty());
    QVERIFY(layer->prepare().has_value());
    const auto x = test::someHalves(2 * 3 * inputs, 99);
    const auto expected = test::forwardInDouble(scaled(x, channelScale), test::provenWeights(hand), inputs, 37, bias);
    std::vector<float> first;
    for (const MbwqPath path : {MbwqPath::Packed, MbwqPath::Reconstructed}) {
      for (const kernels::Backend* backend : {kernels::findBackend("host"), kernels::findBackend("simd")}) {
        for (const int threads : {1, 3}) {
          kernels::setThreadCount(threads);
          Context context;
          context.backend = backend;
          const auto y = layer->forward(batch({2, 3, inputs}, x), context, path);
          QVERIFY2(y.has_value(), y ? "" : y.error().message.c_str());
          QCOMPARE(y->shape(), (Shape{2, 3, 37}));
          const auto values = valuesOf(y);
          for (std::size_t i = 0; i < values.size(); ++i)
            QVERIFY(std::fabs(static_cast<double>(values[i]) - expected.y[i]) <= expected.bound[i]);
          if (path == MbwqPath::Packed) {
            if (first.empty()) first = values;
            QVERIFY(same(first, values));
          }
        }
      }
    }
    // One input at a time gives the same.
    const auto alone =
        valuesOf(layer->forward(batch({inputs}, {x.begin(), x.begin() + static_cast<std::ptrdiff_t>(inputs)}), {}));
    QVERIFY(same(alone, {first.begin(), first.begin() + 37}));
  }

  // L = sum dY . y over a dense model in double; central differences are exact there but for rounding.
  void gradientsAreFiniteDifferences() {
    for (const bool mixed : {false, true}) {
      const auto hand =
          mixed ? test::handLayer(9, allWidths, 2, true) : test::handLayer(9, {{4, 32}, {4, 32}, {4, 32}}, 2, true);
      const std::uint64_t inputs = hand.inputs(), outputs = 9, tokens = 4;
      auto state = mixed ? hand.mbwq("m") : test::uniformState(hand, "m");
      std::vector<float> channelScale;
      for (std::uint64_t k = 0; k < inputs; ++k) channelScale.push_back(k % 3 == 0 ? 0.5f : 2.0f);  // exact products
      test::arrayNamed(state, "channel_scale") = mbwq::halves("m.channel_scale", {1, 1, inputs}, channelScale);
      MbwqLayer layer = mixed ? test::mixedLayer(hand) : test::uniformLayer(hand);
      QVERIFY(layer.loadState(state).has_value() && layer.prepare().has_value());
      const auto x = test::someHalves(tokens * inputs, 31), dy = test::someHalves(tokens * outputs, 32);
      auto weights = test::provenWeights(hand);
      const auto loss = [&](const std::vector<double>& in, const std::vector<float>& w) {
        double sum = 0;
        for (std::uint64_t t = 0; t < tokens; ++t)
          for (std::uint64_t n = 0; n < outputs; ++n)
            for (std::uint64_t k = 0; k < inputs; ++k)
              sum += static_cast<double>(dy[t * outputs + n]) * in[t * inputs + k] *
                     static_cast<double>(channelScale[k] * w[k * outputs + n]);
        return sum;
      };
      const auto dx = layer.backward(batch({2, 2, inputs}, x), batch({2, 2, outputs}, dy), {});
      QVERIFY2(dx.has_value(), dx ? "" : dx.error().message.c_str());
      QCOMPARE(dx->shape(), (Shape{2, 2, inputs}));
      const auto found = valuesOf(dx);
      std::vector<double> at(x.begin(), x.end());
      for (std::size_t i = 0; i < at.size(); i += 13) {
        const double before = at[i];
        at[i] = before + 0.25;
        const double up = loss(at, weights);
        at[i] = before - 0.25;
        const double difference = (up - loss(at, weights)) / 0.5;
        at[i] = before;
        QVERIFY(std::fabs(static_cast<double>(found[i]) - difference) <= 0x1p-10 * std::fabs(difference) + 1e-5);
      }
      for (std::size_t i = 0; i < weights.size(); i += 17) {
        const float before = weights[i];
        weights[i] = before + 1;
        const double up = loss(at, weights);
        weights[i] = before - 1;
        const double difference = (up - loss(at, weights)) / 2;
        weights[i] = before;
        const double gradient = static_cast<double>(layer.privilegedGradient()[i]);
        QVERIFY(std::fabs(gradient - difference) <= 1e-5 * (1 + std::fabs(difference)));
      }
    }
  }

  void gradientsAreTheSameEverywhere() {
    const auto hand = test::handLayer(70, allWidths, 6, true);
    const auto x = batch({19, hand.inputs()}, test::someHalves(19 * hand.inputs(), 1)),
               dy = batch({19, 70}, test::someHalves(19 * 70, 2));
    std::vector<float> dx, gradient;
    for (const kernels::Backend* backend : {kernels::findBackend("host"), kernels::findBackend("simd")}) {
      for (const int threads : {1, 4}) {
        kernels::setThreadCount(threads);
        Context context;
        context.backend = backend;
        MbwqLayer layer = test::mixedLayer(hand);
        const auto found = valuesOf(layer.backward(x, dy, context));
        if (dx.empty()) {
          dx = found;
          gradient = layer.privilegedGradient();
        }
        QVERIFY(same(found, dx) && same(layer.privilegedGradient(), gradient));
      }
    }
  }

  void aLayerThatDoesNotTrainHasNoGradient() {
    const auto hand = test::handLayer(8, {{4, 64}}, 1, false);
    MbwqSettings settings{.inputs = 64, .outputs = 8};
    settings.mixed = false;
    settings.trains = false;
    auto layer = MbwqLayer::create("m", settings);
    QVERIFY(layer && layer->loadState(test::uniformState(hand, "m")) && layer->prepare());
    QVERIFY(layer->backward(batch({1, 64}, test::someHalves(64, 1)), batch({1, 8}, test::someHalves(8, 2)), {}).has_value());
    QVERIFY(layer->privilegedGradient().empty());
  }

  // ---- calls that do not fit, and setters

  void inputsThatDoNotFit() {
    MbwqLayer layer = test::uniformLayer(test::handLayer(8, {{4, 64}}, 1, false));
    QVERIFY(!layer.forward(batch({2, 63}, test::someHalves(126, 1)), {}));
    QVERIFY(!layer.forward(batch({0, 64}, {}), {}));
    QVERIFY(!layer.forward(batch({1, 64}, std::vector<float>(64, 1e6f)), {}));
    QVERIFY(!layer.backward(batch({2, 64}, test::someHalves(128, 1)), batch({1, 8}, test::someHalves(8, 1)), {}));
    const auto fresh = MbwqLayer::create("fresh", {.inputs = 64, .outputs = 8});
    const auto refused = fresh->forward(batch({1, 64}, test::someHalves(64, 1)), {});
    QVERIFY(!refused && refused.error().message.starts_with("fresh: "));
  }

  void settersReplace() {
    MbwqLayer layer = test::uniformLayer(test::handLayer(8, {{4, 32}, {4, 32}}, 1, false));
    const auto before = layer.weights();
    std::vector<float> scales = mbwq::floatsOf(layer.state()[1]), zeros = mbwq::floatsOf(layer.state()[2]);
    for (float& scale : scales) scale *= 2;
    for (float& zero : zeros) zero *= 2;
    QVERIFY(layer.setScales(scales).has_value() && layer.setZeros(zeros).has_value());
    const auto after = layer.weights();
    for (std::size_t i = 0; i < after.size(); ++i) QCOMPARE(after[i], 2 * before[i]);
    QVERIFY(!layer.setScales(std::vector<float>(7)));
    QVERIFY(!layer.setZeros(std::vector<float>(8 * 3)));  // three groups
    scales[0] = 1e6f;
    QVERIFY(!layer.setScales(scales));
    QVERIFY(same(layer.weights(), after));
  }
};

QTEST_APPLESS_MAIN(TestMbwqLayer)
#include "test_mbwq_layer.moc"
