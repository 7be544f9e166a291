// SPDX-License-Identifier: GPL-3.0-or-later
// The small float types against definitions written out here, over all codes, and over all float32 that matter: every midpoint
// between neighbours, the floats beside it, and a walk over all exponents.
#include "kernels/math/minifloat.h"
#include "tests/support/golden.h"

#include <QtTest>

#include <cmath>
#include <limits>

using namespace nibble;
using kernels::FloatType;

namespace {

struct Definition {
  const char* name;
  FloatType type;
  int exponentBits, fractionBits, bias;
  unsigned largest;  // magnitude code of the largest finite value
};

constexpr Definition definitions[] = {
    {"e4m3fn", FloatType::F8E4M3, 4, 3, 7, 0x7E}, {"e5m2", FloatType::F8E5M2, 5, 2, 15, 0x7B},
    {"e2m3", FloatType::F6E2M3, 2, 3, 1, 0x1F},   {"e3m2", FloatType::F6E3M2, 3, 2, 3, 0x1F},
    {"e2m1", FloatType::F4E2M1, 2, 1, 1, 0x7},
};

double valueOf(const Definition& type, unsigned magnitude) {
  const unsigned fraction = magnitude & ((1u << type.fractionBits) - 1), exponent = magnitude >> type.fractionBits;
  const double scale = std::pow(2.0, static_cast<int>(exponent == 0 ? 1 : exponent) - type.bias);
  return scale * (static_cast<double>(fraction) / (1 << type.fractionBits) + (exponent == 0 ? 0.0 : 1.0));
}

// The nearest magnitude code by search over all of them; ties to the even code.
unsigned nearest(const Definition& type, double magnitude) {
  if (magnitude >= valueOf(type, type.largest)) return type.largest;
  unsigned best = 0;
  for (unsigned code = 1; code <= type.largest; ++code) {
    const double error = std::fabs(valueOf(type, code) - magnitude), least = std::fabs(valueOf(type, best) - magnitude);
    if (error < least || (error == least && code % 2 == 0)) best = code;
  }
  return best;
}

const Definition& definitionOf(const std::string& name) {
  for (const Definition& type : definitions)
    if (name == type.name) return type;
  qFatal("no type %s", name.c_str());
}

}  // namespace

class TestMinifloat : public QObject {
  Q_OBJECT
 private slots:
  void types_data() {
    QTest::addColumn<int>("index");
    for (int i = 0; i < static_cast<int>(std::size(definitions)); ++i) QTest::newRow(definitions[i].name) << i;
  }
  void types();
  void wholeRange_data() { types_data(); }
  void wholeRange();
  void notANumber();
  void powersOfTwo();
  void golden();
};

// Every code stands for its value and rounds back to itself; every midpoint goes to the even neighbour, its neighbours apart.
void TestMinifloat::types() {
  QFETCH(int, index);
  const Definition& type = definitions[index];
  const unsigned sign = 1u << (type.exponentBits + type.fractionBits);
  QCOMPARE(kernels::bitsOf(type.type), 1 + type.exponentBits + type.fractionBits);
  QCOMPARE(static_cast<double>(kernels::largestOf(type.type)), valueOf(type, type.largest));
  for (unsigned code = 0; code <= type.largest; ++code) {
    const auto value = static_cast<float>(valueOf(type, code));
    QCOMPARE(kernels::smallToFloat(type.type, code), value);
    QCOMPARE(kernels::smallToFloat(type.type, code | sign), -value);
    QVERIFY(std::signbit(kernels::smallToFloat(type.type, code | sign)));
    QCOMPARE(unsigned{kernels::floatToSmall(type.type, value)}, code);
    QCOMPARE(unsigned{kernels::floatToSmall(type.type, -value)}, code | sign);
    if (code == type.largest) continue;
    const auto middle = static_cast<float>((valueOf(type, code) + valueOf(type, code + 1)) / 2);
    QCOMPARE(unsigned{kernels::floatToSmall(type.type, middle)}, code + code % 2);
    QCOMPARE(unsigned{kernels::floatToSmall(type.type, std::nextafter(middle, 0.0f))}, code);
    QCOMPARE(unsigned{kernels::floatToSmall(type.type, std::nextafter(middle, HUGE_VALF))}, code + 1);
    QCOMPARE(unsigned{kernels::floatToSmall(type.type, -middle)}, sign | (code + code % 2));
  }
}

