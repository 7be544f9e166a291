// SPDX-License-Identifier: GPL-3.0-or-later
// GGUF block quantizers: golden bytes of ggml (tests/data/ggml_blocks.json says how it was trimmed) on every backend; every
// backend and instruction set equal to the host loops on random, adversarial and tail shapes, for one thread and several.
#include "kernels/host/host_backend.h"
#include "kernels/math/blocks.h"
#include "kernels/simd/simd_loops.h"
#include "tests/support/golden.h"

#include <QTest>
#include <bit>
#include <cmath>
#include <random>

using namespace nibble::kernels;
using nibble::test::bytesFromHex;
using nibble::test::floatsFromJson;

namespace {

using Bytes = std::vector<std::uint8_t>;
using Floats = std::vector<float>;

constexpr BlockType quantizable[] = {BlockType::Q4_0,   BlockType::Q4_1,   BlockType::Q5_0,  BlockType::Q5_1,
                                     BlockType::Q8_0,   BlockType::Q2_K,   BlockType::Q3_K,  BlockType::Q4_K,
                                     BlockType::Q5_K,   BlockType::Q6_K,   BlockType::IQ4_NL, BlockType::IQ4_XS,
                                     BlockType::TQ1_0,  BlockType::TQ2_0,  BlockType::Q1_0,  BlockType::Q2_0};

enum class Kind { Normal, Wide, Denormal, Ties, Constant, SignedZeros, Positive, Negative, Outliers, ManyScales, Sparse, AnyBits, Runs };
constexpr Kind kinds[] = {Kind::Normal,      Kind::Wide,     Kind::Denormal, Kind::Ties,     Kind::Constant,
                          Kind::SignedZeros, Kind::Positive, Kind::Negative, Kind::Outliers, Kind::ManyScales,
                          Kind::Sparse,      Kind::AnyBits,  Kind::Runs};

float weightAt(Kind kind, std::size_t i, std::mt19937& random) {
  std::normal_distribution<float> normal(0.0f, 0.05f);
  const auto bits = static_cast<std::uint32_t>(random());
  switch (kind) {
    case Kind::Normal: return normal(random);
    case Kind::Wide: return normal(random) * 100.0f;
    case Kind::Denormal: return std::bit_cast<float>(bits & 0x80000FFFu);
    case Kind::Ties: return (static_cast<float>(bits % 41) - 20.0f) * 0.5f;
    case Kind::Constant: return -0.3f;
    case Kind::SignedZeros: return bits % 2 != 0 ? 0.0f : -0.0f;
    case Kind::Positive: return std::fabs(normal(random));
    case Kind::Negative: return -1.0f - std::fabs(normal(random));
    case Kind::Outliers: return i % 97 == 50 ? 100.0f : normal(random);
    case Kind::ManyScales: return std::ldexp(normal(random), static_cast<int>(i / 16 % 60) - 40);
    case Kind::Sparse: return bits % 4 == 0 ? normal(random) : 0.0f;
    case Kind::AnyBits: return std::bit_cast<float>((bits & 0x807FFFFFu) | ((80 + bits / 7 % 40) << 23));
    case Kind::Runs: return i / 32 % 3 == 0 ? 0.0f : i / 32 % 3 == 1 ? 0.25f : i % 2 != 0 ? 1.0f : -1.0f;
  }
  return 0;
}

Floats weights(Kind kind, std::size_t count, unsigned seed) {
  std::mt19937 random(seed);
  Floats values(count);
  for (std::size_t i = 0; i < count; ++i) values[i] = weightAt(kind, i, random);
  return values;
}

// None, spread over magnitudes, mostly zero, all one.
Floats importance(int kind, std::size_t columns) {
  if (kind == 0) return {};
  std::mt19937 random(17);
  std::normal_distribution<float> normal(0.0f, 1.0f);
  Floats values(columns);
  for (float& value : values)
    value = kind == 1 ? std::pow(normal(random), 4.0f) : kind == 2 ? static_cast<float>(random() % 3 == 0) : 1.0f;
  return values;
}

Bytes encode(const Backend& backend, BlockType type, const Floats& w, std::size_t rows, std::size_t columns, const Floats& importance) {
  // One byte more shows who writes beyond the end.
  Bytes bytes(rows * columns / blockShape(type).weights * blockShape(type).bytes + 1, 0xA5);
  backend.encodeBlocks(type, w.data(), rows, columns, importance.empty() ? nullptr : importance.data(), bytes.data());
  return bytes;
}

}  // namespace

class TestBlockEncoders : public QObject {
  Q_OBJECT
 private slots:
  void cleanup() {
    simd::useTarget(0);
    setThreadCount(0);
  }

