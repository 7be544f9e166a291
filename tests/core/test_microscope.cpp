// SPDX-License-Identifier: GPL-3.0-or-later
// The microscope against the planes, codes and packed bytes it looks at, on weights of a real model and on permuted, scaled and
// rotated ones by hand.
#include "core/formats/format.h"
#include "core/quant/decode.h"
#include "core/report/microscope.h"
#include "core/run/run.h"
#include "core/tensor/synthetic.h"
#include "tests/support/golden.h"

#include <QtTest>
#include <algorithm>
#include <cmath>
#include <cstring>
#include <random>

using namespace nibble;

class TestMicroscope : public QObject {
  Q_OBJECT
 private slots:
  void groupByHand();
  void groupsOfRealWeights_data();
  void groupsOfRealWeights();
  void bitsAreThePackedBytes_data();
  void bitsAreThePackedBytes();
  void bitsOfFormats_data();
  void bitsOfFormats();
  void pieceAcrossWords();
  void hugeGroupsAreCapped_data();
  void hugeGroupsAreCapped();
  void permutedColumns();
  void scaledAndRotated();
  void withoutTheOriginal();
  void whatIfOfTheSchemesOwn();
  void whatIfByHand();
  void whatIfWithTables();
  void whatIfRefused();
  void refusesOtherPlaces();
};

namespace {

const Tensor& realTensor() {
  static const Tensor tensor = [] {
    const auto checkpoint = Checkpoint::open(test::resourcePath("sample/minilm-sample.safetensors"));
    return *(*checkpoint)->read("encoder.layer.0.attention.self.query.weight");
  }();
  return tensor;
}

std::shared_ptr<const QuantizedTensor> quantizedAs(const std::string& choice, const Tensor& tensor = realTensor()) {
  const auto outcome = run(tensor, *Choice::parse(choice), {}, {.percentile = false});
  if (!outcome) qFatal("%s", outcome.error().message.c_str());
  return outcome->quantized;
}

const std::vector<const char*>& choices() {
  static const std::vector<const char*> list = {"hqq:bits=4,group=64,axis=1",
                                                "hqq:bits=3,group=64,axis=0",
                                                "hqq:bits=2,group=128",
                                                "uniform:bits=4,granularity=group,group=100",
                                                "uniform:bits=3,symmetric=false",
                                                "uniform:bits=12,granularity=column",
                                                "uniform:bits=5,granularity=tensor",
                                                "minmax:bits=3,group=50",
                                                "nf4",
                                                "nf4:nested=true",
                                                "fp4:block=128",
                                                "codebook:bits=3,granularity=group,group=96",
                                                "float:type=bf16",
                                                "float:type=f32"};
  return list;
}

void rowPerChoice() {
  QTest::addColumn<QString>("choice");
  for (const char* choice : choices()) QTest::newRow(choice) << choice;
}

const std::vector<std::pair<std::uint64_t, std::uint64_t>>& somePlaces() {
  static const std::vector<std::pair<std::uint64_t, std::uint64_t>> places = {
      {0, 0}, {142, 110}, {383, 383}, {7, 299}, {200, 63}};
  return places;
}

// The code of a weight put together from the places the view names, and each word's value read from the bytes.
void compareWithBytes(const PackedView& view, std::uint64_t codeIndex, std::int64_t code, std::span<const std::byte> bytes) {
  const auto places = view.places(codeIndex);
  QVERIFY(places.has_value() && !places->empty());
  const auto size = static_cast<std::size_t>(view.wordBits()) / 8;
  std::uint64_t assembled = 0;
  int bits = 0;
  for (const BitPlace& place : *places) {
    std::uint64_t word = 0;
    QVERIFY((place.word + 1) * size <= bytes.size());
    std::memcpy(&word, bytes.data() + place.word * size, size);
    QCOMPARE(place.value, word);
    QVERIFY(place.firstBit >= 0 && place.width > 0 && place.firstBit + place.width <= view.wordBits());
    assembled |= (word >> place.firstBit & ((std::uint64_t{1} << place.width) - 1)) << place.codeShift;
    bits += place.width;
    QString text;
    for (std::size_t i = size; i-- > 0;)
      text += QString("%1").arg(std::to_integer<int>(bytes[place.word * size + i]), 2, 16, QChar('0')).toUpper();
    QCOMPARE(QString::fromStdString(view.hex(place.value)), text);
  }
  const std::uint64_t mask = bits >= 32 ? 0xFFFFFFFFu : (std::uint64_t{1} << bits) - 1;
  QCOMPARE(assembled, static_cast<std::uint64_t>(code) & mask);
}

QuantizedTensor byHand(std::uint64_t rows, std::uint64_t columns, std::vector<std::uint8_t> codes) {
  QuantizedTensor tensor;
  tensor.scheme = "by hand";
  tensor.rows = rows;
  tensor.columns = columns;
  tensor.shape = {rows, columns};
  tensor.layout = denseLayout(codes.size(), 4);
  tensor.codes = Codes(std::move(codes));
  tensor.width.uniform = 4;
  return tensor;
}

}  // namespace

