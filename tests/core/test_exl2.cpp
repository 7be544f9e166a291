// SPDX-License-Identifier: GPL-3.0-or-later
// EXL2 and MBWQ files against known answers: a whole layer of all six widths with hashes made by exllamav2's own kernels run on
// a CPU, the 4-bit scales to the bit, the words of each width, and the same weights as MBWQ. The layers are written here by
// hand.
#include "core/formats/format.h"
#include "core/quant/decode.h"
#include "core/quant/square_scales.h"
#include "core/quant/stream_layout.h"
#include "core/quant/width_groups.h"
#include "core/report/microscope.h"
#include "tests/support/exl2_layers.h"
#include "tests/support/files.h"

#include <QtTest>

#include <bit>
#include <cstring>

using namespace nibble;

namespace {

struct Read {
  std::shared_ptr<const Checkpoint> checkpoint;
  DetectedLayer layer;
  QuantizedTensor tensor;
};

Read readOne(const std::filesystem::path& file) {
  Read result;
  auto checkpoint = Checkpoint::open(file);
  if (!checkpoint) qFatal("%s", checkpoint.error().message.c_str());
  result.checkpoint = *checkpoint;
  auto layers = detectPacked(*result.checkpoint);
  if (layers.size() != 1) qFatal("%zu layers", layers.size());
  result.layer = layers.front();
  auto tensor = result.layer.format->read(*result.checkpoint, result.layer.layer);
  if (!tensor) qFatal("%s", tensor.error().message.c_str());
  result.tensor = std::move(*tensor);
  return result;
}

// [out, in] floats to the bits of [in, out] halves, -0 as 0.
std::vector<std::uint16_t> halves(const std::vector<float>& values, std::uint64_t outputs) {
  const std::uint64_t inputs = values.size() / outputs;
  std::vector<std::uint16_t> bits(values.size());
  for (std::uint64_t n = 0; n < outputs; ++n)
    for (std::uint64_t k = 0; k < inputs; ++k) {
      const float value = values[n * inputs + k];
      if (kernels::roundTo(FloatType::F16, value) != value) qFatal("not a half");
      bits[k * outputs + n] = value == 0 ? 0 : kernels::floatToHalf(value);
    }
  return bits;
}

template <class T>
std::vector<T> valuesIn(const RawTensor& array) {
  std::vector<T> values(array.bytes().size() / sizeof(T));
  std::memcpy(values.data(), array.bytes().data(), array.bytes().size());
  return values;
}

}  // namespace

class TestExl2 : public QObject {
  Q_OBJECT
 private slots:
  void unitsOfCodes_data() {
    QTest::addColumn<int>("bits");
    QTest::addColumn<QVector<quint32>>("words");
    QTest::newRow("2") << 2 << QVector<quint32>{0x1b1b1b1b};
    QTest::newRow("3") << 3 << QVector<quint32>{0x53977053, 0x70539770, 0x97705397};
    QTest::newRow("4") << 4 << QVector<quint32>{0x4d6f81a3};
    QTest::newRow("5") << 5 << QVector<quint32>{0x4dfc4543, 0x78245ba3, 0x0753617d, 0x4b276cf4, 0xe55c7066};
    QTest::newRow("6") << 6 << QVector<quint32>{0x9f611283, 0x90bbd2d9, 0xb2579740};
    QTest::newRow("8") << 8 << QVector<quint32>{0x18110a03};
  }

  // The first words of 32 codes 7 i + 3, packed and found again by the layout.
  void unitsOfCodes() {
    QFETCH(int, bits);
    QFETCH(QVector<quint32>, words);
    std::vector<std::uint8_t> codes;
    for (int i = 0; i < 32; ++i) codes.push_back(static_cast<std::uint8_t>((7 * i + 3) % (1 << bits)));
    const auto layout = inputStreamLayout(1, 1, std::vector<std::uint8_t>(32, static_cast<std::uint8_t>(bits)));
    const auto packed = layout->pack(Codes(codes));
    QCOMPARE(packed.size(), static_cast<std::size_t>(4 * bits));
    for (int w = 0; w < words.size(); ++w) {
      quint32 word = 0;
      std::memcpy(&word, packed.data() + 4 * w, 4);
      QCOMPARE(word, words[w]);
      QCOMPARE(wordAt(*layout, Codes(codes), static_cast<std::uint64_t>(w)), std::uint64_t{words[w]});
    }
    QCOMPARE(layout->unpack(packed, 32), Codes(codes));
  }