  void goldenBytes_data() {
    QTest::addColumn<int>("index");
    const auto golden = nibble::test::loadJson("ggml_blocks.json");
    for (std::size_t i = 0; i < golden["cases"].size(); ++i) {
      const auto& entry = golden["cases"][i];
      QTest::newRow((entry["type"].get<std::string>() + " " + entry["name"].get<std::string>()).c_str()) << static_cast<int>(i);
    }
  }
  void goldenBytes() {
    QFETCH(int, index);
    static const auto golden = nibble::test::loadJson("ggml_blocks.json");
    const auto& entry = golden["cases"][static_cast<std::size_t>(index)];
    const auto type = static_cast<BlockType>(entry["ggml_type"].get<int>());
    const Floats w = floatsFromJson(entry["input"].is_string() ? golden["inputs"][entry["input"].get<std::string>()] : entry["input"]);
    const Floats important = entry["imatrix"].is_null() ? Floats() : floatsFromJson(entry["imatrix"]);
    const Bytes expected = bytesFromHex(entry["bytes_hex"].get<std::string>());
    for (const Backend* backend : allBackends()) {
      if (!backend->unusableReason().empty()) continue;
      Bytes bytes = encode(*backend, type, w, entry["rows"].get<std::size_t>(), entry["cols"].get<std::size_t>(), important);
      QCOMPARE(bytes.back(), std::uint8_t{0xA5});
      bytes.pop_back();
      QCOMPARE(bytes, expected);
    }
  }

  void backendsAgree_data() {
    QTest::addColumn<int>("type");
    for (const BlockType type : quantizable) QTest::newRow(std::to_string(static_cast<int>(type)).c_str()) << static_cast<int>(type);
  }
  void backendsAgree() {
    QFETCH(int, type);
    const auto block = static_cast<BlockType>(type);
    const std::size_t unit = blockShape(block).weights;
    struct Size { std::size_t rows, blocks; };
    // Fewer blocks than lanes, more, and a count that no number of lanes divides.
    for (const auto [rows, blocks] : {Size{1, 1}, Size{3, 7}, Size{37, 1}}) {
      const std::size_t columns = blocks * unit;
      for (const Kind kind : kinds) {
        const Floats w = weights(kind, rows * columns, 5);
        for (int i = 0; i < 4; ++i) {
          if (i != 0 && !usesImportance(block)) continue;
          const Floats important = importance(i, columns);
          const Bytes expected = encode(hostBackend(), block, w, rows, columns, important);
          for (const std::int64_t target : simd::targets()) {
            simd::useTarget(target);
            const Bytes bytes = encode(*findBackend("simd"), block, w, rows, columns, important);
            if (bytes == expected) continue;
            std::size_t at = 0;
            while (bytes[at] == expected[at]) ++at;
            QFAIL(qPrintable(QString("%1: kind %2, importance %3, %4 x %5, byte %6 of block %7")
                                 .arg(QString::fromStdString(std::string(simd::targetName())))
                                 .arg(static_cast<int>(kind)).arg(i).arg(rows).arg(columns)
                                 .arg(at % blockShape(block).bytes).arg(at / blockShape(block).bytes)));
          }
        }
      }
    }
  }

  // Enough blocks for several pieces: work is cut without a trace, whatever the number of threads.
  void threadsAgree() {
    const std::size_t rows = 5, columns = 33 * 256;
    const Floats w = weights(Kind::Normal, rows * columns, 6), important = importance(1, columns);
    for (const BlockType type : quantizable)
      for (const Floats& used : {Floats(), important}) {
        const Bytes expected = encode(hostBackend(), type, w, rows, columns, used);
        for (const int threads : {1, 3}) {
          setThreadCount(threads);
          QCOMPARE(encode(*findBackend("simd"), type, w, rows, columns, used), expected);
        }
      }
  }

  void ignoresImportanceWhereTheReferenceDoes() {
    const Floats w = weights(Kind::Normal, 512, 7), important = importance(1, 512);
    for (const BlockType type : quantizable) {
      const bool same = encode(hostBackend(), type, w, 1, 512, {}) == encode(hostBackend(), type, w, 1, 512, important);
      QCOMPARE(same, !usesImportance(type));
    }
  }

  void roundings() {
    QCOMPARE(magicRound(0.5f), 0);
    QCOMPARE(magicRound(1.5f), 2);
    QCOMPARE(magicRound(-2.5f), -2);
    QCOMPARE(magicRound(HUGE_VALF), -0x400000);
    QCOMPARE(magicRound(std::nanf("")), 0);
    QCOMPARE(roundHalfAway(0.5f), 1);
    QCOMPARE(roundHalfAway(-2.5f), -3);
    QCOMPARE(roundHalfAway(0.49999997f), 0);
    QCOMPARE(truncated(2.99f), 2);
    QCOMPARE(truncated(-HUGE_VALF), 0);
  }

  // Next to every midpoint the code is that of the smaller distance, the upper one on the midpoint.
  void iq4CodesAreNearest() {
    for (int k = 0; k < 15; ++k) {
      const float middle = 0.5f * static_cast<float>(iq4Levels[k] + iq4Levels[k + 1]);
      for (const float x : {std::nextafter(middle, -1e3f), middle, std::nextafter(middle, 1e3f)}) {
        const float below = x - static_cast<float>(iq4Levels[k]), above = static_cast<float>(iq4Levels[k + 1]) - x;
        QCOMPARE(iq4Code(x), below < above ? k : k + 1);
      }
    }
    QCOMPARE(iq4Code(-1e9f), 0);
    QCOMPARE(iq4Code(1e9f), 15);
  }
};

QTEST_APPLESS_MAIN(TestBlockEncoders)
#include "test_block_encoders.moc"