void TestMicroscope::groupByHand() {
  QuantizedTensor quantized = byHand(2, 4, {1, 2, 3, 4, 5, 6, 7, 8});
  quantized.rule = ValueRule::ScaleMinusZero;
  quantized.scale = Plane::numbers(Grouping::blocks(2, 4, 1, 2), {1, 2, 3, 4}, Stored::F32);
  quantized.zero = Plane::numbers(Grouping::blocks(2, 4, 1, 2), {0, 1, 5, 7}, Stored::F32);
  const Tensor tensor = Tensor::fromFloats("w", {2, 4}, {1, 2, 4, 6, 0, 3, 1, 3.5f});
  const auto m = microscope(&tensor, quantized, 1, 3);
  QVERIFY(m.has_value());
  QCOMPARE(m->grouping, quantized.scale->grouping.describe());
  QCOMPARE(m->group, std::uint64_t{3});
  QCOMPARE(m->groupSize, std::uint64_t{2});
  QCOMPARE(m->members.size(), std::size_t{2});
  QCOMPARE(m->selected, std::size_t{1});
  QVERIFY(m->hasScale && m->hasZero && m->rule == ValueRule::ScaleMinusZero);
  QCOMPARE(m->scale, 4.0f);
  QCOMPARE(m->zero, 7.0f);
  QCOMPARE(m->width, 4);
  QCOMPARE(m->lowestCode, std::int64_t{0});
  QCOMPARE(m->highestCode, std::int64_t{15});
  QCOMPARE(m->levels.size(), std::size_t{16});
  QCOMPARE(m->levels[0], -28.0f);
  const MicroscopeMember& chosen = m->chosen();
  QCOMPARE(chosen.flatIndex, std::uint64_t{7});
  QCOMPARE(chosen.storedIndex, std::uint64_t{7});
  QCOMPARE(chosen.code, std::int64_t{8});
  QCOMPARE(chosen.weight, 3.5f);
  QCOMPARE(chosen.decoded, 4.0f);
  QCOMPARE(chosen.error, -0.5f);
  QCOMPARE(chosen.target, 3.5f);
  QCOMPARE(chosen.level, 4.0f);
  QCOMPARE(m->members[0].decoded, 0.0f);
  QCOMPARE(m->errorSquared, 1.25);
  QCOMPARE(m->maxError, 1.0f);
}

void TestMicroscope::groupsOfRealWeights_data() {
  rowPerChoice();
}