  void layoutSpeaksForItself() {
    const std::vector<WidthGroup> groups{{6, 32}, {5, 32}, {3, 64}, {2, 32}};
    const auto layout = inputStreamLayout(5, 8, widthsOf(groups));
    std::vector<std::uint8_t> codes;
    const auto widths = widthsOf(groups);
    for (std::uint64_t i = 0; i < 5 * widths.size(); ++i)
      codes.push_back(static_cast<std::uint8_t>((i * 37 + 11) % (1u << widths[i % widths.size()])));
    const Codes all(codes);
    QCOMPARE(layout->sizeBytes(), std::uint64_t{(6 + 5 + 6 + 2) * 8 * 4});
    QCOMPARE(layout->pack(all), layout->Layout::pack(all));
    QCOMPARE(layout->unpack(layout->pack(all), all.size()), layout->Layout::unpack(layout->pack(all), all.size()));
    for (std::uint64_t word = 0; word < layout->sizeBytes() / 4; ++word)
      QCOMPARE(layout->codesIn(word, all.size()), layout->Layout::codesIn(word, all.size()));
  }

  void scalesToTheBit_data() {
    QTest::addColumn<int>("maximum");
    QTest::addColumn<int>("code");
    QTest::addColumn<int>("unit");
    QTest::addColumn<int>("scale");
    for (const auto& [code, scale] : {std::pair{0, 0x0e66}, {1, 0x1666}, {7, 0x2666}, {14, 0x2da0}, {15, 0x2e66}})
      QTest::addRow("2e66, code %d", code) << 0x2e66 << code << 0x0e66 << scale;
    QTest::newRow("a subnormal unit") << 0x1c00 << 14 << 0x0100 << 0x1b08;
    QTest::newRow("a unit of five") << 0x04d2 << 15 << 0x0005 << 0x0500;
  }

  void scalesToTheBit() {
    QFETCH(int, maximum);
    QFETCH(int, code);
    QFETCH(int, unit);
    QFETCH(int, scale);
    const float found = squareScaleUnit(static_cast<std::uint16_t>(maximum));
    QCOMPARE(int{kernels::floatToHalf(found)}, unit);
    QCOMPARE(int{kernels::floatToHalf(squareScale(found, static_cast<std::uint8_t>(code)))}, scale);
    const Plane plane = squareScales(1, std::vector<std::uint32_t>(32, 0), {static_cast<std::uint8_t>(code)},
                                     {static_cast<std::uint16_t>(maximum)});
    QCOMPARE(int{kernels::floatToHalf(plane.values[0])}, scale);
    const auto back = squareScalesOf(plane, 1);
    QVERIFY(back && back->codes == std::vector<std::uint8_t>{static_cast<std::uint8_t>(code)});
    QCOMPARE(int{back->maxima[0]}, maximum);
  }

  // Plain numbers that happen to be such scales are found to be.
  void scalesFoundAgain() {
    std::vector<float> numbers;
    for (const std::uint16_t maximum : {std::uint16_t{0x2e66}, std::uint16_t{0x04d2}, std::uint16_t{0x1c00}})
      for (const int code : {3, 0, 9, 14})
        numbers.push_back(squareScale(squareScaleUnit(maximum), static_cast<std::uint8_t>(code)));
    std::vector<float> byRow(12);
    for (std::size_t n = 0; n < 4; ++n)
      for (std::size_t g = 0; g < 3; ++g) byRow[n * 3 + g] = numbers[g * 4 + n];
    const auto fitted = fitSquareScales(byRow, 4, 3);
    QVERIFY(fitted.has_value());
    const Plane plane = squareScales(4, {0, 1, 2}, fitted->codes, fitted->maxima);
    QCOMPARE(plane.values, byRow);
    byRow[5] *= 1.25f;
    QVERIFY(!fitSquareScales(byRow, 4, 3));
  }

