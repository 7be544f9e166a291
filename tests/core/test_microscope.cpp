// SPDX-License-Identifier: GPL-3.0-or-later
// The bit microscope on real groups: members, levels, the words they lie in (equal to packed bytes), and the what-if.
#include "core/formats/format.h"
#include "core/quant/decode.h"
#include "core/report/microscope.h"
#include "core/run/run.h"
#include "core/tensor/synthetic.h"

#include <QtTest>
#include <cmath>
#include <cstring>

using namespace nibble;

class TestMicroscope : public QObject {
  Q_OBJECT
 private slots:
  void byHand();
  void realGroups_data();
  void realGroups();
  void exportLayouts();
  void permutedColumns();
  void rotatedRows();
  void vectorLevels();
  void largeGroupsAreWindows();
  void withoutTheOriginal();
  void sameParameters_data();
  void sameParameters();
  void otherParameters_data();
  void otherParameters();
  void whatIfByHand();
  void refusals();
};

namespace {

Outcome quantize(const Tensor& tensor, const char* choice) {
  const auto parsed = Choice::parse(choice);
  if (!parsed) qFatal("%s", parsed.error().message.c_str());
  auto outcome = run(tensor, *parsed, {});
  if (!outcome) qFatal("%s", outcome.error().message.c_str());
  return *std::move(outcome);
}

Microscope look(const Tensor& tensor, const QuantizedTensor& quantized, std::uint64_t row, std::uint64_t column,
                std::size_t most = mostMicroscopeMembers) {
  auto scope = microscope(&tensor, quantized, row, column, most);
  if (!scope) qFatal("%s", scope.error().message.c_str());
  return *std::move(scope);
}

// The word as it stands in packed bytes.
std::uint64_t packedWord(const std::vector<std::byte>& bytes, std::uint64_t word, int wordBits) {
  std::uint64_t value = 0;
  const std::size_t size = static_cast<std::size_t>(wordBits) / 8, first = word * size;
  std::memcpy(&value, bytes.data() + first, std::min(size, bytes.size() - first));
  return value;
}

void addSchemes() {
  QTest::addColumn<QByteArray>("choice");
  for (const char* choice : {"uniform:bits=8", "uniform:bits=3,granularity=group,group=32", "uniform:bits=5,granularity=column",
                             "uniform:bits=12,symmetric=false", "uniform:bits=4,granularity=tensor", "uniform:variant=notebook,symmetric=false",
                             "minmax:bits=3,group=24", "minmax:bits=5,group=64", "hqq:bits=4", "hqq:bits=3,axis=0", "hqq:bits=1.58",
                             "hqq:bits=2,axis=0", "hqq:bits=1", "nf4", "fp4:block=32", "nf4:nested=true", "codebook:bits=3",
                             "codebook:bits=5,granularity=group,group=32", "codebook:granularity=tensor", "float:type=f16",
                             "float:type=bf16", "float:type=f32"})
    QTest::newRow(choice) << QByteArray(choice);
}

QuantizedTensor oneRow(std::vector<std::uint8_t> codes, float scale) {
  QuantizedTensor tensor;
  tensor.rows = 1;
  tensor.columns = codes.size();
  tensor.shape = {1, codes.size()};
  tensor.layout = denseLayout(codes.size(), 4);
  tensor.codes = Codes(std::move(codes));
  tensor.width.uniform = 4;
  tensor.scale = Plane::numbers(Grouping::tensor(1, tensor.columns), {scale}, Stored::F32);
  return tensor;
}

}  // namespace