void TestMicroscope::groupsOfRealWeights() {
  QFETCH(QString, choice);
  const auto quantized = quantizedAs(choice.toStdString());
  const std::vector<float> weights = *realTensor().readAll(), decoded = decodeAll(*quantized);
  const Grouping grouping = quantized->scale             ? quantized->scale->grouping
                            : quantized->levels.grouping ? *quantized->levels.grouping
                                                         : Grouping::tensor(384, 384);
  for (const auto& [row, column] : somePlaces()) {
    const std::uint64_t flat = row * 384 + column;
    const auto m = microscope(&realTensor(), *quantized, row, column, 500000);
    QVERIFY(m.has_value());
    QCOMPARE(m->group, grouping.groupOf(flat));
    const std::vector<std::uint64_t> expected = grouping.members(m->group);
    QCOMPARE(m->groupSize, static_cast<std::uint64_t>(expected.size()));
    QCOMPARE(m->members.size(), expected.size());
    QCOMPARE(m->chosen().flatIndex, flat);
    for (std::size_t i = 0; i < expected.size(); ++i) {
      const MicroscopeMember& member = m->members[i];
      QVERIFY(member.flatIndex == expected[i] && member.row * 384 + member.column == expected[i]);
      QVERIFY(member.code == quantized->codes.at(expected[i]));
      QVERIFY(member.weight == weights[expected[i]] && member.decoded == decoded[expected[i]]);
      QVERIFY(member.error == member.weight - member.decoded && member.target == member.weight &&
              member.level == member.decoded);
    }
    if (quantized->scale) QCOMPARE(m->scale, quantized->scale->values[quantized->scale->grouping.groupOf(flat)]);
    if (m->hasZero) QCOMPARE(m->zero, quantized->zero->values[quantized->zero->grouping.groupOf(flat)]);
    QCOMPARE(m->levels, levelsAt(*quantized, flat));
    if (m->levels.size() == static_cast<std::size_t>(m->highestCode + 1))
      QCOMPARE(m->levels[static_cast<std::size_t>(m->chosen().code)], m->chosen().decoded);
  }
}

void TestMicroscope::bitsAreThePackedBytes_data() {
  rowPerChoice();
}

void TestMicroscope::bitsAreThePackedBytes() {
  QFETCH(QString, choice);
  const auto quantized = quantizedAs(choice.toStdString());
  const PackedView view(quantized);
  QCOMPARE(view.layoutName(), quantized->layout->name());
  const std::vector<std::byte> bytes = quantized->layout->pack(quantized->codes);
  std::mt19937 random(1);
  for (int i = 0; i < 300; ++i) {
    const std::uint64_t index = i == 0 ? quantized->codes.size() - 1 : random() % quantized->codes.size();
    compareWithBytes(view, index, quantized->codes.at(index), bytes);
  }
}

void TestMicroscope::bitsOfFormats_data() {
  QTest::addColumn<QString>("format");
  QTest::addColumn<QString>("choice");
  QTest::addColumn<QString>("array");
  QTest::newRow("hqq 4 bit") << "hqq"
                             << "hqq:bits=4,group=64"
                             << "W_q";
  QTest::newRow("hqq 3 bit") << "hqq"
                             << "hqq:bits=3,group=64"
                             << "W_q";
  QTest::newRow("bnb") << "bnb"
                       << "nf4"
                       << "weight";
  QTest::newRow("gptq") << "gptq"
                        << "uniform:bits=4,granularity=group,group=128"
                        << "qweight";
  QTest::newRow("gptq 3 bit") << "gptq"
                              << "uniform:bits=3,granularity=group,group=128"
                              << "qweight";
  QTest::newRow("document000") << "document000"
                               << "minmax:bits=3,group=64"
                               << "pqdata";
  QTest::newRow("npz") << "npz"
                       << "hqq:bits=4,group=64"
                       << "codes";
}

void TestMicroscope::bitsOfFormats() {
  QFETCH(QString, format);
  QFETCH(QString, choice);
  QFETCH(QString, array);
  const auto quantized = quantizedAs(choice.toStdString());
  const Format* packer = findFormat(format.toStdString());
  QVERIFY(packer != nullptr);
  const auto layout = packer->layout(*quantized);
  QVERIFY(layout != nullptr);
  const auto arrays = packer->pack({"layer.weight", quantized.get(), std::nullopt});
  QVERIFY2(arrays.has_value(), arrays ? "" : arrays.error().message.c_str());
  const auto found = std::find_if(arrays->begin(), arrays->end(),
                                  [&](const RawTensor& raw) { return QString::fromStdString(raw.name).endsWith(array); });
  QVERIFY(found != arrays->end());
  const PackedView view(quantized, layout);
  std::mt19937 random(2);
  for (int i = 0; i < 300; ++i) {
    const std::uint64_t index = random() % (quantized->codes.size() - 64);
    compareWithBytes(view, index, quantized->codes.at(index), found->bytes());
  }
}

