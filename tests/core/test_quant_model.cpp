// SPDX-License-Identifier: GPL-3.0-or-later
// One example of every kind of format laid over the central model, decoded against the format's own formula written out here.
// What does not fit shows before a reader is written for it: super-blocks with quantized sub-scales (q6_k), vector levels with
// signs (iq3), permuted mixed widths (EXL2), fused half arithmetic (MBWQ), bits per group (DiffQ), 128 x 128 tiles (FP8
// blocks), ten 3-bit codes a word (document 000), nested absmax (NF4 double quantization), rotation and channel scale.
#include "core/quant/decode.h"
#include "core/quant/layout.h"
#include "kernels/simd/simd_loops.h"

#include <QtTest>
#include <cmath>
#include <random>

using namespace nibble;

namespace {

std::vector<std::uint8_t> randomCodes(std::size_t count, int most, unsigned seed) {
  std::mt19937 random(seed);
  std::vector<std::uint8_t> codes(count);
  for (auto& code : codes) code = static_cast<std::uint8_t>(random() % static_cast<unsigned>(most + 1));
  return codes;
}

std::vector<float> ramp(std::size_t count, float first, float step) {
  std::vector<float> values(count);
  for (std::size_t i = 0; i < count; ++i) values[i] = first + step * static_cast<float>(i);
  return values;
}

QuantizedTensor matrix(std::uint64_t rows, std::uint64_t columns) {
  QuantizedTensor tensor;
  tensor.rows = rows;
  tensor.columns = columns;
  tensor.shape = {rows, columns};
  return tensor;
}

// Codes of different widths one after another: what DiffQ and EXL2 need from a layout.
class VariableWidthLayout final : public Layout {
 public:
  explicit VariableWidthLayout(std::vector<std::uint8_t> widths) : m_widths(std::move(widths)) {
    for (const std::uint8_t width : m_widths) {
      m_begins.push_back(m_bits);
      m_bits += width;
    }
  }
  [[nodiscard]] std::string name() const override { return "variable"; }
  [[nodiscard]] int wordBits() const override { return 8; }
  [[nodiscard]] std::uint64_t sizeBytes() const override { return (m_bits + 7) / 8; }
  [[nodiscard]] BitPieces locate(std::uint64_t index) const override { return {{m_begins[index], m_widths[index], 0}}; }

 private:
  std::vector<std::uint8_t> m_widths;
  std::vector<std::uint64_t> m_begins;
  std::uint64_t m_bits = 0;
};

// q6_k's codes: low four bits in ql, high two in qh, 256 weights a super-block of 210 bytes (128 ql, 64 qh, 16 scales, d).
class Q6KLayout final : public Layout {
 public:
  explicit Q6KLayout(std::uint64_t count) : m_count(count) {}
  [[nodiscard]] std::string name() const override { return "q6_k"; }
  [[nodiscard]] int wordBits() const override { return 8; }
  [[nodiscard]] std::uint64_t sizeBytes() const override { return m_count / 256 * 192; }
  [[nodiscard]] BitPieces locate(std::uint64_t index) const override {
    const std::uint64_t block = index / 256 * 192 * 8, half = index % 256 / 128, lane = index % 128;
    const std::uint64_t low = half * 64 + lane % 64, high = 128 + half * 32 + lane % 32;
    return {{block + low * 8 + lane / 64 * 4, 4, 0}, {block + high * 8 + lane / 32 * 2, 2, 4}};
  }

 private:
  std::uint64_t m_count;
};

void compareWith(const QuantizedTensor& tensor, const std::function<float(std::uint64_t, std::uint64_t)>& expected) {
  const std::vector<float> values = decodeAll(tensor);
  std::vector<float> literal(values.size());
  decodeLiterally(tensor, 0, literal);
  for (std::uint64_t row = 0; row < tensor.rows; ++row) {
    for (std::uint64_t column = 0; column < tensor.columns; ++column) {
      const float want = expected(row, column);
      QCOMPARE(std::bit_cast<std::uint32_t>(values[row * tensor.columns + column]), std::bit_cast<std::uint32_t>(want));
      QCOMPARE(std::bit_cast<std::uint32_t>(literal[row * tensor.columns + column]), std::bit_cast<std::uint32_t>(want));
    }
  }
}

void packsAndUnpacks(const Layout& layout, const Codes& codes) {
  const auto bytes = layout.pack(codes);
  QCOMPARE(bytes.size(), layout.sizeBytes());
  const Codes back = layout.unpack(bytes, codes.size());
  QCOMPARE(back.size(), codes.size());
  for (std::size_t i = 0; i < codes.size(); ++i) QCOMPARE(back.at(i), codes.at(i));
}

}  // namespace