void TestMicroscope::byHand() {
  // One row of eight in one group: min -1, max 2.5, 3 bits: step 0.5; codes 0..7 by (w + 1) / 0.5.
  const Tensor tensor = Tensor::fromFloats("w", {1, 8}, {-1, -0.5f, 0, 0.6f, 1, 1.5f, 2.1f, 2.5f});
  const Outcome outcome = quantize(tensor, "minmax:bits=3,group=8,params=f32");
  const Microscope scope = look(tensor, *outcome.quantized, 0, 3);
  QCOMPARE(scope.groupSize, std::uint64_t{8});
  QCOMPARE(scope.grouping, std::string("8 in flat order"));
  QCOMPARE(scope.selected, std::size_t{3});
  QCOMPARE(scope.width, 3);
  QCOMPARE(scope.highestCode, std::int64_t{7});
  QVERIFY(scope.hasScale && scope.hasZero && scope.whatIfRefusal.empty() && scope.table.empty());
  QCOMPARE(scope.scale, 0.5f);
  QCOMPARE(scope.zero, -1.0f);
  for (std::size_t i = 0; i < 8; ++i) QCOMPARE(scope.members[i].code, static_cast<std::int64_t>(i));
  QCOMPARE(scope.chosen().decoded, 0.5f);
  QCOMPARE(scope.chosen().level, 0.5f);
  QCOMPARE(scope.chosen().error, 0.6f - 0.5f);
  QCOMPARE(scope.levels.size(), std::size_t{8});
  for (std::size_t i = 0; i < 8; ++i) QCOMPARE(scope.levels[i], -1.0f + 0.5f * static_cast<float>(i));
  QCOMPARE(scope.maxError, 0.6f - 0.5f);
  // Reference document 000: ten codes a 32-bit word, the first in bits 29..27, the fourth in bits 20..18.
  const PackedView words(outcome.quantized, wordLayout(8, 3));
  const auto places = words.places(3);
  QCOMPARE(places.size(), std::size_t{1});
  QCOMPARE(places[0].firstBit, 18);
  QCOMPARE(places[0].width, 3);
  QCOMPARE(words.hex(places[0].value), std::string("014E5DC0"));
  // Dense 3 bits in bytes: the third code stands in bits 6 and 7 of byte 0 and bit 0 of byte 1.
  const PackedView bytes(outcome.quantized, denseLayout(8, 3));
  const auto split = bytes.places(2);
  QCOMPARE(split.size(), std::size_t{2});
  QVERIFY(split[0].word == 0 && split[0].firstBit == 6 && split[0].width == 2 && split[0].codeShift == 0);
  QVERIFY(split[1].word == 1 && split[1].firstBit == 0 && split[1].width == 1 && split[1].codeShift == 2);
  QCOMPARE(bytes.hex(split[0].value), std::string("88"));
}

void TestMicroscope::realGroups_data() { addSchemes(); }

void TestMicroscope::realGroups() {
  QFETCH(QByteArray, choice);
  const Tensor tensor = syntheticTensor(Distribution::HeavyTail, {24, 96}, 7);
  const Outcome outcome = quantize(tensor, choice.constData());
  const QuantizedTensor& quantized = *outcome.quantized;
  const PackedView view(outcome.quantized);
  const std::vector<std::byte> packed = quantized.layout->pack(quantized.codes);
  const std::vector<float> decoded = decodeAll(quantized), weights = *tensor.readAll();
  const Grouping grouping = quantized.scale ? quantized.scale->grouping
                            : quantized.levels.grouping ? *quantized.levels.grouping : Grouping::tensor(24, 96);
  for (const auto& [row, column] : {std::pair<std::uint64_t, std::uint64_t>{0, 0}, {5, 31}, {23, 95}, {12, 50}}) {
    const Microscope scope = look(tensor, quantized, row, column);
    QCOMPARE(scope.chosen().flatIndex, row * 96 + column);
    const auto members = grouping.members(scope.group);
    QCOMPARE(scope.members.size(), members.size());
    for (std::size_t i = 0; i < members.size(); ++i) {
      const MicroscopeMember& member = scope.members[i];
      QCOMPARE(member.storedIndex, members[i]);
      QCOMPARE(member.weight, weights[members[i]]);
      QCOMPARE(member.decoded, decoded[members[i]]);
      QCOMPARE(member.error, member.weight - member.decoded);
      QVERIFY(member.target == member.weight && member.level == member.decoded);
      std::uint64_t code = 0;
      for (const BitPlace& place : view.places(member.codeIndex)) {
        QCOMPARE(place.value, packedWord(packed, place.word, view.wordBits()));
        code |= (place.value >> place.firstBit & ((std::uint64_t{1} << place.width) - 1)) << place.codeShift;
      }
      QCOMPARE(static_cast<std::uint32_t>(code), static_cast<std::uint32_t>(member.code));
    }
    if (scope.width <= 8 && !scope.levels.empty()) QCOMPARE(scope.levels[static_cast<std::size_t>(scope.chosen().code)], scope.chosen().decoded);
  }
}

void TestMicroscope::exportLayouts() {
  const Tensor tensor = syntheticTensor(Distribution::Gauss, {32, 64}, 3);
  int checked = 0;
  for (const char* choice : {"hqq:bits=4", "hqq:bits=3", "minmax:bits=3", "nf4", "uniform:bits=3,granularity=group,group=32,symmetric=false"}) {
    const Outcome outcome = quantize(tensor, choice);
    for (const Format* format : allFormats()) {
      const auto layout = format->layout(*outcome.quantized);
      if (layout == nullptr) continue;
      const PackedView view(outcome.quantized, layout);
      const std::vector<std::byte> packed = layout->pack(outcome.quantized->codes);
      for (const std::uint64_t code : {0u, 1u, 77u, 1029u, 2047u})
        for (const BitPlace& place : view.places(code)) QCOMPARE(place.value, packedWord(packed, place.word, layout->wordBits()));
      ++checked;
    }
  }
  QVERIFY(checked >= 8);
}