void TestMicroscope::pieceAcrossWords() {
  auto tensor = std::make_shared<QuantizedTensor>(byHand(1, 4, {5, 2, 6, 3}));  // 101 010 110 011: 0b011'110'010'101
  tensor->layout = denseLayout(4, 3);
  const PackedView view(tensor);
  const auto places = view.places(2);
  QCOMPARE(places->size(), std::size_t{2});
  QCOMPARE((*places)[0].word, std::uint64_t{0});
  QCOMPARE((*places)[0].firstBit, 6);
  QCOMPARE((*places)[0].width, 2);
  QCOMPARE((*places)[0].codeShift, 0);
  QCOMPARE(view.hex((*places)[0].value), std::string("95"));
  QCOMPARE((*places)[1].word, std::uint64_t{1});
  QCOMPARE((*places)[1].firstBit, 0);
  QCOMPARE((*places)[1].width, 1);
  QCOMPARE((*places)[1].codeShift, 2);
  QCOMPARE(view.hex((*places)[1].value), std::string("07"));
}

void TestMicroscope::hugeGroupsAreCapped_data() {
  QTest::addColumn<QString>("choice");
  for (const char* choice : {"uniform:granularity=tensor", "uniform:granularity=column", "uniform:granularity=channel",
                             "hqq:axis=0,group=0", "float:type=f16"})
    QTest::newRow(choice) << choice;
}

void TestMicroscope::hugeGroupsAreCapped() {
  QFETCH(QString, choice);
  const auto quantized = quantizedAs(choice.toStdString());
  for (const auto& [row, column] : somePlaces()) {
    const auto all = microscope(&realTensor(), *quantized, row, column, 1 << 20);
    const auto few = microscope(&realTensor(), *quantized, row, column, 101);
    QCOMPARE(few->groupSize, all->groupSize);
    QCOMPARE(few->members.size(), std::min<std::size_t>(101, all->members.size()));
    QCOMPARE(few->chosen().flatIndex, row * 384 + column);
    const std::size_t first = all->selected - few->selected;
    for (std::size_t i = 0; i < few->members.size(); ++i)
      QCOMPARE(few->members[i].flatIndex, all->members[first + i].flatIndex);
    const bool atAnEnd = first == 0 || first + few->members.size() == all->members.size();
    QVERIFY(few->selected == 50 || atAnEnd);
    QCOMPARE(microscope(&realTensor(), *quantized, row, column, 0)->members.size(), std::size_t{1});
  }
}

void TestMicroscope::permutedColumns() {
  QuantizedTensor quantized = byHand(2, 4, {1, 2, 3, 4, 5, 6, 7, 8});
  quantized.order = {2, 0, 3, 1};  // stored column j holds the model's column order[j]
  quantized.scale = Plane::numbers(Grouping::blocks(2, 4, 1, 2), {1, 10, 1, 100}, Stored::F32);
  const Tensor tensor = Tensor::fromFloats("w", {2, 4}, {0, 0, 0, 0, 6.5f, 805, 5.25f, 690});
  const auto m = microscope(&tensor, quantized, 1, 1);  // stored column 3, group 3
  QVERIFY(m.has_value());
  QCOMPARE(m->group, std::uint64_t{3});
  QCOMPARE(m->members.size(), std::size_t{2});
  QCOMPARE(m->members[0].column, std::uint64_t{3});
  QCOMPARE(m->members[0].flatIndex, std::uint64_t{7});
  QCOMPARE(m->members[0].storedIndex, std::uint64_t{6});
  QCOMPARE(m->members[0].weight, 690.0f);
  QCOMPARE(m->members[0].decoded, 700.0f);
  QCOMPARE(m->chosen().storedIndex, std::uint64_t{7});
  QCOMPARE(m->chosen().code, std::int64_t{8});
  QCOMPARE(m->chosen().weight, 805.0f);
  QCOMPARE(m->chosen().decoded, 800.0f);
  QCOMPARE(m->chosen().target, 805.0f);
  QCOMPARE(m->chosen().level, 800.0f);
  QCOMPARE(m->scale, 100.0f);
}