  void handWrittenLayerIsTheGoldenOne() {
    const auto layer = test::goldenLayer();
    const auto words = layer.words();
    QCOMPARE(words.size(), std::size_t{34 * 32});
    QCOMPARE(test::fnvOf(words), std::uint64_t{0xdef776056597cacf});
    QCOMPARE(words[0], 0x150e0700u);
    QCOMPARE(words[1], 0x1b130b03u);
    QCOMPARE(words[8 * 32 + 5], 0xffce76cfu);
    QCOMPARE(words[33 * 32 + 31], 0xddddddddu);
    const auto arrays = layer.exl2("m");
    QCOMPARE(test::fnv(arrays[1].bytes()), std::uint64_t{0x4bdf3894b67996a3});
    QCOMPARE(test::fnv(arrays[4].bytes()), std::uint64_t{0xe9f54b4c5158a983});
    QCOMPARE(valuesIn<std::int32_t>(arrays[4])[0], 185);
    QCOMPARE(valuesIn<std::int32_t>(arrays[4])[3], 88);
    QCOMPARE(layer.table(), (std::vector<std::uint16_t>{8, 0, 6, 8, 5, 14, 4, 19, 3, 27, 2, 30}));
  }

  void goldenLayerDecodes() {
    const test::ScratchFolder scratch;
    test::writeArrays(scratch.file("g.safetensors"), test::goldenLayer().exl2("model.layers.0.mlp.up_proj"));
    const Read read = readOne(scratch.file("g.safetensors"));
    QCOMPARE(std::string(read.layer.format->info().id), std::string("exl2"));
    QCOMPARE(read.tensor.shape, (Shape{32, 256}));
    const auto values = decodeAll(read.tensor);
    const auto weights = halves(values, 32);
    QCOMPARE(test::fnvOf(weights), std::uint64_t{0x8c6d3406250a04f2});
    QCOMPARE(int{weights[0]}, 0x1900);
    QCOMPARE(int{weights[1]}, 0x94cc);
    QCOMPARE(int{weights[11 * 32 + 7]}, 0xaeb0);
    QCOMPARE(int{weights[255 * 32 + 31]}, 0xa4c0);
    QuantizedTensor stored = read.tensor;
    stored.order.clear();
    QCOMPARE(test::fnvOf(halves(decodeAll(stored), 32)), std::uint64_t{0xe0eb85e821a824a6});
    std::vector<float> literal(values.size());
    decodeLiterally(read.tensor, 0, literal);
    QCOMPARE(literal, values);
    // The file's bytes: 34 rows, the scales, maxima, table and permutation.
    QCOMPARE(storageSize(read.tensor).total(), std::uint64_t{34 * 32 * 4 + 6 * 4 * 4 + 6 * 2 + 24 + 256 * 4});
  }

  void goldenLayerPacksToItself() {
    const test::ScratchFolder scratch;
    for (const bool mixed : {false, true}) {
      const auto arrays = mixed ? test::goldenLayer().mbwq("m") : test::goldenLayer().exl2("m");
      const auto file = scratch.file(mixed ? "m.safetensors" : "e.safetensors");
      test::writeArrays(file, arrays);
      const Read read = readOne(file);
      const auto again = read.layer.format->pack({"m.weight", &read.tensor, std::nullopt});
      QVERIFY2(again.has_value(), again ? "" : again.error().message.c_str());
      QCOMPARE(again->size(), arrays.size());
      for (std::size_t i = 0; i < arrays.size(); ++i) {
        QCOMPARE((*again)[i].name, arrays[i].name);
        QVERIFY((*again)[i].type == arrays[i].type && (*again)[i].shape == arrays[i].shape);
        QVERIFY2(std::ranges::equal((*again)[i].bytes(), arrays[i].bytes()), arrays[i].name.c_str());
      }
      const auto proof = read.layer.format->proofDecode(file, "m.weight");
      QVERIFY2(proof.has_value(), proof ? "" : proof.error().message.c_str());
      QCOMPARE(*proof, decodeAll(read.tensor));
    }
  }

  void sameWeightsAsMbwq() {
    const test::ScratchFolder scratch;
    test::writeArrays(scratch.file("m.safetensors"), test::goldenLayer().mbwq("m"));
    const Read read = readOne(scratch.file("m.safetensors"));
    QCOMPARE(std::string(read.layer.format->info().id), std::string("mbwq"));
    QCOMPARE(test::fnvOf(halves(decodeAll(read.tensor), 32)), std::uint64_t{0x8c6d3406250a04f2});
    QVERIFY(read.tensor.arithmetic.fused);
  }