class TestQuantModel : public QObject {
  Q_OBJECT
 private slots:
  void superBlocksWithQuantizedScales();
  void vectorLevelsWithSigns();
  void permutedMixedWidths();
  void fusedHalfArithmetic();
  void bitsPerGroup();
  void tilesWithRaggedEdges();
  void tenCodesAWord();
  void nestedAbsmax();
  void codebookPerGroup();
  void moduloGroups();
  void rotationAndChannelScale();
  void halfArithmeticStepByStep();
  void narrowArithmeticOverEveryGrouping_data();
  void narrowArithmeticOverEveryGrouping();
  void floatCodes();
  void everyPatternOfNarrowFloats();
};

void TestQuantModel::superBlocksWithQuantizedScales() {
  QuantizedTensor sub = matrix(1, 32);
  const auto subCodes = randomCodes(32, 255, 1);
  sub.codes = Codes(subCodes);
  sub.rule = ValueRule::ScaleMinusZero;
  sub.scale = Plane::numbers(Grouping::flat(1, 32, 16), {0.011f, 0.02f}, Stored::F16);
  sub.zero = Plane::implied(Grouping::tensor(1, 32), 128);
  sub.width.uniform = 8;
  sub.layout = denseLayout(32, 8);
  QuantizedTensor tensor = matrix(2, 256);
  const auto codes = randomCodes(512, 63, 2);
  tensor.codes = Codes(codes);
  tensor.width.uniform = 6;
  tensor.rule = ValueRule::ScaleMinusZero;
  tensor.scale = Plane::quantized(Grouping::blocks(2, 256, 1, 16), std::make_shared<const QuantizedTensor>(sub));
  tensor.zero = Plane::implied(Grouping::tensor(2, 256), 32);
  tensor.layout = std::make_shared<Q6KLayout>(512);
  const std::vector<float> d = sub.scale->values;
  compareWith(tensor, [&](std::uint64_t row, std::uint64_t column) {
    const float scale = (static_cast<float>(subCodes[row * 16 + column / 16]) - 128.0f) * d[row];
    return (static_cast<float>(codes[row * 256 + column]) - 32.0f) * scale;
  });
  packsAndUnpacks(*tensor.layout, tensor.codes);
  QCOMPARE(bitsPerWeight(tensor), 6.5625);  // 210 bytes for 256 weights
}

void TestQuantModel::vectorLevelsWithSigns() {
  QuantizedTensor tensor = matrix(2, 64);
  const auto codes = randomCodes(32, 7, 3);  // one code for four weights
  tensor.codes = Codes(codes);
  tensor.width.uniform = 3;
  tensor.levels = Levels::fixedTable(ramp(32, 1.0f, 0.5f));
  tensor.levels.levelCount = 8;
  tensor.levels.dimension = 4;
  tensor.signs = randomCodes(16, 255, 4);
  tensor.scale = Plane::numbers(Grouping::blocks(2, 64, 1, 32), {0.5f, 0.25f, 2.0f, 0.125f}, Stored::F16);
  tensor.layout = denseLayout(32, 3);
  compareWith(tensor, [&](std::uint64_t row, std::uint64_t column) {
    const std::uint64_t i = row * 64 + column;
    const float magnitude = tensor.levels.table[codes[i / 4] * 4u + i % 4];
    const bool negative = (tensor.signs[i / 8] >> (i % 8) & 1) != 0;
    return tensor.scale->values[row * 2 + column / 32] * (negative ? -magnitude : magnitude);
  });
}