void TestMicroscope::scaledAndRotated() {
  // Decoding what the targets are would give the weights back: levels are the targets' nearest, so both lie close together.
  const Tensor tensor = syntheticTensor(Distribution::Gauss, {3, 16}, 2);
  QuantizedTensor quantized = byHand(3, 16, std::vector<std::uint8_t>(48, 0));
  quantized.order = {3, 1, 2, 0, 4, 5, 6, 7, 8, 9, 10, 11, 12, 15, 14, 13};
  for (int i = 0; i < 16; ++i) quantized.channelScale.push_back(0.5f + 0.125f * static_cast<float>(i));
  quantized.rotation = Rotation{8, {1, -1, 1, 1, -1, 1, -1, -1, 1, 1, 1, -1, -1, 1, 1, -1}};
  const auto targets = microscope(&tensor, quantized, 2, 5);
  QCOMPARE(targets->members.size(), std::size_t{48});
  // The targets as codes of 32-bit floats decode to the weights.
  std::vector<std::int32_t> bits;
  for (const MicroscopeMember& member : targets->members) bits.push_back(std::bit_cast<std::int32_t>(member.target));
  QuantizedTensor exact = quantized;
  exact.codes = Codes(bits);
  exact.levels = Levels::floats(FloatType::F32);
  exact.width.uniform = 32;
  const auto m = microscope(&tensor, exact, 2, 5);
  for (const MicroscopeMember& member : m->members) {
    QVERIFY(std::fabs(member.error) <= 1e-7f);
    QCOMPARE(member.level, member.target);
    QVERIFY(member.weight != member.target || member.weight == 0);
  }
  QCOMPARE(m->chosen().column, std::uint64_t{5});
  QCOMPARE(m->chosen().row, std::uint64_t{2});
}

void TestMicroscope::withoutTheOriginal() {
  const auto quantized = quantizedAs("nf4");
  const auto m = microscope(nullptr, *quantized, 10, 20);
  QVERIFY(m.has_value());
  for (const MicroscopeMember& member : m->members) QVERIFY(member.weight == member.decoded && member.error == 0);
}

void TestMicroscope::whatIfOfTheSchemesOwn() {
  // Where a scheme takes the nearest level, asking with its own scale and zero gives its own codes, but for ties by rounding.
  for (const char* choice : {"uniform:bits=4,granularity=group,group=64", "hqq:bits=4,group=64", "nf4", "minmax:bits=3"}) {
    const auto quantized = quantizedAs(choice);
    for (const auto& [row, column] : somePlaces()) {
      const auto m = microscope(&realTensor(), *quantized, row, column);
      QVERIFY2(m->whatIfRefusal.empty(), m->whatIfRefusal.c_str());
      const GroupWhatIf same = whatIf(*m, m->scale, m->zero);
      QCOMPARE(same.codes.size(), m->members.size());
      double squared = 0;
      for (std::size_t i = 0; i < m->members.size(); ++i) {
        const double distance = std::fabs(static_cast<double>(m->members[i].target) - same.levels[i]);
        QVERIFY(distance <= std::fabs(static_cast<double>(m->members[i].target) - m->members[i].level));
        squared += distance * distance;
      }
      QVERIFY(std::fabs(same.errorSquared - m->errorSquared) <= 1e-6 * m->errorSquared);
      QVERIFY(std::fabs(squared - same.errorSquared) <= 1e-5 * squared);
      const GroupWhatIf wider = whatIf(*m, 3.0 * m->scale, m->zero);
      QVERIFY(wider.errorSquared > same.errorSquared &&
              wider.mse() * static_cast<double>(m->members.size()) >= 0.99 * wider.errorSquared);
    }
  }
}

