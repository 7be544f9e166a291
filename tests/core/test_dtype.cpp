// SPDX-License-Identifier: GPL-3.0-or-later
#include "core/tensor/dtype.h"

#include <QTest>

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

using namespace nibble;

namespace {

constexpr double notANumber = std::numeric_limits<double>::quiet_NaN();

// What a type's bits mean, in double and by the definition alone. `special`: 0 every code is finite, 1 the top exponent is
// infinity and NaN as in IEEE 754, 2 only all ones is NaN, 3 only the code of minus zero is NaN.
struct Format {
  DType type;
  int exponentBits, fractionBits, bias, special;
};

double valueOf(const Format& format, unsigned code) {
  const unsigned fraction = code % (1u << format.fractionBits);
  const unsigned exponents = 1u << format.exponentBits;
  const unsigned exponent = code / (1u << format.fractionBits) % exponents;
  const unsigned sign = code / (1u << format.fractionBits) / exponents;
  const double factor = sign == 1 ? -1.0 : 1.0;
  if (format.special == 3 && sign == 1 && exponent == 0 && fraction == 0) return notANumber;
  if (format.special == 1 && exponent == exponents - 1)
    return fraction == 0 ? factor * std::numeric_limits<double>::infinity() : notANumber;
  if (format.special == 2 && exponent == exponents - 1 && fraction == (1u << format.fractionBits) - 1) return notANumber;
  const double part = fraction / std::pow(2.0, format.fractionBits);
  if (exponent == 0) return factor * part * std::pow(2.0, 1 - format.bias);
  return factor * (1.0 + part) * std::pow(2.0, static_cast<int>(exponent) - format.bias);
}

bool same(float value, double expected) {
  if (std::isnan(expected)) return std::isnan(value);
  return static_cast<double>(value) == expected && std::signbit(value) == std::signbit(expected);
}

template <class Stored>
std::span<const std::byte> bytesOf(const std::vector<Stored>& values) {
  return std::as_bytes(std::span<const Stored>(values));
}

}  // namespace

class TestDType : public QObject {
  Q_OBJECT
 private slots:
  void namesReadBack() {
    QCOMPARE(allDTypes().size(), std::size_t{22});
    for (const DTypeInfo& entry : allDTypes()) {
      QCOMPARE(info(entry.type).name, entry.name);
      QVERIFY(dtypeFromName(entry.name) == entry.type);
    }
    QVERIFY(!dtypeFromName("Q4_0"));
    QVERIFY(!dtypeFromName("bf16"));
  }

  void sixteenBitsEveryCode() {
    std::vector<std::uint16_t> codes(65536);
    for (unsigned i = 0; i < 65536; ++i) codes[i] = static_cast<std::uint16_t>(i);
    for (const Format& format : {Format{DType::F16, 5, 10, 15, 1}, Format{DType::BF16, 8, 7, 127, 1}}) {
      std::vector<float> out(65536);
      toFloat(format.type, bytesOf(codes), 0, out);
      for (unsigned i = 0; i < 65536; ++i) QVERIFY2(same(out[i], valueOf(format, i)), qPrintable(QString::number(i, 16)));
    }
  }

  void eightBitsEveryCode() {
    std::vector<std::uint8_t> codes(256);
    for (unsigned i = 0; i < 256; ++i) codes[i] = static_cast<std::uint8_t>(i);
    std::vector<float> out(256);
    for (const Format& format : {Format{DType::F8E4M3, 4, 3, 7, 2}, Format{DType::F8E5M2, 5, 2, 15, 1},
                                 Format{DType::F8E4M3FNUZ, 4, 3, 8, 3}, Format{DType::F8E5M2FNUZ, 5, 2, 16, 3}}) {
      toFloat(format.type, bytesOf(codes), 0, out);
      for (unsigned i = 0; i < 256; ++i) QVERIFY2(same(out[i], valueOf(format, i)), qPrintable(QString::number(i, 16)));
    }
    toFloat(DType::F8E8M0, bytesOf(codes), 0, out);
    for (int i = 0; i < 255; ++i) QVERIFY(same(out[static_cast<std::size_t>(i)], std::pow(2.0, i - 127)));
    QVERIFY(std::isnan(out[255]));
    toFloat(DType::I8, bytesOf(codes), 0, out);
    QCOMPARE(out[0x80], -128.0f);
    toFloat(DType::U8, bytesOf(codes), 0, out);
    QCOMPARE(out[0x80], 128.0f);
    toFloat(DType::Bool, bytesOf(codes), 0, out);
    QCOMPARE(out[0], 0.0f);
    QCOMPARE(out[255], 1.0f);
  }