void TestQuantModel::permutedMixedWidths() {
  QuantizedTensor tensor = matrix(3, 8);
  std::vector<std::uint8_t> widths{6, 6, 4, 4, 4, 3, 2, 2};  // per stored column, widest first
  tensor.codes = Codes(randomCodes(24, 3, 5));
  tensor.width.grouping = Grouping::columnMap(3, {0, 1, 2, 3, 4, 5, 6, 7});
  for (int row = 0; row < 3; ++row) tensor.width.bits.insert(tensor.width.bits.end(), widths.begin(), widths.end());
  tensor.rule = ValueRule::ScaleMinusZero;
  const std::vector<std::uint32_t> groups{0, 0, 1, 1, 1, 2, 3, 3};
  tensor.scale = Plane::numbers(Grouping::columnMap(3, groups), ramp(12, 0.1f, 0.01f), Stored::F16);
  std::vector<float> middles;
  for (int row = 0; row < 3; ++row) middles.insert(middles.end(), {32, 8, 4, 2});
  tensor.zero = Plane::numbers(Grouping::columnMap(3, groups), middles, Stored::Implied);
  tensor.order = {5, 2, 7, 0, 1, 4, 6, 3};
  std::vector<std::uint8_t> all;
  for (int row = 0; row < 3; ++row) all.insert(all.end(), widths.begin(), widths.end());
  tensor.layout = std::make_shared<VariableWidthLayout>(all);
  const auto codes = *tensor.codes.as<std::uint8_t>();
  compareWith(tensor, [&](std::uint64_t row, std::uint64_t column) {
    const auto stored = static_cast<std::uint64_t>(std::find(tensor.order.begin(), tensor.order.end(), column) - tensor.order.begin());
    const std::uint64_t group = row * 4 + groups[stored];
    return (static_cast<float>(codes[row * 8 + stored]) - middles[group]) * tensor.scale->values[group];
  });
  packsAndUnpacks(*tensor.layout, tensor.codes);
  QCOMPARE(tensor.layout->sizeBytes(), std::uint64_t{(3 * 31 + 7) / 8});
}

void TestQuantModel::fusedHalfArithmetic() {
  QuantizedTensor tensor = matrix(4, 32);
  const auto codes = randomCodes(128, 15, 6);
  tensor.codes = Codes(codes);
  tensor.rule = ValueRule::ScalePlusBias;
  tensor.scale = Plane::numbers(Grouping::blocks(4, 32, 1, 0), {0.0123f, 0.0456f, 0.3f, 0.0007f}, Stored::F16);
  tensor.zero = Plane::numbers(Grouping::blocks(4, 32, 1, 0), {-0.1f, 0.2f, -2.1f, -0.004f}, Stored::F16);
  tensor.arithmetic = {FloatType::F16, FloatType::F16, true};
  tensor.layout = denseLayout(128, 4);
  compareWith(tensor, [&](std::uint64_t row, std::uint64_t column) {
    const double exact = static_cast<double>(tensor.scale->values[row]) * codes[row * 32 + column] + tensor.zero->values[row];
    return kernels::roundTo(FloatType::F16, static_cast<float>(exact));
  });
}

void TestQuantModel::bitsPerGroup() {
  // DiffQ: the bits of a group give both its code width and its step; they are stored once, as the codes of the scale plane.
  const std::vector<std::uint8_t> bits{2, 4, 8, 3};
  QuantizedTensor steps = matrix(1, 4);
  steps.codes = Codes(bits);
  std::vector<float> table(16, 0.0f);
  for (int b = 1; b < 16; ++b) table[static_cast<std::size_t>(b)] = 1.0f / static_cast<float>((1 << b) - 1);
  steps.levels = Levels::fixedTable(table);
  steps.scale = Plane::numbers(Grouping::tensor(1, 4), {1.75f}, Stored::F32);
  steps.layout = denseLayout(4, 4);
  QuantizedTensor tensor = matrix(2, 16);
  const auto codes = randomCodes(32, 3, 7);
  tensor.codes = Codes(codes);
  tensor.width.grouping = Grouping::flat(2, 16, 8);
  tensor.width.bits = bits;
  tensor.rule = ValueRule::ScalePlusBias;
  tensor.scale = Plane::quantized(Grouping::flat(2, 16, 8), std::make_shared<const QuantizedTensor>(steps));
  tensor.zero = Plane::numbers(Grouping::tensor(2, 16), {-0.75f}, Stored::F32);
  std::vector<std::uint8_t> widths;
  for (const std::uint8_t b : bits) widths.insert(widths.end(), 8, b);
  tensor.layout = std::make_shared<VariableWidthLayout>(widths);
  compareWith(tensor, [&](std::uint64_t row, std::uint64_t column) {
    const std::uint64_t i = row * 16 + column;
    return 1.75f * table[bits[i / 8]] * static_cast<float>(codes[i]) + -0.75f;
  });
  QCOMPARE(storageSize(tensor).total(), std::uint64_t{17 + 2 + 4 + 4});  // codes, bits, range, minimum
}