void TestMicroscope::permutedColumns() {
  // Stored columns hold input columns 2 0 3 1; groups of two stored columns; channel scales.
  QuantizedTensor tensor = oneRow({1, 2, 3, 4}, 1);
  tensor.scale = Plane::numbers(Grouping::blocks(1, 4, 1, 2), {0.5f, 1.0f}, Stored::F32);
  tensor.order = {2, 0, 3, 1};
  tensor.channelScale = {1.0f, 2.0f, 4.0f, 1.0f};
  const Tensor weights = Tensor::fromFloats("w", {1, 4}, {0.4f, 4.5f, 0.6f, 0.7f});
  const Microscope scope = look(weights, tensor, 0, 0);  // input column 0 is stored column 1
  QCOMPARE(scope.chosen().storedIndex, std::uint64_t{1});
  QCOMPARE(scope.chosen().code, std::int64_t{2});
  QCOMPARE(scope.chosen().decoded, 0.5f);  // 0.5 * 2 / 2
  QCOMPARE(scope.chosen().target, 0.8f);
  QCOMPARE(scope.chosen().level, 1.0f);
  QCOMPARE(scope.members.size(), std::size_t{2});
  QCOMPARE(scope.members[0].column, std::uint64_t{2});
  QCOMPARE(scope.members[0].weight, 0.6f);
  QCOMPARE(scope.levels[3], 1.5f);
  const GroupWhatIf changed = whatIf(scope, 0.25, 0);
  QCOMPARE(changed.codes, (std::vector<std::int64_t>{2, 3}));  // 0.6 / 0.25 = 2.4, 0.8 / 0.25 = 3.2
  QCOMPARE(changed.levels, (std::vector<float>{0.5f, 0.75f}));
}

void TestMicroscope::rotatedRows() {
  // Two weights rotated: stored ((a + b) / sqrt 2, (a - b) / sqrt 2) of the weights with their signs.
  QuantizedTensor tensor = oneRow({3, 1}, 1);
  tensor.rotation = Rotation{2, {1.0f, -1.0f}};
  const auto root = static_cast<float>(std::sqrt(2.0));
  const Tensor weights = Tensor::fromFloats("w", {1, 2}, {2 * root, -root});  // exact codes
  const Microscope scope = look(weights, tensor, 0, 1);
  QVERIFY(std::fabs(scope.members[0].target - 3) < 1e-6f && std::fabs(scope.members[1].target - 1) < 1e-6f);
  QCOMPARE(scope.members[0].level, 3.0f);
  QVERIFY(std::fabs(scope.members[0].error) < 1e-6f && scope.errorSquared < 1e-12);
}

void TestMicroscope::vectorLevels() {
  // Codes stand for two weights each; the second code's vector is (3, 4).
  QuantizedTensor tensor = oneRow({0, 1}, 2);
  tensor.columns = 4;
  tensor.scale = Plane::numbers(Grouping::tensor(1, 4), {2}, Stored::F32);
  tensor.levels = Levels::fixedTable({1, 2, 3, 4});
  tensor.levels.levelCount = 2;
  tensor.levels.dimension = 2;
  tensor.signs = {0b1000};
  const Tensor weights = Tensor::fromFloats("w", {1, 4}, {2, 4, 6, -7});
  const Microscope scope = look(weights, tensor, 0, 3);
  QCOMPARE(scope.chosen().codeIndex, std::uint64_t{1});
  QCOMPARE(scope.chosen().decoded, -8.0f);
  QCOMPARE(scope.chosen().level, -8.0f);
  QVERIFY(!scope.whatIfRefusal.empty() && scope.levels.empty());
  QCOMPARE(whatIf(scope, 1, 0).codes, (std::vector<std::int64_t>{0, 0, 1, 1}));  // nothing changes
}

void TestMicroscope::largeGroupsAreWindows() {
  const Tensor tensor = syntheticTensor(Distribution::Gauss, {50, 100}, 1);
  const Outcome outcome = quantize(tensor, "uniform:granularity=tensor,bits=4");
  for (const auto& [row, column] : {std::pair<std::uint64_t, std::uint64_t>{0, 3}, {49, 99}, {20, 20}}) {
    const Microscope scope = look(tensor, *outcome.quantized, row, column, 64);
    QCOMPARE(scope.groupSize, std::uint64_t{5000});
    QCOMPARE(scope.members.size(), std::size_t{64});
    QCOMPARE(scope.chosen().flatIndex, row * 100 + column);
  }
}

void TestMicroscope::withoutTheOriginal() {
  const Outcome outcome = quantize(syntheticTensor(Distribution::Gauss, {4, 64}, 1), "nf4");
  const auto scope = microscope(nullptr, *outcome.quantized, 2, 9);
  QVERIFY(scope);
  QCOMPARE(scope->errorSquared, 0.0);
  QCOMPARE(scope->chosen().weight, scope->chosen().decoded);
}

