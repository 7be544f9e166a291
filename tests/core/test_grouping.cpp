// SPDX-License-Identifier: GPL-3.0-or-later
// Groupings against their definitions, weight by weight: groupOf, members and runs must tell one story.
#include "core/quant/grouping.h"

#include <QtTest>

using nibble::Grouping;

class TestGrouping : public QObject {
  Q_OBJECT
 private slots:
  void agreesWithDefinition_data();
  void agreesWithDefinition();
  void naturalShapes();
};

namespace {

struct Case {
  Grouping grouping;
  std::function<std::uint64_t(std::uint64_t row, std::uint64_t column)> expected;
};

std::vector<Case> cases() {
  const std::vector<std::uint32_t> map{2, 0, 1, 1, 0, 2, 2};
  return {
      {Grouping::tensor(5, 7), [](auto, auto) { return 0; }},
      {Grouping::blocks(5, 7, 1, 0), [](auto row, auto) { return row; }},
      {Grouping::blocks(5, 7, 0, 1), [](auto, auto column) { return column; }},
      {Grouping::blocks(5, 7, 1, 3), [](auto row, auto column) { return row * 3 + column / 3; }},
      {Grouping::blocks(5, 7, 2, 4), [](auto row, auto column) { return row / 2 * 2 + column / 4; }},
      {Grouping::blocks(5, 7, 2, 7), [](auto row, auto) { return row / 2; }},
      {Grouping::flat(5, 7, 4), [](auto row, auto column) { return (row * 7 + column) / 4; }},
      {Grouping::flat(5, 7, 35), [](auto, auto) { return 0; }},
      {Grouping::modulo(5, 7, 5), [](auto row, auto column) { return (row * 7 + column) % 5; }},
      {Grouping::modulo(5, 7, 1), [](auto, auto) { return 0; }},
      {Grouping::columnMap(5, map), [map](auto row, auto column) { return row * 3 + map[column]; }},
  };
}

}  // namespace

void TestGrouping::agreesWithDefinition_data() {
  QTest::addColumn<int>("index");
  for (int i = 0; i < static_cast<int>(cases().size()); ++i)
    QTest::newRow(std::to_string(i).c_str()) << i;
}

void TestGrouping::agreesWithDefinition() {
  QFETCH(int, index);
  const Case testCase = cases()[static_cast<std::size_t>(index)];
  const Grouping& grouping = testCase.grouping;
  std::vector<std::vector<std::uint64_t>> members(grouping.groupCount());
  for (std::uint64_t i = 0; i < 35; ++i) {
    const std::uint64_t group = grouping.groupOf(i);
    QCOMPARE(group, testCase.expected(i / 7, i % 7));
    QVERIFY(group < grouping.groupCount());
    members[group].push_back(i);
    const std::uint64_t run = grouping.runLength(i);
    QVERIFY(run >= 1 && i + run <= 35);
    for (std::uint64_t k = i; k < i + run; ++k) QCOMPARE(grouping.groupOf(k), group);
  }
  for (std::uint64_t group = 0; group < members.size(); ++group) QCOMPARE(grouping.members(group), members[group]);
}

void TestGrouping::naturalShapes() {
  using Shape = std::vector<std::uint64_t>;
  QCOMPARE(Grouping::tensor(5, 7).naturalShape(), (Shape{1, 1}));
  QCOMPARE(Grouping::blocks(5, 7, 1, 0).naturalShape(), (Shape{5, 1}));
  QCOMPARE(Grouping::blocks(5, 7, 0, 1).naturalShape(), (Shape{1, 7}));
  QCOMPARE(Grouping::blocks(5, 7, 1, 3).naturalShape(), (Shape{5, 3}));
  QCOMPARE(Grouping::flat(5, 7, 4).naturalShape(), (Shape{9, 1}));
  QCOMPARE(Grouping::modulo(5, 7, 5).naturalShape(), (Shape{1, 5}));
  QCOMPARE(Grouping::columnMap(5, {0, 1, 1}).naturalShape(), (Shape{5, 2}));
}

QTEST_APPLESS_MAIN(TestGrouping)
#include "test_grouping.moc"