void TestQuantModel::tilesWithRaggedEdges() {
  QuantizedTensor tensor = matrix(5, 7);
  tensor.codes = Codes(randomCodes(35, 0x7E, 8));
  tensor.width.uniform = 8;
  tensor.levels = Levels::floats(FloatType::F8E4M3);
  tensor.scale = Plane::numbers(Grouping::blocks(5, 7, 2, 4), ramp(6, 0.5f, 0.25f), Stored::BF16);
  tensor.layout = denseLayout(35, 8);
  const auto codes = *tensor.codes.as<std::uint8_t>();
  compareWith(tensor, [&](std::uint64_t row, std::uint64_t column) {
    return tensor.scale->values[row / 2 * 2 + column / 4] * kernels::float8ToFloat<4>(codes[row * 7 + column]);
  });
}

void TestQuantModel::tenCodesAWord() {
  const auto layout = wordLayout(10, 3);
  const auto bytes = layout->pack(Codes(std::vector<std::uint8_t>{0, 2, 4, 5, 7, 0, 2, 4, 5, 7}));
  std::uint32_t word = 0;
  std::memcpy(&word, bytes.data(), 4);
  QCOMPARE(word, 43484463u);
  const auto shorter = wordLayout(3, 3)->pack(Codes(std::vector<std::uint8_t>{1, 2, 3}));
  std::memcpy(&word, shorter.data(), 4);
  QCOMPARE(word, 174063616u);
  packsAndUnpacks(*wordLayout(23, 3), Codes(randomCodes(23, 7, 9)));
}

void TestQuantModel::nestedAbsmax() {
  QuantizedTensor absmax = matrix(1, 5);
  absmax.codes = Codes(std::vector<std::uint8_t>{0, 3, 1, 2, 3});
  absmax.levels = Levels::fixedTable({-1.0f, -0.25f, 0.5f, 1.0f});
  absmax.rule = ValueRule::ScalePlusBias;
  absmax.scale = Plane::numbers(Grouping::flat(1, 5, 4), {0.1f, 0.3f}, Stored::F32);
  absmax.zero = Plane::numbers(Grouping::tensor(1, 5), {0.7f}, Stored::F32);
  absmax.layout = denseLayout(5, 8);
  QuantizedTensor tensor = matrix(3, 13);  // 39 weights in blocks of 8: a tail of 7
  const auto codes = randomCodes(39, 3, 10);
  tensor.codes = Codes(codes);
  tensor.levels = Levels::fixedTable({-1.0f, -0.3f, 0.4f, 1.0f});
  tensor.scale = Plane::quantized(Grouping::flat(3, 13, 8), std::make_shared<const QuantizedTensor>(absmax));
  tensor.layout = highNibbleLayout(39);
  const std::vector<float> map{-1.0f, -0.25f, 0.5f, 1.0f}, levels{-1.0f, -0.3f, 0.4f, 1.0f}, outer{0.1f, 0.1f, 0.1f, 0.1f, 0.3f};
  const std::vector<int> inner{0, 3, 1, 2, 3};
  compareWith(tensor, [&](std::uint64_t row, std::uint64_t column) {
    const std::uint64_t i = row * 13 + column, block = i / 8;
    const float scale = outer[block] * map[static_cast<std::size_t>(inner[block])] + 0.7f;
    return scale * levels[codes[i]];
  });
  QCOMPARE(storageSize(tensor).scales, std::uint64_t{5 + 2 * 4 + 4});
}

void TestQuantModel::codebookPerGroup() {
  QuantizedTensor tensor = matrix(2, 8);
  const auto codes = randomCodes(16, 3, 11);
  tensor.codes = Codes(codes);
  tensor.levels.kind = Levels::Kind::Table;
  tensor.levels.levelCount = 4;
  tensor.levels.table = ramp(16, -1.0f, 0.11f);
  tensor.levels.grouping = Grouping::blocks(2, 8, 1, 4);
  tensor.levels.stored = Stored::F16;
  tensor.layout = denseLayout(16, 2);
  compareWith(tensor, [&](std::uint64_t row, std::uint64_t column) {
    return tensor.levels.table[(row * 2 + column / 4) * 4 + codes[row * 8 + column]];
  });
  QCOMPARE(storageSize(tensor).other, std::uint64_t{32});
}