void TestMicroscope::sameParameters_data() { addSchemes(); }

void TestMicroscope::sameParameters() {
  QFETCH(QByteArray, choice);
  const Tensor tensor = syntheticTensor(Distribution::Gauss, {24, 96}, 11);
  const Outcome outcome = quantize(tensor, choice.constData());
  const Microscope scope = look(tensor, *outcome.quantized, 9, 17);
  if (!scope.whatIfRefusal.empty()) {
    QVERIFY(choice.startsWith("codebook") || choice.startsWith("float"));
    return;
  }
  const GroupWhatIf same = whatIf(scope, scope.scale, scope.zero);
  QVERIFY(same.errorSquared <= scope.errorSquared);
  const auto promises = outcome.choice.scheme().promises(outcome.choice.values());
  if (std::find(promises.begin(), promises.end(), Promise::NearestLevel) == promises.end()) return;
  QVERIFY(same.errorSquared >= scope.errorSquared * (1 - 1e-5));  // nearest already, but for the rounding of ties
}

void TestMicroscope::otherParameters_data() { addSchemes(); }

// Every member takes the nearest of all levels, checked one by one.
void TestMicroscope::otherParameters() {
  QFETCH(QByteArray, choice);
  const Tensor tensor = syntheticTensor(Distribution::Gauss, {24, 96}, 5);
  const Outcome outcome = quantize(tensor, choice.constData());
  const Microscope scope = look(tensor, *outcome.quantized, 3, 40);
  if (!scope.whatIfRefusal.empty()) return;
  const auto scale = scope.scale * 0.625f, zero = scope.zero * 0.75f;
  const GroupWhatIf changed = whatIf(scope, scale, zero);
  double errorSquared = 0;
  for (std::size_t i = 0; i < scope.members.size(); ++i) {
    const double error = std::fabs(static_cast<double>(scope.members[i].target) - changed.levels[i]);
    errorSquared += error * error;
    for (std::int64_t code = scope.lowestCode; code <= scope.highestCode; ++code) {
      const float level = scope.table.empty() ? static_cast<float>(code) : scope.table[static_cast<std::size_t>(code)];
      const float value = scope.rule == ValueRule::Scale            ? level * scale
                          : scope.rule == ValueRule::ScaleMinusZero ? (level - zero) * scale
                                                                    : scale * level + zero;
      QVERIFY(error <= std::fabs(static_cast<double>(scope.members[i].target) - value));
      if (code == changed.codes[i]) QCOMPARE(changed.levels[i], value);
    }
  }
  QVERIFY(std::fabs(errorSquared - changed.errorSquared) <= 1e-6 * errorSquared);
}

void TestMicroscope::whatIfByHand() {
  const Tensor tensor = Tensor::fromFloats("w", {1, 4}, {0, 1, 2, 3});
  const Outcome outcome = quantize(tensor, "minmax:bits=2,group=4,params=f32");
  const Microscope scope = look(tensor, *outcome.quantized, 0, 0);
  QCOMPARE(scope.errorSquared, 0.0);
  // Scale 2, bias 0: levels 0 2 4 6; 1 and 3 lie halfway and take the lower level.
  const GroupWhatIf changed = whatIf(scope, 2, 0);
  QCOMPARE(changed.codes, (std::vector<std::int64_t>{0, 0, 1, 1}));
  QCOMPARE(changed.errorSquared, 2.0);
  QCOMPARE(changed.mse(), 0.5);
  QCOMPARE(changed.maxError, 1.0f);
  // A negative scale turns the levels over; scale 0 leaves one level, whose lowest code is taken.
  QCOMPARE(whatIf(scope, -1, 3).codes, (std::vector<std::int64_t>{3, 2, 1, 0}));
  QCOMPARE(whatIf(scope, 0, 1).codes, (std::vector<std::int64_t>{0, 0, 0, 0}));
}

void TestMicroscope::refusals() {
  const Tensor tensor = syntheticTensor(Distribution::Gauss, {4, 8}, 5);
  const Outcome outcome = quantize(tensor, "nf4");
  const auto outside = microscope(&tensor, *outcome.quantized, 4, 0);
  QVERIFY(!outside);
  QCOMPARE(outside.error().message, std::string("gauss: there is no weight [4, 0] in 4 rows and 8 columns"));
  const Tensor other = syntheticTensor(Distribution::Gauss, {8, 4}, 5);
  QVERIFY(!microscope(&other, *outcome.quantized, 0, 0));
}

QTEST_APPLESS_MAIN(TestMicroscope)
#include "test_microscope.moc"