  // Low bits first: element i of a 6-bit type lies at bits 6 i to 6 i + 5 of the stream.
  void packedTypesEveryCodeFromEveryStart() {
    for (const Format& format :
         {Format{DType::F4, 2, 1, 1, 0}, Format{DType::F6E2M3, 2, 3, 1, 0}, Format{DType::F6E3M2, 3, 2, 3, 0}}) {
      const unsigned bits = static_cast<unsigned>(info(format.type).bits);
      const unsigned count = 1u << bits;
      std::vector<std::uint8_t> packed(count * bits / 8);
      for (unsigned i = 0; i < count; ++i)
        for (unsigned bit = 0; bit < bits; ++bit)
          if (((i >> bit) & 1u) != 0) packed[(i * bits + bit) / 8] |= static_cast<std::uint8_t>(1u << ((i * bits + bit) % 8));
      for (unsigned begin = 0; begin <= count; ++begin) {
        std::vector<float> out(count - begin);
        toFloat(format.type, bytesOf(packed), begin, out);
        for (unsigned i = begin; i < count; ++i) QVERIFY(same(out[i - begin], valueOf(format, i)));
      }
    }
  }

  void wideTypesRoundToNearestEven() {
    std::vector<float> out(3);
    toFloat(DType::I64, bytesOf(std::vector<std::int64_t>{16777217, 16777219, -16777217}), 0, out);
    QVERIFY((out == std::vector<float>{16777216.0f, 16777220.0f, -16777216.0f}));
    toFloat(DType::U64, bytesOf(std::vector<std::uint64_t>{~std::uint64_t{0}, 0x8000008000000000u, 0x8000008000000001u}), 0,
            out);
    QVERIFY((out == std::vector<float>{0x1p64f, 0x1p63f, 0x1.000002p63f}));
    toFloat(DType::U32, bytesOf(std::vector<std::uint32_t>{16777217, 0xFFFFFFFFu, 5}), 0, out);
    QVERIFY((out == std::vector<float>{16777216.0f, 4294967296.0f, 5.0f}));
    toFloat(DType::I32, bytesOf(std::vector<std::int32_t>{16777219, std::numeric_limits<std::int32_t>::min(), -5}), 0, out);
    QVERIFY((out == std::vector<float>{16777220.0f, -2147483648.0f, -5.0f}));
    toFloat(DType::F64, bytesOf(std::vector<double>{1.0 + 0x1p-24, 1.0 + 0x1.8p-23, 1e300}), 0, out);
    QVERIFY((out == std::vector<float>{1.0f, 1.0f + 0x1p-22f, std::numeric_limits<float>::infinity()}));
    toFloat(DType::C64, bytesOf(std::vector<float>{1, 2, 3, 4, 5, 6}), 0, out);
    QVERIFY((out == std::vector<float>{1, 3, 5}));
    toFloat(DType::I16, bytesOf(std::vector<std::int16_t>{-32768, 32767, -1}), 0, out);
    QVERIFY((out == std::vector<float>{-32768, 32767, -1}));
    toFloat(DType::U16, bytesOf(std::vector<std::uint16_t>{32768, 65535, 1}), 0, out);
    QVERIFY((out == std::vector<float>{32768, 65535, 1}));
  }

  // Safetensors does not align: any address, any start, any length around the vector widths.
  void unalignedPartsEqualTheWhole() {
    std::vector<std::uint8_t> bytes(1 + 8 * 77);
    for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::uint8_t>(i * 37 + (i >> 3));
    for (const DTypeInfo& entry : allDTypes()) {
      const auto shifted = bytesOf(bytes).subspan(1);
      const std::size_t count = entry.bits >= 8 ? shifted.size() / (static_cast<std::size_t>(entry.bits) / 8) : 700;
      std::vector<float> whole(count);
      toFloat(entry.type, shifted, 0, whole);
      for (std::size_t begin = 0; begin < 20; ++begin)
        for (const std::size_t length : {0, 1, 7, 8, 9, 31, 33}) {
          std::vector<float> part(length);
          toFloat(entry.type, shifted, begin, part);
          QVERIFY(length == 0 || std::memcmp(part.data(), whole.data() + begin, length * sizeof(float)) == 0);
        }
    }
  }
};

QTEST_APPLESS_MAIN(TestDType)
#include "test_dtype.moc"