void TestQuantModel::moduloGroups() {
  QuantizedTensor tensor = matrix(4, 6);
  const auto codes = randomCodes(24, 15, 12);
  tensor.codes = Codes(codes);
  tensor.rule = ValueRule::ScaleMinusZero;
  tensor.scale = Plane::numbers(Grouping::modulo(4, 6, 3), {0.1f, 0.2f, 0.3f}, Stored::F32);
  tensor.zero = Plane::numbers(Grouping::modulo(4, 6, 3), {7.1f, 6.9f, 8.3f}, Stored::F32);
  tensor.layout = rowInterleavedLayout(8, 3, 4);
  compareWith(tensor, [&](std::uint64_t row, std::uint64_t column) {
    const std::uint64_t i = row * 6 + column;
    return (static_cast<float>(codes[i]) - tensor.zero->values[i % 3]) * tensor.scale->values[i % 3];
  });
  packsAndUnpacks(*tensor.layout, tensor.codes);
}

void TestQuantModel::rotationAndChannelScale() {
  QuantizedTensor tensor = matrix(1, 4);
  tensor.codes = Codes(std::vector<std::uint8_t>{4, 0, 0, 0});
  tensor.rotation = Rotation{4, {1, -1, 1, -1}};
  tensor.channelScale = {2, 2, 4, 4};
  tensor.layout = denseLayout(4, 8);
  compareWith(tensor, [](std::uint64_t, std::uint64_t column) {
    const float values[] = {1.0f, -1.0f, 0.5f, -0.5f};  // 4 * 1/2 spread by the transform, signs undone, scales divided out
    return values[column];
  });
}

void TestQuantModel::halfArithmeticStepByStep() {
  QuantizedTensor tensor = matrix(1, 16);
  tensor.codes = Codes(std::vector<std::uint8_t>{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15});
  tensor.rule = ValueRule::ScaleMinusZero;
  tensor.scale = Plane::numbers(Grouping::tensor(1, 16), {0.0333f}, Stored::F16);
  tensor.zero = Plane::numbers(Grouping::tensor(1, 16), {7.77f}, Stored::F16);
  tensor.arithmetic = {FloatType::F16, FloatType::F16, false};
  tensor.layout = denseLayout(16, 4);
  compareWith(tensor, [&](std::uint64_t, std::uint64_t column) {
    const float difference = kernels::roundTo(FloatType::F16, static_cast<float>(column) - tensor.zero->values[0]);
    return kernels::roundTo(FloatType::F16, difference * tensor.scale->values[0]);
  });
}

void TestQuantModel::narrowArithmeticOverEveryGrouping_data() {
  QTest::addColumn<int>("step");
  QTest::addColumn<int>("result");
  QTest::addColumn<bool>("fused");
  const auto row = [](const char* name, FloatType step, FloatType result, bool fused) {
    QTest::newRow(name) << static_cast<int>(step) << static_cast<int>(result) << fused;
  };
  row("half", FloatType::F16, FloatType::F16, false);
  row("half, fused", FloatType::F16, FloatType::F16, true);
  row("bfloat", FloatType::BF16, FloatType::BF16, false);
  row("bfloat, fused", FloatType::BF16, FloatType::BF16, true);
  row("half at the end", FloatType::F32, FloatType::F16, false);
  row("bfloat at the end", FloatType::F32, FloatType::BF16, false);
  row("eight bits at the end", FloatType::F32, FloatType::F8E4M3, false);
}