void TestMinifloat::wholeRange() {
  QFETCH(int, index);
  const Definition& type = definitions[index];
  for (std::uint64_t bits = 0; bits < 0x7F800000u; bits += 0x10001u * 3) {
    const float value = std::bit_cast<float>(static_cast<std::uint32_t>(bits));
    const unsigned expected = nearest(type, value);
    QVERIFY2(kernels::floatToSmall(type.type, value) == expected, qPrintable(QString::number(value)));
    QCOMPARE(kernels::roundTo(type.type, value), static_cast<float>(valueOf(type, expected)));
  }
  QCOMPARE(unsigned{kernels::floatToSmall(type.type, HUGE_VALF)}, type.largest);
  QCOMPARE(unsigned{kernels::floatToSmall(type.type, std::numeric_limits<float>::max())}, type.largest);
}

void TestMinifloat::notANumber() {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  QCOMPARE(unsigned{kernels::floatToSmall(FloatType::F8E4M3, nan)}, 0x7Fu);
  QCOMPARE(unsigned{kernels::floatToSmall(FloatType::F8E5M2, nan)}, 0x7Fu);
  QVERIFY(std::isnan(kernels::smallToFloat(FloatType::F8E4M3, 0x7F)));
  QVERIFY(std::isnan(kernels::smallToFloat(FloatType::F8E4M3, 0xFF)));
  for (const unsigned code : {0x7Du, 0x7Eu, 0x7Fu, 0xFDu}) QVERIFY(std::isnan(kernels::smallToFloat(FloatType::F8E5M2, code)));
  QCOMPARE(kernels::smallToFloat(FloatType::F8E5M2, 0x7C), HUGE_VALF);
  QCOMPARE(kernels::smallToFloat(FloatType::F8E5M2, 0xFC), -HUGE_VALF);
}

void TestMinifloat::powersOfTwo() {
  for (int byte = 0; byte < 255; ++byte) {
    const float value = std::ldexp(1.0f, byte - 127);
    QCOMPARE(kernels::e8m0ToFloat(static_cast<std::uint8_t>(byte)), value);
    QCOMPARE(int{kernels::floatToE8m0(value)}, byte);
  }
  QVERIFY(std::isnan(kernels::e8m0ToFloat(0xFF)));
  QCOMPARE(int{kernels::floatToE8m0(std::numeric_limits<float>::quiet_NaN())}, 0xFF);
  QCOMPARE(int{kernels::floatToE8m0(0.0f)}, 0);
  QCOMPARE(int{kernels::floatToE8m0(0x1p-149f)}, 0);
  QCOMPARE(int{kernels::floatToE8m0(std::numeric_limits<float>::max())}, 254);
  QCOMPARE(int{kernels::floatToE8m0(1.4f)}, 127);  // log2 = 0.49
  QCOMPARE(int{kernels::floatToE8m0(1.5f)}, 128);  // log2 = 0.58
}

// torch and ml_dtypes on the same values.
void TestMinifloat::golden() {
  const nlohmann::json golden = test::loadJson("mx_nvfp4_fp8.json");
  int compared = 0;
  for (const auto& row : golden["cases"]) {
    if (row["op"] != "decode" && row["op"] != "encode") continue;
    const Definition& type = definitionOf(row["settings"]["format"]);
    if (row["op"] == "decode") {
      const std::vector<float> values = test::floatsFromJson(row["expect"]["values"]);
      for (unsigned code = 0; code < values.size(); ++code) {
        const float ours = kernels::smallToFloat(type.type, code);
        QVERIFY2(ours == values[code] || (std::isnan(ours) && std::isnan(values[code])), type.name);
      }
    } else if (row["expect"].contains("codes_saturating")) {
      const std::vector<float> values = test::floatsFromJson(row["input"]["data"]);
      for (std::size_t i = 0; i < values.size(); ++i)
        QCOMPARE(int{kernels::floatToSmall(type.type, values[i])}, row["expect"]["codes_saturating"][i].get<int>());
    }
    ++compared;
  }
  QCOMPARE(compared, 14);
}

QTEST_APPLESS_MAIN(TestMinifloat)
#include "test_minifloat.moc"