void TestMicroscope::whatIfByHand() {
  QuantizedTensor quantized = byHand(1, 5, {0, 0, 0, 0, 0});
  quantized.rule = ValueRule::ScaleMinusZero;
  quantized.scale = Plane::numbers(Grouping::tensor(1, 5), {1}, Stored::F32);
  quantized.zero = Plane::numbers(Grouping::tensor(1, 5), {0}, Stored::F32);
  const Tensor tensor = Tensor::fromFloats("w", {1, 5}, {-3, 0.9f, 1, 100, 5.25f});
  const auto m = microscope(&tensor, quantized, 0, 0);
  const GroupWhatIf moved = whatIf(*m, 2, 1);                          // levels 2 (code - 1): -2, 0, 2, 4 ... 28
  QCOMPARE(moved.codes, (std::vector<std::int64_t>{0, 1, 1, 15, 4}));  // 1 lies between 0 and 2: the lower
  QCOMPARE(moved.levels, (std::vector<float>{-2, 0, 0, 28, 6}));
  QCOMPARE(moved.maxError, 72.0f);
  QVERIFY(std::fabs(moved.errorSquared - (1 + 0.81 + 1 + 72 * 72 + 0.5625)) < 1e-6);
  QCOMPARE(moved.mse(), moved.errorSquared / 5);
  const GroupWhatIf mirrored = whatIf(*m, -2, 1);                        // levels descend
  QCOMPARE(mirrored.codes, (std::vector<std::int64_t>{3, 1, 1, 0, 0}));  // -3 lies between -4 and -2: the lower
  const GroupWhatIf flat = whatIf(*m, 0, 1);
  QCOMPARE(flat.levels, (std::vector<float>{0, 0, 0, 0, 0}));
  quantized.rule = ValueRule::ScalePlusBias;
  const GroupWhatIf biased = whatIf(*microscope(&tensor, quantized, 0, 0), 1, -3);  // levels -3 ... 12
  QCOMPARE(biased.codes, (std::vector<std::int64_t>{0, 4, 4, 15, 8}));
}

void TestMicroscope::whatIfWithTables() {
  QuantizedTensor quantized = byHand(1, 3, {0, 0, 0});
  quantized.levels = Levels::fixedTable({0, 1, -1, 0.25f});  // not ascending
  quantized.scale = Plane::numbers(Grouping::tensor(1, 3), {1}, Stored::F32);
  const Tensor tensor = Tensor::fromFloats("w", {1, 3}, {-9, 1.5f, 7});
  const GroupWhatIf answer = whatIf(*microscope(&tensor, quantized, 0, 0), 8, 0);  // levels 0 8 -8 2
  QCOMPARE(answer.codes, (std::vector<std::int64_t>{2, 3, 1}));
  QCOMPARE(answer.levels, (std::vector<float>{-8, 2, 8}));
}

void TestMicroscope::whatIfRefused() {
  for (const char* choice : {"float:type=f16", "codebook:bits=3"}) {
    const auto m = microscope(&realTensor(), *quantizedAs(choice), 3, 3);
    QVERIFY(!m->whatIfRefusal.empty());
    const GroupWhatIf unmoved = whatIf(*m, 2, 0);
    QCOMPARE(unmoved.codes[m->selected], m->chosen().code);
    QCOMPARE(unmoved.errorSquared, m->errorSquared);
  }
}

void TestMicroscope::refusesOtherPlaces() {
  const auto quantized = quantizedAs("nf4");
  const auto beyond = microscope(&realTensor(), *quantized, 384, 0);
  QVERIFY(!beyond.has_value());
  QCOMPARE(beyond.error().message,
           std::string("encoder.layer.0.attention.self.query.weight: no weight [384, 0] in a matrix of 384 x 384"));
  QVERIFY(!microscope(&realTensor(), *quantized, 0, 384).has_value());
  const Tensor other = syntheticTensor(Distribution::Gauss, {384, 383});
  QVERIFY(!microscope(&other, *quantized, 0, 0).has_value());
}

QTEST_APPLESS_MAIN(TestMicroscope)
#include "test_microscope.moc"
