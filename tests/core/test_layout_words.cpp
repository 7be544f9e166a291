// SPDX-License-Identifier: GPL-3.0-or-later
// Single words of packed codes, and single members of groups: found without the whole, equal to the whole.
#include "core/formats/format.h"
#include "core/quant/decode.h"
#include "core/quant/layout.h"
#include "core/run/run.h"

#include <QtTest>
#include <cmath>
#include <cstring>

using namespace nibble;

class TestLayoutWords : public QObject {
  Q_OBJECT
 private slots:
  void byHand();
  void ownLayouts();
  void exportLayouts();
  void members();
  void ternaryHasThreeLevels();
};

namespace {

Outcome quantize(const Tensor& tensor, const char* choice) {
  const auto parsed = Choice::parse(choice);
  if (!parsed) qFatal("%s", parsed.error().message.c_str());
  auto outcome = run(tensor, *parsed, {});
  if (!outcome) qFatal("%s", outcome.error().message.c_str());
  return *std::move(outcome);
}

Tensor waves(std::uint64_t rows, std::uint64_t columns) {
  std::vector<float> weights(rows * columns);
  for (std::size_t i = 0; i < weights.size(); ++i) weights[i] = 0.1f * static_cast<float>(std::sin(1.7 * static_cast<double>(i)));
  return Tensor::fromFloats("waves", {rows, columns}, std::move(weights));
}

// Words as they stand in packed bytes, against words built alone; codes of a word against a walk over all codes.
void compareWords(const Layout& layout, const Codes& codes) {
  const std::vector<std::byte> packed = layout.pack(codes);
  const std::size_t size = static_cast<std::size_t>(layout.wordBits()) / 8;
  for (std::uint64_t word = 0; word * size < packed.size(); ++word) {
    std::uint64_t value = 0;
    std::memcpy(&value, packed.data() + word * size, std::min(size, packed.size() - word * size));
    QCOMPARE(wordAt(layout, codes, word), value);
    QCOMPARE(layout.codesIn(word, codes.size()), layout.Layout::codesIn(word, codes.size()));
  }
}

Codes someCodes(std::size_t count, int bits) {
  std::vector<std::uint16_t> codes;
  for (std::size_t i = 0; i < count; ++i) codes.push_back(static_cast<std::uint16_t>((i * 40503u >> 3) & ((1u << bits) - 1)));
  return Codes(std::move(codes));
}

}  // namespace

void TestLayoutWords::byHand() {
  const Codes codes(std::vector<std::uint8_t>{0, 1, 2, 3, 4, 5, 6, 7});
  // Reference document 000: ten codes a word, the first in bits 29 to 27.
  QCOMPARE(wordAt(*wordLayout(8, 3), codes, 0), std::uint64_t{0x014E5DC0});
  // Dense: 0 in bits 0-2, 1 in 3-5, the low two bits of 2 in 6-7.
  QCOMPARE(wordAt(*denseLayout(8, 3), codes, 0), std::uint64_t{0x88});
  QCOMPARE(denseLayout(8, 3)->codesIn(1, 8), (std::vector<std::uint64_t>{2, 3, 4, 5}));
  QCOMPARE(wordAt(*highNibbleLayout(8), codes, 3), std::uint64_t{0x67});
}

void TestLayoutWords::ownLayouts() {
  for (const int bits : {1, 2, 3, 4, 5, 6, 7, 8, 12, 16})
    for (const std::uint64_t count : {1u, 7u, 37u, 64u}) compareWords(*denseLayout(count, bits), someCodes(count, bits));
  for (const int bits : {2, 3, 4, 5})
    for (const std::uint64_t count : {1u, 10u, 23u}) compareWords(*wordLayout(count, bits), someCodes(count, bits));
  for (const std::uint64_t count : {1u, 7u, 8u}) compareWords(*highNibbleLayout(count), someCodes(count, 4));
  for (const int bits : {1, 2, 3, 4, 8})
    for (const std::uint64_t rows : {8u, 16u, 24u}) compareWords(*rowInterleavedLayout(rows, 5, bits), someCodes(rows * 5, bits));
  compareWords(*rowInterleavedLayout(23, 3, 3), someCodes(69, 3));
}

void TestLayoutWords::exportLayouts() {
  const Tensor tensor = waves(32, 64);
  int checked = 0;
  for (const char* choice : {"hqq:bits=4", "hqq:bits=3,axis=0", "minmax:bits=3", "nf4", "uniform:bits=3,granularity=group,group=32,symmetric=false",
                             "uniform:bits=4,granularity=group,group=32"}) {
    const Outcome outcome = quantize(tensor, choice);
    for (const Format* format : allFormats()) {
      const auto layout = format->layout(*outcome.quantized);
      if (layout == nullptr) continue;
      compareWords(*layout, outcome.quantized->codes);
      ++checked;
    }
  }
  QVERIFY(checked >= 10);
}

void TestLayoutWords::members() {
  for (const Grouping& grouping : {Grouping::blocks(7, 9, 2, 4), Grouping::blocks(7, 9, 1, 0), Grouping::blocks(7, 9, 0, 1), Grouping::flat(7, 9, 5),
                                   Grouping::modulo(7, 9, 6), Grouping::columnMap(3, {1, 0, 1, 1, 2}), Grouping::tensor(7, 9)}) {
    for (std::uint64_t group = 0; group < grouping.groupCount(); ++group) {
      const auto members = grouping.members(group);
      QCOMPARE(grouping.memberCount(group), members.size());
      for (std::size_t i = 0; i < members.size(); ++i) QCOMPARE(grouping.member(group, i), members[i]);
    }
  }
}

void TestLayoutWords::ternaryHasThreeLevels() {
  const Outcome ternary = quantize(waves(8, 64), "hqq:bits=1.58");
  QCOMPARE(codeCountAt(*ternary.quantized, 0), std::uint64_t{3});
  QCOMPARE(levelsAt(*ternary.quantized, 0).size(), std::size_t{3});
  QCOMPARE(ternary.report.occupancy.size(), std::size_t{3});
  QCOMPARE(codeCountAt(*quantize(waves(8, 64), "hqq:bits=2").quantized, 0), std::uint64_t{4});
  QCOMPARE(codeCountAt(*quantize(waves(8, 64), "nf4").quantized, 0), std::uint64_t{16});
}

QTEST_APPLESS_MAIN(TestLayoutWords)
#include "test_layout_words.moc"