  // The microscope finds a weight's code in the file's own words, through the permutation, and the value it stands for.
  void bitsUnderTheMicroscope() {
    const test::ScratchFolder scratch;
    const auto layer = test::goldenLayer();
    const auto words = layer.words();
    for (const bool mixed : {false, true}) {
      test::writeArrays(scratch.file("m.safetensors"), mixed ? layer.mbwq("m") : layer.exl2("m"));
      const Read read = readOne(scratch.file("m.safetensors"));
      const auto tensor = std::make_shared<const QuantizedTensor>(read.tensor);
      const auto values = decodeAll(*tensor);
      const PackedView packed(tensor);
      QCOMPARE(packed.wordBits(), 32);
      QVERIFY(packed.layoutName().starts_with("8/6/5/4/3/2 bit"));
      for (const std::uint64_t stored : {0u, 31u, 32u, 40u, 64u, 70u, 96u, 159u, 160u, 171u, 191u, 192u, 255u}) {
        const std::uint64_t row = stored % 32, column = layer.order(stored);
        const auto scope = microscope(nullptr, *tensor, row, column);
        QVERIFY2(scope.has_value(), scope ? "" : scope.error().message.c_str());
        const MicroscopeMember& weight = scope->chosen();
        QCOMPARE(weight.storedIndex, row * 256 + stored);
        QCOMPARE(weight.decoded, values[row * 256 + column]);
        QCOMPARE(weight.level, weight.decoded);
        QCOMPARE(scope->levels.size(), std::size_t{1} << scope->width);
        QCOMPARE(scope->levels[static_cast<std::size_t>(weight.code)], weight.decoded);
        const auto places = packed.places(weight.codeIndex);
        QVERIFY(places.has_value());
        std::int64_t code = 0;
        for (const BitPlace& place : *places) {
          QCOMPARE(place.value, std::uint64_t{words[place.word]});
          code |= static_cast<std::int64_t>(words[place.word] >> place.firstBit & ((1u << place.width) - 1)) << place.codeShift;
        }
        QCOMPARE(code, weight.code);
        QCOMPARE(weight.code, std::int64_t{layer.code(stored, row)});
      }
    }
  }

  void rowsAndGroupMap() {
    std::vector<WidthGroup> groups{{8, 32}, {6, 32}, {5, 32}, {4, 64}, {3, 32}, {2, 64}};
    QCOMPARE(widthRows(groups), (std::array<std::uint64_t, 7>{32, 64, 96, 160, 192, 256, 0xBE}));
    const auto table = groupTable(groups);
    const auto parsed = parseGroupTable(table, 34);
    QVERIFY(parsed && *parsed == groups);
    groups = {{4, 32}, {2, 32}};
    QCOMPARE(widthRows(groups), (std::array<std::uint64_t, 7>{0, 0, 0, 32, 32, 64, 0b1010}));
    const auto map = groupMap(groups);
    QCOMPARE(map.size(), std::size_t{128});
    QCOMPARE(map[0], std::uint16_t{0});
    QCOMPARE(map[1], std::uint16_t{32});
    QCOMPARE(map[63], std::uint16_t{1});
    QCOMPARE(map[64], std::uint16_t{1});
    QCOMPARE(map[127], std::uint16_t{1});
    // 32 times these rows leaves 16 bits; the map does not.
    groups = {{8, 8192}};
    QCOMPARE(groupMap(groups)[1], std::uint16_t{8192});
  }

  // fma(q, s, -z) has one rounding: products in the middle of two halves are moved off it by a zero that float32 cannot see.
  void fusedMeansOneRounding() {
    const Arithmetic fused{FloatType::F16, FloatType::F16, true};
    int differs = 0;
    for (std::uint32_t s = 0x3C01; s < 0x3FFF; s += 7) {
      const float scale = kernels::halfToFloat(static_cast<std::uint16_t>(s));
      for (int q = 1; q < 256; q += 2) {
        const float zero = 0x1p-24f;
        const double exact = static_cast<double>(scale) * q + zero;
        // By hand: the two halves around the exact value, and which is nearer.
        const float first = kernels::roundTo(FloatType::F16, static_cast<float>(exact));
        float best = first;
        for (const int step : {-1, 1}) {
          const float other = kernels::halfToFloat(static_cast<std::uint16_t>(kernels::floatToHalf(first) + step));
          if (std::fabs(exact - static_cast<double>(other)) < std::fabs(exact - static_cast<double>(best))) best = other;
        }
        QCOMPARE(applyRule(ValueRule::ScalePlusBias, fused, true, static_cast<float>(q), scale, zero), best);
        differs += best != first ? 1 : 0;
      }
    }
    QVERIFY(differs > 0);  // or the test would not tell
  }
};

QTEST_APPLESS_MAIN(TestExl2)
#include "test_exl2.moc"