// The fast path against the literal one where rounding is hardest: ties, subnormals, what overflows, infinities and NaN, over
// every kind of grouping, and chunks that start and end anywhere.
void TestQuantModel::narrowArithmeticOverEveryGrouping() {
  QFETCH(int, step);
  QFETCH(int, result);
  QFETCH(bool, fused);
  constexpr std::uint64_t rows = 37, columns = 64;
  std::mt19937 random(7);
  std::vector<std::uint32_t> sets(columns);
  for (auto& set : sets) set = static_cast<std::uint32_t>(random() % 5);
  const Grouping groupings[] = {Grouping::tensor(rows, columns),        Grouping::blocks(rows, columns, 1, 24),
                                Grouping::blocks(rows, columns, 0, 1),  Grouping::blocks(rows, columns, 5, 1),
                                Grouping::blocks(rows, columns, 16, 16), Grouping::flat(rows, columns, 13),
                                Grouping::modulo(rows, columns, 100),   Grouping::columnMap(rows, sets)};
  const float hard[] = {0.0f, -0.0f, 0x1p-24f, 0x1.8p-25f, 0x1p-14f, 0x1.ffcp-15f, 0x1.002p-1f, 0x1.801p0f, 65504.0f, 65519.0f, 70000.0f,
                        3e38f, 1e-40f, INFINITY, -INFINITY, NAN};
  const auto any = [&](std::uint64_t count) {
    std::vector<float> values(count);
    for (float& value : values) {
      value = random() % 3 == 0 ? hard[random() % std::size(hard)] : std::ldexp(static_cast<float>(random() % 4096) - 2048.0f, -12 - static_cast<int>(random() % 16));
    }
    return values;
  };
  const auto plane = [&](const Grouping& grouping) {  // halves have a rule of their own
    return Plane::numbers(grouping, any(grouping.groupCount()), random() % 2 == 0 ? Stored::F16 : Stored::F32);
  };
  for (const Grouping& ofScale : groupings) {
    for (const Grouping& ofZero : groupings) {
      for (const ValueRule rule : {ValueRule::Scale, ValueRule::ScaleMinusZero, ValueRule::ScalePlusBias}) {
        QuantizedTensor tensor = matrix(rows, columns);
        tensor.codes = Codes(randomCodes(rows * columns, 255, 8));
        tensor.rule = rule;
        tensor.scale = plane(ofScale);
        if (rule != ValueRule::Scale) tensor.zero = plane(ofZero);
        tensor.arithmetic = {static_cast<FloatType>(step), static_cast<FloatType>(result), fused && rule == ValueRule::ScalePlusBias};
        if (random() % 2 == 0) tensor.levels = Levels::fixedTable(any(256));
        const std::uint64_t begin = random() % 1000;
        std::vector<float> values(rows * columns - begin - random() % 1000), literal(values.size());
        decodeLiterally(tensor, begin, literal);
        for (const std::int64_t target : kernels::simd::targets()) {
          kernels::simd::useTarget(target);
          decode(tensor, begin, values);
          kernels::simd::useTarget(0);
          for (std::size_t i = 0; i < values.size(); ++i)
            if (!std::isnan(literal[i]) || !std::isnan(values[i]))
              QCOMPARE(std::bit_cast<std::uint32_t>(values[i]), std::bit_cast<std::uint32_t>(literal[i]));
        }
      }
    }
  }
}

void TestQuantModel::everyPatternOfNarrowFloats() {
  std::vector<std::uint16_t> patterns(65536);
  for (std::size_t i = 0; i < patterns.size(); ++i) patterns[i] = static_cast<std::uint16_t>(i);
  for (const FloatType type : {FloatType::F16, FloatType::BF16}) {
    QuantizedTensor tensor = matrix(256, 256);
    tensor.codes = Codes(patterns);
    tensor.levels = Levels::floats(type);
    std::vector<float> values = decodeAll(tensor), literal(values.size());
    decodeLiterally(tensor, 0, literal);
    for (std::size_t i = 0; i < values.size(); ++i)
      QCOMPARE(std::bit_cast<std::uint32_t>(values[i]), std::bit_cast<std::uint32_t>(literal[i]));
  }
}

void TestQuantModel::floatCodes() {
  QuantizedTensor tensor = matrix(1, 3);
  tensor.codes = Codes(std::vector<std::uint16_t>{kernels::floatToHalf(1.5f), kernels::floatToHalf(-0.1f), 0x8000});
  tensor.levels = Levels::floats(FloatType::F16);
  tensor.layout = denseLayout(3, 16);
  const float values[] = {1.5f, kernels::roundTo(FloatType::F16, -0.1f), -0.0f};
  compareWith(tensor, [&](std::uint64_t, std::uint64_t column) { return values[column]; });
  packsAndUnpacks(*tensor.layout, tensor.codes);
}

QTEST_APPLESS_MAIN(TestQuantModel)
#include "test_quant_model.moc"
